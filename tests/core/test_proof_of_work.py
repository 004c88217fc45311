"""Proof of work (minervas_core.proof_of_work)."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from minervas_core.proof_of_work import MAX_HASH, NONCE_COUNT, attempt, is_good, target


def test_a_try_is_sha256_of_the_seal_and_the_nonce_as_eight_bytes_big_endian() -> None:
    seal = bytes(range(32))
    assert attempt(seal, 0x0102030405060708) == hashlib.sha256(seal + bytes([1, 2, 3, 4, 5, 6, 7, 8])).digest()
    assert attempt(seal, NONCE_COUNT - 1) == hashlib.sha256(seal + b"\xff" * 8).digest()


def test_at_difficulty_one_all_hashes_but_the_highest_are_good() -> None:
    assert is_good((MAX_HASH - 1).to_bytes(32, "big"), 1)
    assert not is_good(MAX_HASH.to_bytes(32, "big"), 1)


@given(st.integers(1, 2**53 - 1))
def test_a_hash_is_good_strictly_below_the_target(difficulty: int) -> None:
    limit = (2**256 - 1) // difficulty
    assert target(difficulty) == limit
    assert is_good((limit - 1).to_bytes(32, "big"), difficulty)
    assert not is_good(limit.to_bytes(32, "big"), difficulty)


def test_the_difficulty_is_the_expected_number_of_tries() -> None:
    difficulty, tries = 16, 32_000
    seal = hashlib.sha256(b"seed").digest()
    good = sum(is_good(attempt(seal, nonce), difficulty) for nonce in range(tries))
    # 2000 expected; standard deviation 43. The tries are fixed, so this never varies.
    assert abs(good - tries // difficulty) < 130
