"""Blocks handed to a node in some order, and what becomes of each: the rules that need the chain."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from minervas_core.blocks import Block, Header, assemble_block, sign_block_hash
from minervas_core.chain import Chain
from minervas_core.keys import SigningKey
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.proof_of_work import attempt, is_good
from minervas_core.state import BlockUndo
from minervas_core.transactions import Admit, Membership, Revoke, ServiceKeys, Transaction, sign_transaction
from tools.vectors.fixtures import (
    AUTHORITY,
    BLOCK_1,
    BLOCK_2,
    GENESIS,
    HAENAM,
    INTERVAL_MS,
    KIM,
    MOKPO,
    NETWORK,
    OTHER_NETWORK,
    OUTSIDER,
    PARAMETERS,
    REVOCATION,
    START_MS,
    MemberKeys,
    admit,
    draft,
    member_keys,
    membership,
    ordered,
    search,
    seed,
)
from tools.vectors.format import Case, Plain

NOW_MS = START_MS + 3_600_000
"""The checking node's clock, unless a step says otherwise."""


@dataclass(frozen=True)
class Step:
    """A block is delivered; what must become of it."""

    block: Block
    status: str
    code: str | None = None
    now_ms: int = NOW_MS


@dataclass
class Blocks:
    """The file's blocks by label, each written once."""

    labels: dict[str, str] = field(default_factory=dict)
    """Label by raw bytes in hex."""

    def label(self, block: Block) -> str:
        """The label of a block, made from its hash; copies with other content get a number."""
        raw = block.raw.hex()
        if raw not in self.labels:
            base = f"{block.header.height}-{block.hash[:8]}"
            copies = sum(1 for label in self.labels.values() if label.startswith(base))
            self.labels[raw] = f"{base}-copy-{copies}" if copies else base
        return self.labels[raw]


def upon(
    parent: Block,
    miner: MemberKeys,
    *transactions: Transaction,
    time_ms: int = 0,
    signer: SigningKey | None = None,
    keep_order: bool = False,
    **changes: object,
) -> Block:
    """A block upon another, mined and signed; `changes` are header fields that differ from what is due."""
    listed = transactions if keep_order else ordered(*transactions)
    due = draft(
        parent.header.height + 1,
        parent.hash,
        listed,
        time_ms=time_ms or parent.header.time_ms + INTERVAL_MS,
        miner=miner.member,
    )
    wanted = msgspec.structs.replace(due, **changes)
    header = wanted.with_nonce(search(wanted))
    return _signed(header, listed, signer or miner.block)


def _signed(header: Header, transactions: tuple[Transaction, ...], key: SigningKey) -> Block:
    return assemble_block(header, sign_block_hash(header.hash(), header.network, key), transactions)


def histories() -> dict[str, list[Step]]:
    """Every history by name."""
    faults = {
        f"refused: {name}": [Step(BLOCK_1, "connected"), Step(block, "refused", code), Step(BLOCK_2, "connected")]
        for name, (block, code) in {**_header_faults(), **_content_faults(), **_miner_faults()}.items()
    }
    return {**_growing(), **faults, **_first_blocks(), **_waiting(), **_exchanged(), **_branches()}


def _growing() -> dict[str, list[Step]]:
    revoking = upon(BLOCK_2, MOKPO, REVOCATION)
    return {
        "three blocks": [
            Step(BLOCK_1, "connected"),
            Step(BLOCK_2, "connected"),
            Step(revoking, "connected"),
            Step(revoking, "known"),
        ],
        "the last block's miner, ten intervals later": [
            Step(BLOCK_1, "connected"),
            Step(_mokpo_again(PARAMETERS.idle_intervals * INTERVAL_MS), "connected"),
        ],
        "the last block's miner, one ms too early": [
            Step(BLOCK_1, "connected"),
            Step(_mokpo_again(PARAMETERS.idle_intervals * INTERVAL_MS - 1), "refused", "block_miner_too_soon"),
        ],
        "revoked twice": [
            Step(BLOCK_1, "connected"),
            Step(BLOCK_2, "connected"),
            Step(revoking, "connected"),
            Step(upon(revoking, HAENAM, _revoke(KIM, "again")), "refused", "member_revoked"),
        ],
        "a revoked member comes back": [
            Step(BLOCK_1, "connected"),
            Step(BLOCK_2, "connected"),
            Step(revoking, "connected"),
            Step(upon(revoking, HAENAM, _admit(KIM.member, OUTSIDER.public, "again")), "refused", "member_exists"),
        ],
        "a revoked member mines": [
            Step(BLOCK_1, "connected"),
            Step(BLOCK_2, "connected"),
            Step(revoking, "connected"),
            Step(upon(revoking, KIM), "refused", "block_miner_unknown"),
        ],
        "a transaction stands in the chain already": [
            Step(BLOCK_1, "connected"),
            Step(BLOCK_2, "connected"),
            Step(revoking, "connected"),
            Step(upon(revoking, HAENAM, REVOCATION), "refused", "tx_duplicate"),
        ],
    }


def _mokpo_again(later_ms: int) -> Block:
    return upon(BLOCK_1, MOKPO, time_ms=BLOCK_1.header.time_ms + later_ms)


def _header_faults() -> dict[str, tuple[Block, str]]:
    good = upon(BLOCK_1, HAENAM)
    seal = good.header.seal()
    bad_nonce = next(nonce for nonce in range(2**16) if not is_good(attempt(seal, nonce), good.header.difficulty))
    without_work = msgspec.structs.replace(good.header, nonce=f"{bad_nonce:016x}")
    return {
        "version 2": (upon(BLOCK_1, HAENAM, version=2), "block_version"),
        "another network": (upon(BLOCK_1, HAENAM, network=OTHER_NETWORK), "wrong_network"),
        "height skipped": (upon(BLOCK_1, HAENAM, height=3), "block_height"),
        "height repeated": (upon(BLOCK_1, HAENAM, height=1), "block_height"),
        "time of its predecessor": (upon(BLOCK_1, HAENAM, time_ms=BLOCK_1.header.time_ms), "block_time_too_old"),
        "difficulty too low": (upon(BLOCK_1, HAENAM, difficulty=15), "block_difficulty"),
        "difficulty too high": (upon(BLOCK_1, HAENAM, difficulty=17), "block_difficulty"),
        "no work": (_signed(without_work, (), HAENAM.block), "block_work"),
        "root of votes": (upon(BLOCK_1, HAENAM, votes_root="00" * 32), "block_votes_root"),
        "root of other transactions": (
            upon(BLOCK_1, HAENAM, REVOCATION, tx_root=EMPTY_ROOT),
            "block_tx_root",
        ),
    }


def _content_faults() -> dict[str, tuple[Block, str]]:
    two = ordered(_revoke(KIM, "one"), admit(OUTSIDER))
    strangers = [member_keys(f"stranger-{number}") for number in range(8)]
    reused = ServiceKeys(
        wallet=OUTSIDER.wallet.public,
        box=OUTSIDER.box.public,
        block=MOKPO.vote.public,
        vote=OUTSIDER.vote.public,
    )
    twice = ServiceKeys(
        wallet=OUTSIDER.wallet.public,
        box=OUTSIDER.box.public,
        block=OUTSIDER.wallet.public,
        vote=OUTSIDER.vote.public,
    )
    small = ServiceKeys(wallet="01" + "00" * 31, box=OUTSIDER.box.public, block=OUTSIDER.block.public, vote="0" * 64)
    many = [membership(Revoke(member=f"nobody-{number}"), f"nobody {number}") for number in range(11)]
    contents: dict[str, tuple[tuple[Transaction, ...], str]] = {
        "transactions out of order": (two[::-1], "block_tx_order"),
        "a transaction twice": ((REVOCATION, REVOCATION), "tx_duplicate"),
        "eleven transactions where ten are allowed": (ordered(*many), "block_tx_count"),
        "more bytes than allowed": (ordered(*(admit(who) for who in strangers)), "too_large"),
        "transaction expired": ((_revoke(KIM, "old", expires_height=1),), "tx_expired"),
        "transaction expires too far ahead": ((_revoke(KIM, "far", expires_height=103),), "tx_expiry_too_far"),
        "transaction of another network": ((_foreign_network(),), "wrong_network"),
        "transaction not signed by the authority": ((_forged(),), "bad_signature"),
        "transaction of a member's key": ((_own_revocation(),), "tx_wrong_sender"),
        "member admitted twice": ((_admit(MOKPO.member, OUTSIDER.public, "again"),), "member_exists"),
        "reserved member id": ((_admit("consortium", OUTSIDER.public, "reserved"),), "bad_member_id"),
        "key of another member": ((_admit(OUTSIDER.member, reused, "reused"),), "key_reused"),
        "one key for two services": ((_admit(OUTSIDER.member, twice, "twice"),), "key_reused"),
        "key of small order": ((_admit(OUTSIDER.member, small, "small"),), "bad_key"),
        "unknown member revoked": ((_revoke(OUTSIDER, "unknown"),), "member_unknown"),
    }
    return {
        name: (upon(BLOCK_1, HAENAM, *transactions, keep_order=True), code)
        for name, (transactions, code) in contents.items()
    }


def _miner_faults() -> dict[str, tuple[Block, str]]:
    return {
        "miner is no member": (upon(BLOCK_1, OUTSIDER), "block_miner_unknown"),
        "miner revoked by the block itself": (upon(BLOCK_1, KIM, REVOCATION), "block_miner_unknown"),
        "miner made the last block": (upon(BLOCK_1, MOKPO), "block_miner_too_soon"),
        "signed by another member": (upon(BLOCK_1, HAENAM, signer=KIM.block), "block_signature"),
        "signed by the miner's wallet": (upon(BLOCK_1, HAENAM, signer=HAENAM.wallet), "block_signature"),
    }


def _first_blocks() -> dict[str, list[Step]]:
    genesis_block = _genesis_as_block()
    return {
        "block 1 does not admit its miner": [
            Step(upon(genesis_block, KIM, admit(MOKPO)), "refused", "block_miner_unknown")
        ],
        "block 1 at the time of the genesis": [
            Step(upon(genesis_block, MOKPO, admit(MOKPO), time_ms=START_MS), "refused", "block_time_too_old")
        ],
        "block 1 of another genesis": [
            Step(upon(genesis_block, MOKPO, admit(MOKPO), prev="00" * 32), "orphan", "block_unknown_parent")
        ],
    }


def _genesis_as_block() -> Block:
    """A stand-in with the genesis' hash, height 0 and time, to build upon."""
    header = msgspec.structs.replace(BLOCK_1.header, height=0, time_ms=START_MS)
    return Block(GENESIS.hash, header, "", (), b"")


def _waiting() -> dict[str, list[Step]]:
    third = upon(BLOCK_2, KIM)
    limit = PARAMETERS.max_ahead_intervals * INTERVAL_MS
    due = BLOCK_2.header.time_ms
    return {
        "a block before its predecessor": [
            Step(BLOCK_1, "connected"),
            Step(third, "orphan", "block_unknown_parent"),
            Step(BLOCK_2, "connected"),
            Step(third, "known"),
        ],
        "a block from the future": [
            Step(BLOCK_1, "connected"),
            Step(BLOCK_2, "postponed", "block_time_too_new", due - limit - 1),
            Step(BLOCK_2, "connected", None, due - limit),
        ],
    }


def _exchanged() -> dict[str, list[Step]]:
    """Whoever relays a block can exchange what its hash does not cover: that must not spoil the block."""
    good = upon(BLOCK_1, HAENAM, REVOCATION)
    other_signature = _signed(good.header, good.transactions, KIM.block)
    stripped = assemble_block(good.header, good.signature, ())
    return {
        "a copy with another signature comes first": [
            Step(BLOCK_1, "connected"),
            Step(other_signature, "refused", "block_signature"),
            Step(good, "connected"),
        ],
        "a copy without its transactions comes first": [
            Step(BLOCK_1, "connected"),
            Step(stripped, "refused", "block_tx_root"),
            Step(good, "connected"),
        ],
    }


def _branches() -> dict[str, list[Step]]:
    left = upon(BLOCK_1, HAENAM, REVOCATION)
    right = upon(BLOCK_1, KIM)
    right_3 = upon(right, MOKPO)
    left_3 = upon(left, MOKPO)
    left_4 = upon(left_3, HAENAM)
    bad_3 = upon(right, MOKPO, _admit(MOKPO.member, OUTSIDER.public, "again"))
    bad_4 = upon(bad_3, HAENAM)
    return {
        "more work wins, of equal work the first": [
            Step(BLOCK_1, "connected"),
            Step(left, "connected"),
            Step(right, "side_branch"),
            Step(right_3, "connected"),
            Step(left_3, "side_branch"),
            Step(left_4, "connected"),
        ],
        "an invalid block takes its branch out of the running": [
            Step(BLOCK_1, "connected"),
            Step(left, "connected"),
            Step(right, "side_branch"),
            Step(bad_3, "refused", "member_exists"),
            Step(bad_4, "refused", "block_invalid_parent"),
            Step(bad_3, "refused", "block_known_invalid"),
            Step(right_3, "connected"),
        ],
    }


# transactions


def _revoke(who: MemberKeys, name: str, *, expires_height: int = 50) -> Transaction:
    return membership(Revoke(member=who.member), f"revoke {who.member} {name}", expires_height=expires_height)


def _admit(member: str, keys: ServiceKeys, name: str) -> Transaction:
    return membership(Admit(member=member, keys=keys), f"admit {member} {name}")


def _body(network: str, sender: str, name: str) -> Membership:
    return Membership(
        network=network,
        sender=sender,
        salt=seed(f"salt {name}", 16).hex(),
        expires_height=50,
        change=Revoke(member=KIM.member),
    )


def _foreign_network() -> Transaction:
    return sign_transaction(_body(OTHER_NETWORK, AUTHORITY.public, "foreign"), AUTHORITY)


def _forged() -> Transaction:
    return sign_transaction(_body(NETWORK, AUTHORITY.public, "forged"), MOKPO.wallet)


def _own_revocation() -> Transaction:
    return sign_transaction(_body(NETWORK, MOKPO.wallet.public, "own"), MOKPO.wallet)


# playing


def history_cases() -> tuple[dict[str, Plain], list[Case]]:
    """The blocks by label, and the histories that name them."""
    blocks = Blocks()
    cases = [play(name, steps, blocks) for name, steps in histories().items()]
    return {label: raw for raw, label in blocks.labels.items()}, cases


def play(name: str, steps: list[Step], blocks: Blocks) -> Case:
    """Hand the blocks to a fresh node and write down what becomes of each.

    Raises:
        AssertionError: if that is not what the history is there to show.
    """
    raws: dict[str, bytes] = {}
    undo: dict[str, BlockUndo] = {}
    chain = Chain.fresh(GENESIS, raws.__getitem__, undo.__getitem__)
    told: list[Case] = []
    for step in steps:
        outcome = chain.receive_block(step.block, step.now_ms)
        raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        if outcome.change is not None:
            undo |= {each.block.hash: each.undo for each in outcome.change.connected}
        code = str(outcome.error.code) if outcome.error is not None else None
        if (outcome.status, code) != (step.status, step.code):
            raise AssertionError(f"{name}: {outcome}")
        told.append(
            {
                "block": blocks.label(step.block),
                "now_ms": step.now_ms,
                "status": step.status,
                "code": step.code,
                "height": chain.tip.height,
                "tip": chain.tip.hash,
                "work": chain.tip.work,
                "roster_hash": chain.state.roster.hash(),
            }
        )
    return {"name": name, "steps": told}
