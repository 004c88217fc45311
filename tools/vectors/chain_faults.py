"""Blocks upon block 1 of the vectors, each with the one fault that its name says, and the code for it."""

from __future__ import annotations

import msgspec

from minervas_core.blocks import Block
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.proof_of_work import attempt, is_good
from minervas_core.transactions import Revoke, ServiceKeys, Transaction
from tools.vectors.chain_blocks import admit_keys, foreign_network, forged, own_revocation, revoke, signed, upon
from tools.vectors.fixtures import (
    AUTHORITY,
    BLOCK_1,
    HAENAM,
    KIM,
    MOKPO,
    OTHER_NETWORK,
    OUTSIDER,
    REVOCATION,
    admit,
    member_keys,
    membership,
    ordered,
)

Faults = dict[str, tuple[Block, str]]
"""Block and code by name."""


def header_faults() -> Faults:
    """What is wrong with the header."""
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
        "no work": (signed(without_work, (), HAENAM.block), "block_work"),
        "root of votes": (upon(BLOCK_1, HAENAM, votes_root="00" * 32), "block_votes_root"),
        "root of other transactions": (
            upon(BLOCK_1, HAENAM, REVOCATION, tx_root=EMPTY_ROOT),
            "block_tx_root",
        ),
    }


Contents = dict[str, tuple[tuple[Transaction, ...], str]]
"""Transactions of a block and the code under which the block is refused, by name."""


def content_faults() -> Faults:
    """What is wrong with the transactions."""
    return {
        name: (upon(BLOCK_1, HAENAM, *transactions, keep_order=True), code)
        for name, (transactions, code) in {**_list_faults(), **_transaction_faults(), **_key_faults()}.items()
    }


def _list_faults() -> Contents:
    two = ordered(revoke(KIM, "one"), admit(OUTSIDER))
    strangers = [member_keys(f"stranger-{number}") for number in range(8)]
    many = [membership(Revoke(member=f"nobody-{number}"), f"nobody {number}") for number in range(11)]
    return {
        "transactions out of order": (two[::-1], "block_tx_order"),
        "a transaction twice": ((REVOCATION, REVOCATION), "tx_duplicate"),
        "eleven transactions where ten are allowed": (ordered(*many), "block_tx_count"),
        "more bytes than allowed": (ordered(*(admit(who) for who in strangers)), "too_large"),
    }


def _transaction_faults() -> Contents:
    return {
        "transaction expired": ((revoke(KIM, "old", expires_height=1),), "tx_expired"),
        "transaction expires too far ahead": ((revoke(KIM, "far", expires_height=103),), "tx_expiry_too_far"),
        "transaction of another network": ((foreign_network(),), "wrong_network"),
        "transaction not signed by the authority": ((forged(),), "bad_signature"),
        "transaction of a member's key": ((own_revocation(),), "tx_wrong_sender"),
        "member admitted twice": ((admit_keys(MOKPO.member, OUTSIDER.public, "again"),), "member_exists"),
        "reserved member id": ((admit_keys("consortium", OUTSIDER.public, "reserved"),), "bad_member_id"),
        "unknown member revoked": ((revoke(OUTSIDER, "unknown"),), "member_unknown"),
    }


def _key_faults() -> Contents:
    own, box = OUTSIDER.public, OUTSIDER.box.public
    keys: dict[str, tuple[ServiceKeys, str]] = {
        "key of another member": (msgspec.structs.replace(own, block=MOKPO.vote.public), "key_reused"),
        "key of the authority": (msgspec.structs.replace(own, vote=AUTHORITY.public), "key_reused"),
        "one key for two services": (msgspec.structs.replace(own, block=own.wallet), "key_reused"),
        "key of small order": (msgspec.structs.replace(own, wallet="01" + "00" * 31), "bad_key"),
        "key that is not canonical": (msgspec.structs.replace(own, vote="ff" * 32), "bad_key"),
        "box key of small order": (msgspec.structs.replace(own, box=box[:-64] + "00" * 32), "bad_key"),
        "box key in a second form": (
            msgspec.structs.replace(own, box=box[:-64] + (2**255 - 10).to_bytes(32, "little").hex()),
            "bad_key",
        ),
        "box key that fails the modulus check": (msgspec.structs.replace(own, box="ff" * 1_184 + box[-64:]), "bad_key"),
    }
    return {name: ((admit_keys(OUTSIDER.member, changed, name),), code) for name, (changed, code) in keys.items()}


def miner_faults() -> Faults:
    """What is wrong with the miner."""
    return {
        "miner is no member": (upon(BLOCK_1, OUTSIDER), "block_miner_unknown"),
        "miner revoked by the block itself": (upon(BLOCK_1, KIM, REVOCATION), "block_miner_unknown"),
        "miner made the last block": (upon(BLOCK_1, MOKPO), "block_miner_too_soon"),
        "signed by another member": (upon(BLOCK_1, HAENAM, signer=KIM.block), "block_signature"),
        "signed by the miner's wallet": (upon(BLOCK_1, HAENAM, signer=HAENAM.wallet), "block_signature"),
    }
