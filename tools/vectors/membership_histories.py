"""Histories of memberships: suspended, left, with rotated and recovered keys; and the changes that are refused."""

from __future__ import annotations

import msgspec

from minervas_core.blocks import Block
from minervas_core.transactions import MeterKey, NewKeys, Rotate, Transaction
from tools.vectors.chain_blocks import admit_keys, revoke, upon
from tools.vectors.chain_cases import Step
from tools.vectors.fixtures import (
    AUTHORITY,
    BLOCK_1,
    HAENAM,
    INTERVAL_MS,
    KIM,
    MOKPO,
    OUTSIDER,
    PARAMETERS,
    MemberKeys,
    membership,
)
from tools.vectors.market_fixtures import ROOF_OF_HAENAM, bid, gateway_key
from tools.vectors.membership_fixtures import (
    HAENAM_2,
    KEY_ROTATION,
    KIM_2,
    KIM_3,
    LEAVING,
    RECOVERY,
    RESUMPTION,
    SUSPENSION,
    VETO,
    WALLET_ROTATION,
    leave,
    recover,
    resume,
    rotate_others,
    rotate_wallet,
    suspend,
    veto,
)

WAIT_MS = PARAMETERS.recovery_wait_ms
BASE = upon(BLOCK_1, HAENAM, ROOF_OF_HAENAM)
"""Block 2: Haenam has a meter."""

Contents = list[tuple[Transaction, ...]]


def membership_histories() -> dict[str, list[Step]]:
    """Every history by name."""
    return {**_histories(), **{f"refused: {name}": steps for name, steps in _refusals().items()}}


def line(*contents: tuple[Transaction, ...], on: Block = BASE) -> list[Block]:
    """A block of Mokpo or Haenam for each list of transactions, one upon the other."""
    blocks = [on]
    for transactions in contents:
        blocks.append(upon(blocks[-1], _miner(blocks[-1]), *transactions))
    return blocks[1:]


def _miner(last: Block) -> MemberKeys:
    return HAENAM if last.header.miner == MOKPO.member else MOKPO


def _connected(*blocks: Block) -> list[Step]:
    return [Step(block, "connected") for block in (BLOCK_1, BASE, *blocks)]


def _histories() -> dict[str, list[Step]]:
    rotated = line((WALLET_ROTATION,))[0]
    new_block_key = upon(BASE, MOKPO, KEY_ROTATION)
    waiting = line((RECOVERY,))[0]
    due = upon(waiting, HAENAM, time_ms=waiting.header.time_ms + WAIT_MS)
    early = upon(waiting, HAENAM, time_ms=waiting.header.time_ms + WAIT_MS - 1)
    return {
        "a member is suspended and has its vote again": _connected(*line((SUSPENSION,), (RESUMPTION,))),
        "a member leaves": _connected(*line((LEAVING,))),
        "the new wallet signs in the block of its rotation": _connected(
            *line((WALLET_ROTATION, _bid(KIM_2)), (rotate_wallet(KIM, KIM_3, signer=KIM_2),))
        ),
        "the new block key signs from the next block on": [
            *_connected(new_block_key),
            Step(upon(new_block_key, HAENAM), "refused", "block_signature"),
            Step(upon(new_block_key, HAENAM, signer=HAENAM_2.block), "connected"),
        ],
        "a recovery takes effect with the block after the one that is late enough": _connected(
            waiting, early, *line((), (), on=early)
        ),
        "a recovery takes effect at the start of a block": _connected(
            waiting, due, upon(due, MOKPO, rotate_wallet(KIM, KIM_3, signer=KIM_2))
        ),
        "a recovery is vetoed in its own block": _connected(*line((RECOVERY, VETO), ())),
        "a recovery ends with the membership": _connected(*line((RECOVERY,), (revoke(KIM, "recovery"),))),
        "a recovery ends with a rotation of the wallet": _connected(*line((RECOVERY,), (rotate_wallet(KIM, KIM_3),))),
        "a branch without the rotation takes over": [
            *_connected(rotated),
            *_side_branch(),
        ],
    }


def _side_branch() -> list[Step]:
    first = upon(BASE, KIM, time_ms=BASE.header.time_ms + INTERVAL_MS + 1)
    second = upon(first, MOKPO, _bid(KIM))
    return [Step(first, "side_branch"), Step(second, "connected")]


def _bid(who: MemberKeys) -> Transaction:
    return bid(who, 100, 1)


def _refusals() -> dict[str, list[Step]]:
    cases: dict[str, tuple[Contents, str]] = {**_ends(), **_rotations(), **_recoveries()}
    return {name: _refused(contents, code) for name, (contents, code) in cases.items()}


def _refused(contents: Contents, code: str) -> list[Step]:
    """All blocks connect but the last."""
    blocks = line(*contents)
    return [*_connected(*blocks[:-1]), Step(blocks[-1], "refused", code)]


def _ends() -> dict[str, tuple[Contents, str]]:
    return {
        "a second suspension": ([(SUSPENSION,), (suspend(KIM, "again"),)], "member_suspended"),
        "a resumption without a suspension": ([(RESUMPTION,)], "member_not_suspended"),
        "a suspension of nobody": ([(suspend(OUTSIDER),)], "member_unknown"),
        "a resumption of nobody": ([(resume(OUTSIDER),)], "member_unknown"),
        "a member leaves twice": ([(LEAVING,), (leave(KIM, "again"),)], "member_left"),
        "a revoked member leaves": ([(revoke(KIM, "first"),), (LEAVING,)], "member_revoked"),
        "a member that left is revoked": ([(LEAVING,), (revoke(KIM, "late"),)], "member_left"),
        "a member that left comes back": (
            [(LEAVING,), (admit_keys(KIM.member, OUTSIDER.public, "back"),)],
            "member_exists",
        ),
        "a bid of a member that left": ([(LEAVING,), (_bid(KIM),)], "member_unknown"),
    }


def _rotations() -> dict[str, tuple[Contents, str]]:
    reused = msgspec.structs.replace(OUTSIDER.public, vote=KIM.wallet.public)
    authority = Rotate(member=KIM.member, keys=NewKeys(vote=AUTHORITY.public), meters=[])
    twice = Rotate(member=KIM.member, keys=NewKeys(vote=KIM_2.vote.public, block=KIM_2.vote.public), meters=[])
    small = Rotate(member=KIM.member, keys=NewKeys(vote="00" * 32), meters=[])
    return {
        "a new wallet without the old one's consent": (
            [(rotate_wallet(KIM, KIM_2, signer=HAENAM),)],
            "bad_consent",
        ),
        "a consent for another wallet": ([(_with_consent_of(rotate_wallet(KIM, KIM_3)),)], "bad_consent"),
        "a bid of the old wallet": ([(WALLET_ROTATION, _bid(KIM))], "member_unknown"),
        "a rotation back": (
            [(WALLET_ROTATION,), (rotate_wallet(KIM, KIM, signer=KIM_2),)],
            "key_reused",
        ),
        "a key of another member": ([(rotate_others(KIM, HAENAM),)], "key_reused"),
        "a used key in an admission": (
            [(WALLET_ROTATION,), (admit_keys(OUTSIDER.member, reused, "reused"),)],
            "key_reused",
        ),
        "the authority's key": ([(membership(authority, "rotate authority"),)], "key_reused"),
        "one key for two services": ([(membership(twice, "rotate twice"),)], "key_reused"),
        "a key of small order": ([(membership(small, "rotate small"),)], "bad_key"),
        "a rotation of nobody": ([(rotate_others(OUTSIDER, KIM_2),)], "member_unknown"),
        "a rotation of a former member": ([(LEAVING,), (WALLET_ROTATION,)], "member_left"),
        "a gateway key of a meter that is none": ([(_gateway("barn", HAENAM_2),)], "meter_unknown"),
        "the gateway key that the meter has": ([(_gateway("roof", HAENAM),)], "key_reused"),
        "a used gateway key": (
            [(_gateway("roof", HAENAM_2),), (_gateway("roof", HAENAM),)],
            "key_reused",
        ),
    }


def _with_consent_of(other: Transaction) -> Transaction:
    change = msgspec.json.decode(msgspec.json.encode(other.body))["change"]
    spoiled = Rotate(member=KIM.member, keys=NewKeys(wallet=KIM_2.wallet.public), meters=[], consent=change["consent"])
    return membership(spoiled, "rotate with another consent")


def _gateway(meter: str, to: MemberKeys) -> Transaction:
    key = MeterKey(meter=meter, gateway=gateway_key(to).public)
    change = Rotate(member=HAENAM.member, keys=NewKeys(), meters=[key])
    return membership(change, f"rotate gateway {meter} {to.member}")


def _recoveries() -> dict[str, tuple[Contents, str]]:
    return {
        "a second recovery": ([(RECOVERY,), (recover(KIM, KIM_3),)], "recovery_pending"),
        "a recovery to a wallet in use": ([(recover(KIM, HAENAM),)], "key_reused"),
        "a recovery to a vetoed wallet": (
            [(RECOVERY,), (VETO,), (recover(KIM, KIM_2, "again"),)],
            "key_reused",
        ),
        "a recovery of nobody": ([(recover(OUTSIDER, KIM_2),)], "member_unknown"),
        "a recovery of a former member": ([(LEAVING,), (RECOVERY,)], "member_left"),
        "a bid of the wallet that is not recovered yet": ([(RECOVERY,), (_bid(KIM_2),)], "member_unknown"),
        "a bid of the lost wallet": (
            [(RECOVERY,), *[()] * (WAIT_MS // INTERVAL_MS), (_bid(KIM),)],
            "member_unknown",
        ),
        "a veto of nothing": ([(VETO,)], "recovery_unknown"),
        "a second veto": ([(RECOVERY,), (VETO,), (veto(KIM, RECOVERY, "again"),)], "recovery_unknown"),
        "a veto of another member": ([(RECOVERY,), (veto(HAENAM, RECOVERY),)], "recovery_unknown"),
        "a veto of the new wallet": ([(RECOVERY,), (veto(KIM_2, RECOVERY),)], "member_unknown"),
        "a veto too late": (
            [(RECOVERY,), *[()] * (WAIT_MS // INTERVAL_MS), (VETO,)],
            "member_unknown",
        ),
    }
