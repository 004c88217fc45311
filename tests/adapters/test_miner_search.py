"""The nonce search finds what the rules of proof of work call good, and counts honestly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.proof_of_work import attempt, is_good, target
from minervas_miner.nonce_search import NONCES, RUN_TRIES, NonceSearch

SEAL = bytes(range(32))


def limit(difficulty: int) -> bytes:
    return target(difficulty).to_bytes(32, "big")


@given(first=st.integers(0, NONCES - 1), count=st.integers(1, 300))
def test_lowest_hash_is_the_minimum_of_all_tries_as_core_hashes_them(first: int, count: int) -> None:
    search = NonceSearch(SEAL, bytes(32), first)
    search.advance(count)
    nonces = [first + step for step in range(search.tries)]
    lowest = min(nonces, key=lambda nonce: attempt(SEAL, nonce))
    assert (search.lowest, search.lowest_nonce) == (attempt(SEAL, lowest), lowest)
    assert search.next_nonce == (nonces[-1] + 1) % NONCES
    assert not search.found


@given(first=st.integers(0, NONCES - RUN_TRIES), difficulty=st.integers(1, 500))
def test_search_stops_at_the_first_good_hash(first: int, difficulty: int) -> None:
    search = NonceSearch(SEAL, limit(difficulty), first)
    while not search.found:
        search.advance(100)
    assert is_good(attempt(SEAL, search.lowest_nonce), difficulty)
    assert search.tries == search.lowest_nonce - first + 1
    assert not any(is_good(attempt(SEAL, nonce), difficulty) for nonce in range(first, search.lowest_nonce))


@pytest.mark.parametrize("first", [RUN_TRIES - 10, NONCES - 10])
def test_search_goes_on_after_the_end_of_a_run_and_of_all_nonces(first: int) -> None:
    search = NonceSearch(SEAL, bytes(32), first)
    search.advance(100)
    assert (search.tries, search.next_nonce) == (10, (first + 10) % NONCES)
    search.advance(100)
    assert (search.tries, search.next_nonce) == (110, (first + 110) % NONCES)
    nonces = [(first + step) % NONCES for step in range(110)]
    assert search.lowest == min(attempt(SEAL, nonce) for nonce in nonces)


def test_lowest_hash_of_earlier_batches_is_kept() -> None:
    search = NonceSearch(SEAL, bytes(32), 0)
    search.advance(5_000)
    best = search.lowest, search.lowest_nonce
    search.advance(1)
    assert (search.lowest, search.lowest_nonce) == best
