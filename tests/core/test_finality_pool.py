"""Votes that a node has seen: bounds, contradictions, what templates carry of them (minervas_core.finality.pool)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core import template
from minervas_core.finality.pool import MAX_VERSIONS, MAX_VOTES_PER_VOTER, VotePool, contradiction
from minervas_core.finality.rules import choose_votes
from minervas_core.finality.votes import MAX_BLOCK_VOTES, MAX_VOTE_BYTES, Checkpoint, Vote
from minervas_core.mempool import Mempool
from minervas_core.template import FRAME_BYTES, build_draft
from tests.support.builders import FAR_FUTURE_MS, admit, find_nonce
from tests.support.voting import VOTING, VotingChain, make_vote, sign_voting_block

FOUR = ("a", "b", "c", "d")


def at(height: int, fork: str = "aa") -> Checkpoint:
    return Checkpoint(height=height, hash=fork * 32)


def link(source: int, target: int, *, fork: str = "aa", voter: str = "a") -> Vote:
    return make_vote(voter, at(source), at(target, fork))


# contradictions


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (link(0, 3), link(0, 3, fork="bb"), "double"),
        (link(0, 6), link(3, 6), "double"),
        (link(3, 6), link(0, 9), "surround"),
        (link(0, 12), link(3, 9), "surround"),
        (link(0, 3), link(3, 6), None),
        (link(0, 3), link(0, 6), None),
        (link(0, 6), link(3, 9), None),
        (link(0, 3), link(6, 9), None),
        (link(0, 3), link(0, 3), None),
    ],
    ids=["other target", "other source", "around", "within", "next", "same source", "crossing", "apart", "the same"],
)
def test_votes_contradict_each_other_when_one_lies_within_the_other_or_both_are_for_one_height(
    one: Vote, other: Vote, kind: str | None
) -> None:
    assert contradiction(one, other) == kind
    assert contradiction(other, one) == kind


def test_pool_names_the_vote_that_a_new_one_contradicts() -> None:
    pool = VotePool()
    for vote in (link(0, 3), link(3, 6), link(6, 9)):
        pool.add(vote)
    found = pool.contradiction(link(0, 12))
    assert found is not None
    assert (found.kind, found.first, found.second) == ("surround", link(3, 6), link(0, 12))
    assert pool.contradiction(link(9, 12)) is None
    assert pool.contradiction(link(0, 12, voter="b")) is None


# bounds


def test_vote_is_kept_once() -> None:
    pool = VotePool()
    assert pool.add(link(0, 3))
    assert not pool.add(link(0, 3))
    assert (len(pool), list(pool)) == (1, [link(0, 3)])
    assert link(0, 3) in pool
    assert link(0, 3, fork="bb") not in pool


def test_two_votes_for_one_height_are_kept_and_a_third_is_not() -> None:
    pool = VotePool()
    forks = ["aa", "bb", "cc"]
    assert [pool.add(link(0, 3, fork=fork)) for fork in forks] == [True] * MAX_VERSIONS + [False]
    assert len(pool) == MAX_VERSIONS


def test_newest_votes_of_each_voter_are_kept() -> None:
    pool = VotePool()
    for height in range(1, MAX_VOTES_PER_VOTER + 11):
        assert pool.add(link(0, height))
    pool.add(link(0, 1, voter="b"))
    assert [vote.body.target.height for vote in pool.of("a")] == list(range(11, MAX_VOTES_PER_VOTER + 11))
    assert len(pool.of("b")) == 1
    assert not pool.add(link(0, 10))


def test_pool_lists_votes_in_block_order() -> None:
    pool = VotePool()
    for vote in (link(0, 6), link(0, 3, voter="b"), link(0, 3)):
        pool.add(vote)
    assert [(vote.body.target.height, vote.body.voter) for vote in pool] == [(3, "a"), (3, "b"), (6, "a")]


def test_votes_up_to_the_final_height_are_forgotten_but_the_newest_of_each_voter() -> None:
    pool = VotePool()
    for vote in (link(0, 3), link(3, 6), link(6, 9), link(0, 3, voter="b")):
        pool.add(vote)
    pool.forget_up_to(6)
    assert [vote.body.target.height for vote in pool.of("a")] == [9]
    assert [vote.body.target.height for vote in pool.of("b")] == [3]
    assert pool.contradiction(link(0, 3, fork="bb", voter="b")) is not None


# templates


@pytest.fixture
def local() -> VotingChain:
    return VotingChain(FOUR)


def drafted(local: VotingChain, votes: list[Vote], *, queue: Mempool | None = None) -> template.BlockContent:
    mempool = queue or Mempool(local.genesis, local.chain.signatures)
    return build_draft(local.chain, mempool, votes, "b", local.tip.time_ms + 1_000)


def test_template_carries_what_can_be_carried_and_its_block_connects(local: VotingChain) -> None:
    local.grow_to(6)
    fitting = [*local.votes(0, 3), *local.votes(3, 6, "ab")]
    useless = [link(0, 3), make_vote("b", local.checkpoint(0), local.checkpoint(2))]
    content = drafted(local, [*useless, *fitting])
    assert list(content.votes) == fitting
    block = sign_voting_block(find_nonce(content.draft), content.transactions, content.votes)
    assert local.receive(block).status == "connected"
    assert local.reached == (3, 0)
    assert drafted(local, fitting).votes == ()


def test_template_takes_one_vote_of_a_voter_for_a_height(local: VotingChain) -> None:
    local.justify(0, 3)
    local.grow_to(6)
    both = [*local.votes(0, 6, "a"), *local.votes(3, 6, "a")]
    assert drafted(local, both).votes == (both[0],)


def test_template_carries_as_many_votes_as_a_block_may_have(
    local: VotingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "MAX_BLOCK_VOTES", 3)
    local.grow_to(6)
    carried = drafted(local, [*local.votes(0, 3), *local.votes(0, 6)]).votes
    assert [vote.body.voter for vote in carried] == ["a", "b", "c"]


def test_votes_take_at_most_half_of_a_block_and_transactions_what_is_left() -> None:
    parameters = msgspec.structs.replace(VOTING, max_block_bytes=10_000)
    names = [f"m{index}" for index in range(8)]
    local = VotingChain(parameters=parameters)
    local.members = names
    for name in names:
        local.extend("m0", [admit(name, expires=900)])
    local.grow_to(9)
    queue = Mempool(local.genesis, local.chain.signatures)
    for index in range(10):
        queue.add(admit(f"x{index}", expires=900), local.chain.state, FAR_FUTURE_MS)
    room = parameters.max_block_bytes - FRAME_BYTES
    content = build_draft(local.chain, queue, local.votes(0, 9), "m1", local.tip.time_ms + 1_000)
    assert len(content.votes) == room // 2 // MAX_VOTE_BYTES < len(names)
    assert content.transactions
    block = sign_voting_block(find_nonce(content.draft), content.transactions, content.votes)
    assert len(block.raw) <= parameters.max_block_bytes
    assert local.receive(block).status == "connected"


def test_a_block_full_of_votes_fits_the_largest_block() -> None:
    assert MAX_BLOCK_VOTES * (MAX_VOTE_BYTES + 1) + FRAME_BYTES < 1_000_000


def test_choosing_applies_to_the_state_that_it_is_given(local: VotingChain) -> None:
    local.grow_to(6)
    layer = local.chain.state.scratch()
    chosen = choose_votes(layer.finality, [*local.votes(3, 6), *local.votes(0, 3)], 7, local.genesis, 100)
    assert len(chosen) == 8
    assert layer.finality.head(local.genesis.hash).final.height == 3
    assert local.reached == (0, 0)
