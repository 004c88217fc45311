"""Form, hash and signature of blocks (minervas_core.blocks)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.blocks import (
    MAX_BLOCK_BYTES,
    Block,
    block_signature_is_valid,
    decode_block,
    decode_header,
    sign_block_hash,
    transactions_root,
)
from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidEncoding
from minervas_core.merkle import EMPTY_ROOT, merkle_root
from tests.support.builders import LocalChain, admit, block_key, revoke


@pytest.fixture(scope="module")
def block() -> Block:
    return LocalChain().mine("a", [admit("a"), admit("b"), revoke("a")])


def refusal(decode: Callable[[bytes], object], raw: bytes) -> Code:
    with pytest.raises(InvalidEncoding) as caught:
        decode(raw)
    return caught.value.code


def test_a_block_decodes_as_it_was_assembled(block: Block) -> None:
    assert decode_block(block.raw) == block


def test_the_hash_is_sha256_of_the_seal_and_the_nonce(block: Block) -> None:
    header = msgspec.to_builtins(block.header)
    nonce = bytes.fromhex(header.pop("nonce"))
    seal = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode()).digest()
    assert block.hash == hashlib.sha256(seal + nonce).hexdigest()
    assert block.header.seal() == block.header.draft().seal() == seal


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"network": "f" * 32},
        {"height": 9},
        {"prev": "1" * 64},
        {"tx_root": "1" * 64},
        {"votes_root": "1" * 64},
        {"time_ms": 1},
        {"difficulty": 9},
        {"miner": "b"},
        {"nonce": "f" * 16},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_the_header_changes_the_hash(block: Block, change: dict[str, object]) -> None:
    assert msgspec.structs.replace(block.header, **change).hash() != block.hash


@given(st.integers(0, 2**64 - 1))
def test_a_draft_takes_every_nonce(nonce: int) -> None:
    draft = LocalChain().mine("a").header.draft()
    header = draft.with_nonce(nonce)
    assert int(header.nonce, 16) == nonce
    assert header.draft() == draft
    assert decode_header(encode(header)) == header


def test_the_root_covers_the_bytes_of_the_transactions_signatures_included(block: Block) -> None:
    assert block.header.tx_root == merkle_root([transaction.raw for transaction in block.transactions])
    assert transactions_root([]) == EMPTY_ROOT
    assert transactions_root(block.transactions[::-1]) != block.header.tx_root


def test_the_miner_signs_the_hash_for_this_purpose_and_network_only(block: Block) -> None:
    key = block_key("a")
    assert block_signature_is_valid(block.header, block.hash, block.signature, key.public)
    assert not block_signature_is_valid(block.header, "0" * 64, block.signature, key.public)
    assert not block_signature_is_valid(block.header, block.hash, block.signature, block_key("b").public)
    for signature in (
        sign_block_hash(block.hash, "f" * 32, key),
        key.sign("transaction", block.header.network, f'"{block.hash}"'.encode()),
    ):
        assert not block_signature_is_valid(block.header, block.hash, signature, key.public)


def test_the_signature_is_not_part_of_the_hash(block: Block) -> None:
    other = block.raw.replace(block.signature.encode(), b"0" * 128)
    assert decode_block(other).hash == block.hash


def test_a_block_with_something_else_than_a_vote_is_refused(block: Block) -> None:
    assert refusal(decode_block, block.raw.replace(b'"votes":[]', b'"votes":[1]')) == Code.WRONG_SHAPE


def test_a_block_with_something_else_than_a_transaction_is_refused(block: Block) -> None:
    raw = block.raw.replace(b'"transactions":[', b'"transactions":[{},')
    assert refusal(decode_block, raw) in {Code.WRONG_SHAPE, Code.UNKNOWN_TYPE}


def test_a_transaction_in_other_than_canonical_bytes_is_refused(block: Block) -> None:
    raw = block.raw.replace(b'"transactions":[{', b'"transactions":[{ ')
    assert refusal(decode_block, raw) == Code.NOT_CANONICAL


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'{"header"', b'{"extra":1,"header"', Code.WRONG_SHAPE),
        (b'"height":1', b'"height":1.0', Code.WRONG_SHAPE),
        (b'"height":1', b'"height":0', Code.WRONG_SHAPE),
        (b'"height":1', b'"height":-1', Code.WRONG_SHAPE),
        (b'"height":1', b'"height":1,"height":1', Code.NOT_CANONICAL),
        (b'{"header"', b' {"header"', Code.NOT_CANONICAL),
        (b'"miner":"a"', b'"miner":"\\u0061"', Code.NOT_CANONICAL),
        (b'"miner":"a"', b'"miner":"A"', Code.WRONG_SHAPE),
        (b'"miner":"a"', b'"miner":null', Code.WRONG_SHAPE),
        (b'"votes":[]}', b'"votes":[]', Code.NOT_JSON),
    ],
)
def test_other_bytes_for_a_block_are_refused(block: Block, old: bytes, new: bytes, code: Code) -> None:
    assert old in block.raw
    assert refusal(decode_block, block.raw.replace(old, new)) == code


def test_a_block_above_the_hard_limit_is_refused_unread() -> None:
    assert refusal(decode_block, b"x" * (MAX_BLOCK_BYTES + 1)) == Code.TOO_LARGE


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_code(raw: bytes) -> None:
    assert refusal(decode_block, raw)
    assert refusal(decode_header, raw)
