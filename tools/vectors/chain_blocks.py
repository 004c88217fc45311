"""Blocks and transactions to hand to a node, right or with one fault."""

from __future__ import annotations

import msgspec

from minervas_core.blocks import Block, Header, assemble_block, sign_block_hash
from minervas_core.keys import SigningKey
from minervas_core.transactions import Admit, Membership, Revoke, ServiceKeys, Transaction, sign_transaction
from tools.vectors.fixtures import (
    AUTHORITY,
    INTERVAL_MS,
    KIM,
    MOKPO,
    NETWORK,
    OTHER_NETWORK,
    MemberKeys,
    draft,
    membership,
    ordered,
    search,
    seed,
)


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
    return signed(header, listed, signer or miner.block)


def signed(header: Header, transactions: tuple[Transaction, ...], key: SigningKey) -> Block:
    """A block under this header, signed with a key."""
    return assemble_block(header, sign_block_hash(header.hash(), header.network, key), transactions)


def revoke(who: MemberKeys, name: str, *, expires_height: int = 50) -> Transaction:
    """A revocation by the authority."""
    return membership(Revoke(member=who.member), f"revoke {who.member} {name}", expires_height=expires_height)


def admit_keys(member: str, keys: ServiceKeys, name: str) -> Transaction:
    """An admission by the authority, of any id and keys."""
    return membership(Admit(member=member, keys=keys), f"admit {member} {name}")


def _body(network: str, sender: str, name: str) -> Membership:
    return Membership(
        network=network,
        sender=sender,
        salt=seed(f"salt {name}", 16).hex(),
        expires_height=50,
        change=Revoke(member=KIM.member),
    )


def foreign_network() -> Transaction:
    """A revocation for another network."""
    return sign_transaction(_body(OTHER_NETWORK, AUTHORITY.public, "foreign"), AUTHORITY)


def forged() -> Transaction:
    """A revocation in the authority's name, signed by somebody else."""
    return sign_transaction(_body(NETWORK, AUTHORITY.public, "forged"), MOKPO.wallet)


def own_revocation() -> Transaction:
    """A revocation that a member signs for itself."""
    return sign_transaction(_body(NETWORK, MOKPO.wallet.public, "own"), MOKPO.wallet)
