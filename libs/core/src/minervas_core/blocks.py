"""Blocks: header, hash, signature, content (paper, block and chain; design section 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import msgspec

from minervas_core.encoding import Count, Hash, NetworkId, Record, Signature, TimeMs, decode, encode
from minervas_core.finality.votes import MAX_BLOCK_VOTES, Vote, decode_vote
from minervas_core.genesis import MAX_BLOCK_TRANSACTIONS, Positive
from minervas_core.identifiers import MemberId
from minervas_core.keys import SigningKey, verify
from minervas_core.merkle import merkle_root, root_of_hashes
from minervas_core.proof_of_work import attempt
from minervas_core.transactions import Transaction, decode_transaction

VERSION = 1
"""Rule version of the headers that this code makes and accepts."""

MAX_HEADER_BYTES = 1_024
"""A header has about 450 bytes."""

MAX_BLOCK_BYTES = 1_000_000
"""Hard limit of a block on the wire; genesis may set a lower one."""

PURPOSE = "block"

NONCE_FIELD = b',"nonce":"'
"""How the nonce begins in a header's canonical bytes: never first, and no other field can contain a quotation mark."""
NONCE_DIGITS = 16

Nonce = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]


class Draft(Record, frozen=True, kw_only=True):
    """A header without its nonce: what a miner searches for."""

    version: Count
    network: NetworkId
    height: Positive
    prev: Hash
    """Hash of the predecessor; of the genesis for block 1."""
    tx_root: Hash
    """Merkle root over the transactions' canonical bytes, signatures included."""
    votes_root: Hash
    """Merkle root over the carried votes' canonical bytes, signatures included."""
    time_ms: TimeMs
    difficulty: Positive
    miner: MemberId

    def seal(self) -> bytes:
        """SHA-256 over the canonical header without nonce."""
        return hashlib.sha256(encode(self)).digest()

    def with_nonce(self, nonce: int) -> Header:
        """The header that a search with this nonce yields."""
        return Header(nonce=f"{nonce:016x}", **{name: getattr(self, name) for name in Draft.__struct_fields__})


class Header(Draft, frozen=True, kw_only=True):
    """A complete header."""

    nonce: Nonce

    def draft(self) -> Draft:
        """The header without its nonce."""
        return Draft(**{name: getattr(self, name) for name in Draft.__struct_fields__})

    def seal(self) -> bytes:
        """SHA-256 over the canonical header without nonce."""
        before, _, after = encode(self).partition(NONCE_FIELD)
        return hashlib.sha256(before + after[NONCE_DIGITS + 1 :]).digest()

    def hash(self) -> Hash:
        """The block's hash."""
        return attempt(self.seal(), int(self.nonce, 16)).hex()


class BlockForm(Record, frozen=True, kw_only=True):
    """A block on the wire; transactions and votes keep their bytes."""

    header: Header
    signature: Signature
    """The miner's block key over the block hash."""
    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_BLOCK_TRANSACTIONS)]
    votes: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_BLOCK_VOTES)]


@dataclass(frozen=True, slots=True)
class Block:
    """A decoded block with its hash and the bytes as they were received."""

    hash: Hash
    header: Header
    signature: Signature
    transactions: tuple[Transaction, ...]
    votes: tuple[Vote, ...]
    raw: bytes


def transactions_root(transactions: Sequence[Transaction]) -> Hash:
    """Merkle root over the transactions' bytes."""
    return root_of_hashes([transaction.leaf for transaction in transactions])


def votes_root(votes: Sequence[Vote]) -> Hash:
    """Merkle root over the votes' bytes."""
    return merkle_root([vote.raw for vote in votes])


def block_signing_body(block_hash: Hash) -> bytes:
    """Canonical body that the miner signs: the block hash as a JSON string."""
    return f'"{block_hash}"'.encode("ascii")


def sign_block_hash(block_hash: Hash, network: str, key: SigningKey) -> Signature:
    """The miner's signature on a found block."""
    return key.sign(PURPOSE, network, block_signing_body(block_hash))


def block_signature_is_valid(header: Header, block_hash: Hash, signature: str, block_key: str) -> bool:
    """Whether the holder of `block_key` signed the block. The answers for the last blocks are remembered."""
    return _is_signed(header.network, block_hash, signature, block_key)


@lru_cache(maxsize=1_024)
def _is_signed(network: str, block_hash: Hash, signature: str, block_key: str) -> bool:
    return verify(block_key, PURPOSE, network, block_signing_body(block_hash), signature)


def assemble_block(
    header: Header, signature: Signature, transactions: Sequence[Transaction], votes: Sequence[Vote] = ()
) -> Block:
    """Put a block together from its parts."""
    form = BlockForm(
        header=header,
        signature=signature,
        transactions=[msgspec.Raw(transaction.raw) for transaction in transactions],
        votes=[msgspec.Raw(vote.raw) for vote in votes],
    )
    return Block(header.hash(), header, signature, tuple(transactions), tuple(votes), encode(form))


def decode_block(raw: bytes, known: Callable[[bytes], Transaction | None] = lambda _: None) -> Block:
    """Decode canonical bytes of a block and of all its transactions and votes.

    Args:
        raw: the block.
        known: finds a transaction that was decoded before from exactly these bytes.

    Raises:
        InvalidEncoding: if the block or something in it is malformed, or if it carries more transactions or votes than
            any genesis allows.
    """
    form = decode(raw, BlockForm, max_bytes=MAX_BLOCK_BYTES)
    transactions = tuple(known(item) or decode_transaction(item) for item in map(bytes, form.transactions))
    votes = tuple(decode_vote(bytes(item)) for item in form.votes)
    return Block(form.header.hash(), form.header, form.signature, transactions, votes, raw)


def decode_header(raw: bytes) -> Header:
    """Decode one canonical header.

    Raises:
        InvalidEncoding: if it is malformed.
    """
    return decode(raw, Header, max_bytes=MAX_HEADER_BYTES)
