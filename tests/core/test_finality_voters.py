"""Who votes for a checkpoint, while members join and leave (minervas_core.finality.rules.note_checkpoint)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.errors import Code
from minervas_core.finality.rules import MAX_OPEN_CHECKPOINTS
from tests.support.builders import admit, revoke, vote_key
from tests.support.membership import resume, rotate, suspend
from tests.support.voting import VOTING, VotingChain, make_vote

FOUR = ("a", "b", "c", "d")


def four() -> VotingChain:
    return VotingChain(FOUR)


def code_of_block_with(local: VotingChain, member: str, source: int, target: int) -> str:
    """The code under which a block with a member's vote is refused."""
    vote = make_vote(member, local.checkpoint(source), local.checkpoint(target))
    error = local.receive(local.mine_votes([vote])).error
    assert error is not None
    return error.code


def test_while_genesis_is_final_those_vote_who_have_it_at_the_checkpoint() -> None:
    local = four()
    local.add([], [admit("e", expires=900)])
    local.grow_to(3)
    assert local.record(3).current == [*FOUR, "e"]
    assert local.record(3).previous == []
    local.add([], [revoke("d", expires=900)])
    assert [each.member for each in local.record(3).voters] == [*FOUR, "e"]


def test_admission_in_the_checkpoint_itself_counts_and_one_block_later_does_not() -> None:
    local = four()
    local.grow_to(2)
    local.add([], [admit("e", expires=900)])
    local.add([], [admit("f", expires=900)])
    assert local.record(3).current == [*FOUR, "e"]
    assert code_of_block_with(local, "f", 0, 3) == Code.VOTE_NOT_VOTER


def test_revocation_in_the_checkpoint_itself_takes_the_vote_and_one_block_later_does_not() -> None:
    local = four()
    local.grow_to(2)
    local.add([], [revoke("c", expires=900)])
    local.add([], [revoke("d", expires=900)])
    assert local.record(3).current == ["a", "b", "d"]
    local.add(local.votes(0, 3, ("a", "b", "d")))
    assert local.reached == (3, 0)


def test_after_the_first_final_checkpoint_its_members_vote_and_newcomers_wait() -> None:
    local = four()
    local.justify(0, 3)
    local.justify(3, 6)
    local.add([], [admit("e", expires=900)])
    local.grow_to(9)
    assert (local.record(9).members, local.record(9).current) == ([*FOUR, "e"], list(FOUR))
    assert local.record(9).previous == []
    assert code_of_block_with(local, "e", 6, 9) == Code.VOTE_NOT_VOTER


def test_newcomer_votes_once_a_checkpoint_of_its_own_is_final() -> None:
    local = four()
    local.justify(0, 3)
    local.justify(3, 6)
    local.add([], [admit("e", expires=900)])
    local.justify(6, 9)
    local.justify(9, 12)
    assert local.reached == (12, 9)
    local.grow_to(15)
    assert local.record(15).current == [*FOUR, "e"]
    assert local.record(15).previous == list(FOUR)
    assert local.head.previous_final_height == 6


def two_sets() -> VotingChain:
    """F is 9 with the members a to h, P is 6 with a to d; checkpoint 15 stands and waits for votes from 12."""
    local = four()
    local.justify(0, 3)
    local.justify(3, 6)
    local.add([], [admit(each, expires=900) for each in "efgh"])
    local.justify(6, 9)
    local.justify(9, 12)
    local.grow_to(15)
    assert (local.record(15).current, local.record(15).previous) == (list("abcdefgh"), list(FOUR))
    return local


@pytest.mark.parametrize(
    ("voted", "justified"),
    [
        ("abcdef", True),  # 6 of 8, 4 of 4
        ("abcefg", True),  # 6 of 8, 3 of 4
        ("abefgh", False),  # 6 of 8, but 2 of 4
        ("abcde", False),  # 4 of 4, but 5 of 8
    ],
)
def test_link_needs_two_thirds_of_the_previous_voters_as_well(voted: str, justified: bool) -> None:
    local = two_sets()
    local.add(local.votes(12, 15, voted))
    assert local.record(15).justified is justified


def test_first_final_checkpoint_needs_as_many_voters_as_genesis_says() -> None:
    """Otherwise a newcomer that mines alone for a while would make its own chain final."""
    local = VotingChain(FOUR, parameters=msgspec.structs.replace(VOTING, founding_voters=5))
    local.justify(0, 3)
    assert local.reached == (0, 0)
    local.add([], [admit("e", expires=900)])
    local.justify(0, 6, "abcd")
    assert local.reached == (6, 0)


def test_after_the_first_final_checkpoint_fewer_voters_go_on() -> None:
    local = VotingChain(FOUR, parameters=msgspec.structs.replace(VOTING, founding_voters=4))
    local.justify(0, 3)
    local.justify(3, 6)
    local.add([], [revoke(each, expires=900) for each in "bcd"])
    local.justify(6, 9, "a")
    assert local.reached == (9, 6)


def test_revoked_members_leave_the_count_and_the_base_from_the_next_checkpoint_on() -> None:
    local = four()
    local.justify(0, 3)
    local.justify(3, 6)
    local.add([], [revoke("d", expires=900)])
    local.grow_to(9)
    assert local.record(9).current == ["a", "b", "c"]
    local.add(local.votes(6, 9, "ab"))
    assert local.reached == (6, 3)
    local.add(local.votes(6, 9, "c"))
    assert local.reached == (9, 6)


def test_once_all_voters_of_the_final_checkpoint_are_gone_those_who_are_there_go_on() -> None:
    local = four()
    local.justify(0, 3)
    local.justify(3, 6)
    local.add([], [admit("e", expires=900)])
    gone = local.mine_votes([], [revoke(member, expires=900) for member in FOUR], miner="e")
    assert local.receive(gone).status == "connected"
    while local.tip.height < 9:
        local.receive(local.mine_votes(miner="e"))
    assert local.record(9).current == ["e"]
    local.receive(local.mine_votes(local.votes(6, 9, "e"), miner="e"))
    assert local.reached == (9, 6)


def test_a_checkpoint_that_waits_too_long_for_its_votes_is_forgotten_with_them() -> None:
    local = four()
    local.justify(0, 3)
    local.add(local.votes(0, 3, ()))
    local.grow_to(6)
    local.add(local.votes(3, 6, "ab"))
    last = 6 + MAX_OPEN_CHECKPOINTS * 3
    local.grow_to(last - 1)
    assert local.record(6).hash == local.checkpoint(6).hash
    local.add()
    assert local.finality.checkpoint(6) is None
    assert local.finality.vote(6, "a") is None
    assert local.record(3).justified, "what is justified stays"
    assert code_of_block_with(local, "c", 3, 6) == Code.VOTE_TARGET
    local.add(local.votes(3, last, FOUR))
    assert local.reached == (last, 0)


def test_voter_signs_with_the_key_of_the_targets_state() -> None:
    """B has another vote key from block 4 on: its votes for 3 are signed with the old one, those for 6 with the new."""
    local = four()
    local.grow_to(3)
    local.add([], [rotate("b", "b2", "vote")])
    local.grow_to(6)
    keys = {height: dict(keys_of(local, height)) for height in (3, 6)}
    assert (keys[3]["b"], keys[6]["b"]) == (vote_key("b").public, vote_key("b2").public)
    for height, right, wrong in ((3, "b", "b2"), (6, "b2", "b")):
        ends = local.checkpoint(0), local.checkpoint(height)
        outcome = local.receive(local.mine_votes([make_vote("b", *ends, key=vote_key(wrong))]))
        assert outcome.error is not None
        assert outcome.error.code == Code.BAD_SIGNATURE
        local.add([make_vote("b", *ends, key=vote_key(right))])


def keys_of(local: VotingChain, height: int) -> list[tuple[str, str]]:
    return [(each.member, each.vote_key) for each in local.record(height).voters]


def test_suspended_members_have_no_vote_until_they_are_resumed() -> None:
    local = four()
    local.add([], [suspend("d")])
    local.grow_to(3)
    local.add([], [resume("d")])
    local.grow_to(6)
    assert (local.record(3).current, local.record(6).current) == (["a", "b", "c"], list(FOUR))
    assert code_of_block_with(local, "d", 0, 3) == Code.VOTE_NOT_VOTER


def test_who_was_suspended_at_the_final_checkpoint_waits_for_one_of_its_own() -> None:
    local = four()
    local.add([], [suspend("d")])
    local.justify(0, 3, "abc")
    local.add([], [resume("d")])
    local.justify(3, 6, "abc")
    assert local.reached == (6, 3)
    local.grow_to(9)
    assert (local.record(9).current, local.record(9).members) == (["a", "b", "c"], list(FOUR))


def test_checkpoint_keeps_its_hash_and_stands_only_at_multiples_of_the_interval() -> None:
    local = four()
    local.grow_to(8)
    assert {int(key): row.hash for key, row in local.finality.checkpoints.items()} == {
        each: local.checkpoint(each).hash for each in (3, 6)
    }
