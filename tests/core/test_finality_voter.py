"""What a member votes, and that it never contradicts itself (minervas_core.finality.voter and book)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.errors import Code, InvalidVote
from minervas_core.finality.book import MAX_AHEAD, VoteBook
from minervas_core.finality.pool import MAX_VOTES_PER_VOTER, contradiction
from minervas_core.finality.state import Voter
from minervas_core.finality.voter import DEPTH, Guard, next_vote
from minervas_core.finality.votes import Checkpoint, Vote, VoteBody, sign_vote
from tests.support.builders import revoke, vote_key
from tests.support.voting import INTERVAL, VOTING, VotingChain, make_vote, voter

FOUR = ("a", "b", "c", "d")


@pytest.fixture
def local() -> VotingChain:
    return VotingChain(FOUR)


def due(local: VotingChain, member: str = "a", guard: Guard | None = None) -> VoteBody | None:
    return next_vote(local.finality, local.tip.height, voter(member), guard or Guard(), local.genesis)


def link(local: VotingChain, member: str = "a", guard: Guard | None = None) -> tuple[int, int] | None:
    body = due(local, member, guard)
    return (body.source.height, body.target.height) if body else None


# what is voted


def test_checkpoint_is_voted_for_once_a_block_lies_on_it(local: VotingChain) -> None:
    local.grow_to(INTERVAL)
    assert due(local) is None
    local.grow_to(INTERVAL + DEPTH - 1)
    body = due(local)
    assert body is not None
    assert (body.network, body.voter) == (local.genesis.network, "a")
    assert (body.source.hash, body.target.hash) == (local.checkpoint(0).hash, local.checkpoint(3).hash)


def test_vote_that_is_due_is_one_that_the_next_block_can_carry(local: VotingChain) -> None:
    for height in range(2, 25):
        bodies = [body for member in FOUR if (body := due(local, member)) is not None]
        fresh = [
            sign_vote(body, vote_key(body.voter))
            for body in bodies
            if local.finality.vote(body.target.height, body.voter) is None
        ]
        local.add(fresh)
        assert local.tip.height == height
    assert local.reached == (21, 18)


def test_vote_waits_for_the_checkpoint_before_but_not_beyond_the_next(local: VotingChain) -> None:
    """3 is not justified, so that a vote for 6 could only justify and finalise nothing."""
    local.grow_to(7)
    assert due(local) is None
    local.grow_to(8)
    assert link(local) == (0, 6)


def test_vote_no_longer_waits_when_the_checkpoint_before_is_justified(local: VotingChain) -> None:
    local.grow_to(7)
    assert due(local) is None
    receive = local.mine_votes(local.votes(0, 3), on=local.chain.tree.main_at(6))
    local.receive(receive)
    local.add(on=receive)
    assert local.tip.height == 8
    assert link(local) == (3, 6)


def test_newest_checkpoint_is_voted_for_and_older_ones_are_left_out(local: VotingChain) -> None:
    local.grow_to(17)
    assert link(local) == (0, 15)


def test_justified_checkpoint_needs_no_more_votes(local: VotingChain) -> None:
    local.justify(0, 3, "bcd")
    assert due(local, "a") is None


def test_height_is_voted_for_once(local: VotingChain) -> None:
    local.grow_to(4)
    body = due(local)
    assert body is not None
    assert due(local, guard=Guard().after([sign_vote(body, vote_key("a"))])) is None


def test_source_below_an_earlier_one_is_not_voted_from(local: VotingChain) -> None:
    """On another branch a higher checkpoint was justified: voting from below it could surround that vote."""
    local.grow_to(11)
    assert link(local) == (0, 9)
    assert due(local, guard=Guard(source_height=3, target_height=6)) is None


def test_who_is_no_voter_of_the_checkpoint_does_not_vote(local: VotingChain) -> None:
    local.add([], [revoke("d", expires=900)])
    local.grow_to(4)
    assert due(local, "d") is None
    assert due(local, "c") is not None


def test_who_has_another_key_than_the_checkpoint_says_does_not_vote(local: VotingChain) -> None:
    local.grow_to(4)
    stranger = Voter(member="a", vote_key=vote_key("other").public)
    assert next_vote(local.finality, 4, stranger, Guard(), local.genesis) is None


def test_with_the_shortest_interval_votes_do_not_wait_for_what_cannot_come() -> None:
    local = VotingChain(FOUR, parameters=msgspec.structs.replace(VOTING, vote_interval=2))
    local.grow_to(5)
    assert link(local) == (0, 4)


# the guard

links = st.tuples(st.integers(0, 12), st.integers(1, 12)).filter(lambda each: each[0] < each[1])


def body(source: int, target: int, *, fork: str = "aa") -> VoteBody:
    ends = Checkpoint(height=source, hash=fork * 32), Checkpoint(height=target, hash=fork * 32)
    return make_vote("a", *ends).body


@given(st.lists(st.tuples(links, st.sampled_from(["aa", "bb"])), max_size=25))
def test_guard_never_lets_two_votes_pass_that_contradict_each_other(tries: list[tuple[tuple[int, int], str]]) -> None:
    guard, signed = Guard(), list[Vote]()
    for (source, target), fork in tries:
        wanted = body(source, target, fork=fork)
        if guard.allows(wanted):
            signed.append(sign_vote(wanted, vote_key("a")))
            guard = guard.after(signed[-1:])
    assert all(contradiction(one, other) is None for one, other in itertools.combinations(signed, 2))


@given(st.lists(links, min_size=2, max_size=12))
def test_guards_that_know_different_votes_know_all_of_them_when_joined(tries: list[tuple[int, int]]) -> None:
    votes = [
        make_vote("a", Checkpoint(height=s, hash="aa" * 32), Checkpoint(height=t, hash="aa" * 32)) for s, t in tries
    ]
    half = len(votes) // 2
    joined = Guard().after(votes[:half]).joined(Guard().after(votes[half:]))
    assert joined == Guard().after(votes)


@pytest.mark.parametrize(
    ("source", "target", "allowed"), [(3, 6, False), (3, 9, True), (6, 9, True), (0, 9, False), (3, 5, False)]
)
def test_guard_wants_higher_targets_and_no_lower_sources(source: int, target: int, allowed: bool) -> None:
    assert Guard(source_height=3, target_height=6).allows(body(source, target)) is allowed


# the book


def book(local: VotingChain, votes: list[Vote] | None = None, member: str = "a") -> VoteBook:
    return VoteBook(local.genesis, [voter(member)], votes or [])


def test_book_learns_the_nodes_own_votes_from_wherever_they_come(local: VotingChain) -> None:
    local.grow_to(4)
    (own,) = local.votes(0, 3, "a")
    assert book(local).next_vote(local.chain.state) == own.body
    stored = book(local, [own])
    gossiped, carried = book(local), book(local)
    gossiped.take(own, local.chain.state)
    carried.take_carried([own], local.chain.state)
    for each in (stored, gossiped, carried):
        assert each.guard == Guard(0, 3)
        assert each.next_vote(local.chain.state) is None


def test_own_signature_binds_whatever_the_state_says_of_us(local: VotingChain) -> None:
    """A database from before our admission learns from others what we signed since."""
    early = VotingChain(("b", "c"))
    local.grow_to(INTERVAL)
    (own,) = local.votes(0, INTERVAL, "a")
    restored = book(early)
    with pytest.raises(InvalidVote) as caught:
        restored.take(own, early.chain.state)
    assert caught.value.code == Code.VOTE_NOT_VOTER
    assert restored.guard == Guard(0, INTERVAL)


@pytest.mark.parametrize(("source", "target", "code"), [(0, 4, Code.VOTE_TARGET), (1, 3, Code.VOTE_SOURCE)])
def test_a_vote_between_blocks_that_are_no_checkpoints_is_refused(
    local: VotingChain, source: int, target: int, code: Code
) -> None:
    local.grow_to(6)
    [vote] = local.votes(source, target, "b")
    with pytest.raises(InvalidVote) as caught:
        book(local).take(vote, local.chain.state)
    assert caught.value.code == code


def test_a_vote_far_above_our_tip_is_left_alone_until_we_are_there(local: VotingChain) -> None:
    local.grow_to(INTERVAL)
    height = (local.tip.height + MAX_AHEAD) // INTERVAL * INTERVAL
    near, far = (Checkpoint(height=each, hash="ab" * 32) for each in (height, height + INTERVAL))
    watched = book(local)
    assert watched.take(make_vote("b", local.checkpoint(0), near), local.chain.state).is_new
    assert not watched.take(make_vote("b", local.checkpoint(0), far), local.chain.state).is_new
    assert len(watched.pool) == 1


def test_votes_under_a_key_of_before_bind_us_too(local: VotingChain) -> None:
    """Our key was rotated; on a branch where it was rotated earlier, a vote for the same height would be a lie."""
    local.grow_to(4)
    (old,) = local.votes(0, 3, "a")
    renewed = Voter(member="a", vote_key=vote_key("a2").public)
    assert VoteBook(local.genesis, [renewed], [old]).guard == Guard(0, 3)
    told = VoteBook(local.genesis, [renewed])
    told.take(old, local.chain.state)
    assert told.guard == Guard(0, 3)


def test_a_vote_is_signed_with_the_key_of_ours_that_its_checkpoint_has(local: VotingChain) -> None:
    """Both keys are at hand before and after a rotation; the chain says which counts."""
    local.grow_to(4)
    both = VoteBook(local.genesis, [Voter(member="a", vote_key=vote_key("a2").public), voter("a")])
    due = both.next_vote(local.chain.state)
    assert due is not None
    assert both.key_for(due, local.chain.state) == voter("a").vote_key


def test_vote_in_our_name_that_we_did_not_sign_does_not_bind_us(local: VotingChain) -> None:
    local.grow_to(4)
    forged = make_vote("a", local.checkpoint(0), local.checkpoint(3), key=vote_key("b"))
    watching = book(local)
    with pytest.raises(InvalidVote):
        watching.take(forged, local.chain.state)
    assert watching.guard == Guard()


def test_votes_of_others_do_not_move_the_guard(local: VotingChain) -> None:
    local.grow_to(4)
    watched = book(local)
    for vote in local.votes(0, 3, "bcd"):
        watched.take(vote, local.chain.state)
    assert watched.guard == Guard()


def test_who_only_watches_votes_nothing(local: VotingChain) -> None:
    local.grow_to(4)
    assert VoteBook(local.genesis, []).next_vote(local.chain.state) is None


def test_vote_that_is_known_is_told_as_not_new(local: VotingChain) -> None:
    local.grow_to(4)
    watching, (vote,) = book(local), local.votes(0, 3, "b")
    assert watching.take(vote, local.chain.state).is_new
    assert not watching.take(vote, local.chain.state).is_new
    assert len(watching.pool) == 1


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda c: make_vote("stranger", c.checkpoint(0), c.checkpoint(3)), Code.VOTE_NOT_VOTER),
        (lambda c: make_vote("b", c.checkpoint(0), c.checkpoint(3), network="ff" * 16), Code.WRONG_NETWORK),
        (lambda c: make_vote("b", c.checkpoint(0), c.checkpoint(3), key=vote_key("c")), Code.BAD_SIGNATURE),
    ],
    ids=["stranger", "network", "signature"],
)
def test_book_refuses_what_no_member_signed(local: VotingChain, make: Callable[[VotingChain], Vote], code: str) -> None:
    local.grow_to(4)
    watching = book(local)
    with pytest.raises(InvalidVote) as caught:
        watching.take(make(local), local.chain.state)
    assert caught.value.code == code
    assert len(watching.pool) == 0
    assert watching.take_carried([make(local)], local.chain.state) == []


def test_vote_of_another_branch_is_judged_by_the_voters_newest_key(local: VotingChain) -> None:
    local.grow_to(4)
    elsewhere = make_vote("b", local.checkpoint(0), Checkpoint(height=3, hash="ab" * 32))
    assert book(local).take(elsewhere, local.chain.state).is_new


def test_candidates_are_what_lies_above_the_final_checkpoint_in_block_order(local: VotingChain) -> None:
    local.justify(0, 3, "abc")
    local.justify(3, 6, "abc")
    local.grow_to(9)
    watching = book(local)
    votes = [*local.votes(6, 9, "ba"), *local.votes(3, 6, "d"), *local.votes(0, 3, "d")]
    for vote in votes:
        watching.take(vote, local.chain.state)
    found = [(vote.body.target.height, vote.body.voter) for vote in watching.candidates(local.chain.state)]
    assert found == [(6, "d"), (9, "a"), (9, "b")]


def test_second_vote_for_a_height_is_told_as_a_lie_once(local: VotingChain) -> None:
    local.grow_to(4)
    watching = book(local)
    first = make_vote("b", local.checkpoint(0), local.checkpoint(3))
    second = make_vote("b", local.checkpoint(0), Checkpoint(height=3, hash="ab" * 32))
    assert watching.take(first, local.chain.state).equivocation is None
    told = watching.take(second, local.chain.state).equivocation
    assert told is not None
    assert (told.kind, told.first, told.second) == ("double", first, second)
    assert watching.take(second, local.chain.state).equivocation is None


def test_forgetting_votes_keeps_the_guard(local: VotingChain) -> None:
    local.grow_to(4)
    (own,) = local.votes(0, 3, "a")
    watching = book(local, [own])
    for height in range(1, MAX_VOTES_PER_VOTER + 5):
        far = Checkpoint(height=1_000 + height, hash="ab" * 32)
        watching.take(make_vote("b", local.checkpoint(0), far), local.chain.state)
    watching.forget_final(3)
    assert watching.guard == Guard(0, 3)
