"""Reports of searches are checked by recomputation (minervas_core.abandoned)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.abandoned import check_abandoned, estimated_tries, is_search_for
from minervas_core.blocks import Draft
from minervas_core.errors import Code, PeerFault
from minervas_core.node_messages import AbandonedSearch
from minervas_core.proof_of_work import MAX_HASH, attempt
from tests.support.builders import LocalChain, make_draft

HARD = 2**40


@pytest.fixture
def draft() -> Draft:
    local = LocalChain()
    return msgspec.structs.replace(make_draft(local.tip, [], "a", local.genesis), difficulty=HARD)


def search(draft: Draft, tries: int) -> AbandonedSearch:
    """An honest search of so many nonces."""
    seal = draft.seal()
    lowest, nonce = min((attempt(seal, nonce), nonce) for nonce in range(tries))
    return AbandonedSearch(header=draft.with_nonce(nonce), tries=tries, elapsed_ms=1, lowest_hash=lowest.hex())


def code_of(abandoned: AbandonedSearch) -> Code:
    with pytest.raises(PeerFault) as caught:
        check_abandoned(abandoned)
    return caught.value.code


@pytest.mark.parametrize("tries", [1, 10, 1_000, 20_000])
def test_an_honest_report_is_accepted(draft: Draft, tries: int) -> None:
    check_abandoned(search(draft, tries))


def test_the_header_must_hash_to_the_lowest_hash(draft: Draft) -> None:
    honest = search(draft, 10)
    other_nonce = msgspec.structs.replace(honest, header=draft.with_nonce(12345))
    assert code_of(other_nonce) == Code.ABANDONED_CLAIM
    other_hash = msgspec.structs.replace(honest, lowest_hash="0" * 63 + "1")
    assert code_of(other_hash) == Code.ABANDONED_CLAIM


def test_a_search_that_found_its_block_was_not_abandoned(draft: Draft) -> None:
    assert code_of(search(msgspec.structs.replace(draft, difficulty=2), 50)) == Code.ABANDONED_CLAIM


def test_a_claim_of_far_more_tries_than_the_hash_speaks_for_is_refused(draft: Draft) -> None:
    honest = search(draft, 1_000)
    estimated = estimated_tries(honest.lowest_hash)
    check_abandoned(msgspec.structs.replace(honest, tries=40 * estimated))
    assert code_of(msgspec.structs.replace(honest, tries=40 * estimated + 1)) == Code.ABANDONED_CLAIM
    assert code_of(msgspec.structs.replace(honest, tries=0)) == Code.ABANDONED_CLAIM


def test_the_estimate_is_the_expected_number_of_tries_for_a_lowest_hash() -> None:
    assert estimated_tries(f"{MAX_HASH // 1000:064x}") == 1000
    assert estimated_tries("f" * 64) == 1
    assert estimated_tries("0" * 64) == MAX_HASH


def test_a_found_header_belongs_to_its_draft_whatever_nonce_and_later_time(draft: Draft) -> None:
    later = msgspec.structs.replace(draft, time_ms=draft.time_ms + 1_000)
    assert is_search_for(draft.with_nonce(7), draft)
    assert is_search_for(later.with_nonce(7), draft)
    assert not is_search_for(draft.with_nonce(7), later)


@pytest.mark.parametrize(
    "change", [{"miner": "b"}, {"height": 2}, {"prev": "1" * 64}, {"tx_root": "1" * 64}, {"difficulty": 3}]
)
def test_a_header_with_another_field_does_not_belong_to_the_draft(draft: Draft, change: dict[str, object]) -> None:
    assert not is_search_for(msgspec.structs.replace(draft, **change).with_nonce(7), draft)
