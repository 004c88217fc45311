"""What votes in blocks do: which are refused, what they justify and make final (minervas_core.finality.rules)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from minervas_core.blocks import assemble_block, decode_block
from minervas_core.chain import BlockOutcome
from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidEncoding, MinervasError
from minervas_core.finality.rules import missing_voters
from minervas_core.finality.votes import Checkpoint, Vote, VoteForm, decode_vote
from minervas_core.state import undo_block
from tests.support.builders import admit, vote_key
from tests.support.voting import INTERVAL, VotingChain, make_vote, mine_voting_block

FOUR = ("a", "b", "c", "d")
OTHER_NETWORK = "ff" * 16


def four() -> VotingChain:
    return VotingChain(FOUR)


def refusal(outcome: BlockOutcome) -> str:
    assert outcome.status == "refused", outcome
    assert isinstance(outcome.error, MinervasError)
    return outcome.error.code


def code_of_block_with(local: VotingChain, *votes: Vote) -> str:
    """The code under which a block with these votes is refused; nothing else changes."""
    before = local.chain.state.snapshot()
    block = local.mine_votes(votes)
    outcome = local.receive(block)
    assert local.chain.state.snapshot() == before
    assert outcome.invalid == (block.hash,)
    return refusal(outcome)


# which votes a block may carry


def elsewhere(height: int) -> Checkpoint:
    return Checkpoint(height=height, hash="ab" * 32)


VoteMaker = Callable[[VotingChain], Vote]
CASES: list[tuple[str, VoteMaker]] = [
    ("target of another chain", lambda c: make_vote("a", c.checkpoint(0), elsewhere(6))),
    ("target is no checkpoint", lambda c: make_vote("a", c.checkpoint(0), c.checkpoint(5))),
    ("target does not stand yet", lambda c: make_vote("a", c.checkpoint(0), elsewhere(9))),
    ("source is not justified", lambda c: make_vote("a", c.checkpoint(3), c.checkpoint(6))),
    ("source of another chain", lambda c: make_vote("a", elsewhere(0), c.checkpoint(6))),
    ("source is no checkpoint", lambda c: make_vote("a", c.checkpoint(1), c.checkpoint(6))),
    ("voter is nobody", lambda c: make_vote("stranger", c.checkpoint(0), c.checkpoint(6))),
    ("another network", lambda c: make_vote("a", c.checkpoint(0), c.checkpoint(6), network=OTHER_NETWORK)),
    ("key of another member", lambda c: make_vote("a", c.checkpoint(0), c.checkpoint(6), key=vote_key("b"))),
]
CODES = {
    "target of another chain": Code.VOTE_TARGET,
    "target is no checkpoint": Code.VOTE_TARGET,
    "target does not stand yet": Code.VOTE_TARGET,
    "source is not justified": Code.VOTE_SOURCE,
    "source of another chain": Code.VOTE_SOURCE,
    "source is no checkpoint": Code.VOTE_SOURCE,
    "voter is nobody": Code.VOTE_NOT_VOTER,
    "another network": Code.WRONG_NETWORK,
    "key of another member": Code.BAD_SIGNATURE,
}


@pytest.mark.parametrize(("name", "make"), CASES, ids=[name for name, _ in CASES])
def test_block_with_a_vote_that_breaks_a_rule_is_refused_and_invalid(name: str, make: VoteMaker) -> None:
    local = four()
    local.grow_to(7)
    assert code_of_block_with(local, make(local)) == CODES[name]


def test_rules_are_judged_in_the_order_of_the_spec() -> None:
    """A vote that breaks them all is refused by the first; mended one by one, by the next."""
    local = four()
    local.grow_to(6)
    local.add([make_vote("a", local.checkpoint(0), local.checkpoint(6))])
    genesis, target, wrong = local.checkpoint(0), local.checkpoint(6), vote_key("d")
    votes = [
        make_vote("a", elsewhere(1), elsewhere(6), network=OTHER_NETWORK, key=wrong),
        make_vote("a", elsewhere(1), target, network=OTHER_NETWORK, key=wrong),
        make_vote("a", genesis, target, network=OTHER_NETWORK, key=wrong),
        make_vote("stranger", genesis, target, network=OTHER_NETWORK, key=wrong),
        make_vote("b", genesis, target, network=OTHER_NETWORK, key=wrong),
        make_vote("b", genesis, target, key=wrong),
    ]
    assert [code_of_block_with(local, vote) for vote in votes] == [
        Code.VOTE_TARGET,
        Code.VOTE_SOURCE,
        Code.VOTE_TWICE,
        Code.VOTE_NOT_VOTER,
        Code.WRONG_NETWORK,
        Code.BAD_SIGNATURE,
    ]


def test_vote_for_a_final_checkpoint_or_below_is_refused() -> None:
    local = four()
    local.justify(0, 3, "abc")
    local.justify(3, 6, "abc")
    assert local.reached == (6, 3)
    assert code_of_block_with(local, make_vote("d", local.checkpoint(0), local.checkpoint(3))) == Code.VOTE_TARGET


def test_source_below_the_final_checkpoint_is_refused_although_it_was_justified() -> None:
    local = four()
    local.justify(0, 3)
    local.justify(3, 6, "abc")
    assert code_of_block_with(local, make_vote("d", local.checkpoint(0), local.checkpoint(6))) == Code.VOTE_SOURCE


def test_final_checkpoint_before_the_last_is_no_source_although_it_is_remembered() -> None:
    local = four()
    for source in (0, 3, 6):
        local.justify(source, source + 3)
    local.grow_to(12)
    assert (local.reached, local.record(3).justified) == ((9, 6), True)
    assert code_of_block_with(local, make_vote("d", local.checkpoint(3), local.checkpoint(12))) == Code.VOTE_SOURCE


def test_late_vote_for_a_justified_checkpoint_that_is_not_final_is_carried() -> None:
    local = four()
    local.justify(0, 3, "abc")
    local.add(local.votes(0, 3, "d"))
    assert local.finality.vote(3, "d") is not None


def test_vote_may_stand_twice_neither_in_a_chain_nor_for_another_target_or_source() -> None:
    local = four()
    local.justify(0, 3, "abc")
    local.grow_to(6)
    local.add(local.votes(3, 6, "a"))
    assert code_of_block_with(local, *local.votes(3, 6, "a")) == Code.VOTE_TWICE
    assert code_of_block_with(local, *local.votes(0, 6, "a")) == Code.VOTE_TWICE


def test_two_votes_of_one_voter_for_one_height_are_out_of_order() -> None:
    local = four()
    local.justify(0, 3, "abc")
    local.grow_to(6)
    assert code_of_block_with(local, *local.votes(0, 6, "a"), *local.votes(3, 6, "a")) == Code.BLOCK_VOTE_ORDER


@pytest.mark.parametrize("members", ["ba", "aa"], ids=["swapped", "the same twice"])
def test_votes_out_of_order_are_refused(members: str) -> None:
    local = four()
    local.grow_to(3)
    block = local.mine_votes(local.votes(0, 3, members), keep_order=True)
    assert refusal(local.receive(block)) == Code.BLOCK_VOTE_ORDER


def test_votes_for_a_higher_target_first_are_refused() -> None:
    local = four()
    local.grow_to(6)
    block = local.mine_votes([*local.votes(0, 6, "a"), *local.votes(0, 3, "b")], keep_order=True)
    assert refusal(local.receive(block)) == Code.BLOCK_VOTE_ORDER


def test_block_whose_votes_were_exchanged_says_nothing_about_its_hash() -> None:
    local = four()
    local.grow_to(3)
    block = local.mine_votes(local.votes(0, 3, "ab"))
    outcome = local.receive(assemble_block(block.header, block.signature, block.transactions, block.votes[:1]))
    assert (refusal(outcome), outcome.invalid) == (Code.BLOCK_VOTES_ROOT, ())
    assert local.receive(block).status == "connected"


def test_votes_survive_the_bytes_of_a_block() -> None:
    local = four()
    local.grow_to(3)
    block = local.mine_votes(local.votes(0, 3))
    assert decode_block(block.raw) == block
    assert [vote.body.voter for vote in block.votes] == list(FOUR)


@pytest.mark.parametrize(("source", "target"), [(3, 3), (6, 3)])
def test_vote_that_does_not_lead_upwards_is_no_vote(source: int, target: int) -> None:
    good = make_vote("a", elsewhere(0), elsewhere(3))
    text = encode(VoteForm(body=good.body, signature=good.signature)).decode()
    changed = text.replace('"height":3', f'"height":{target}').replace('"height":0', f'"height":{source}')
    with pytest.raises(InvalidEncoding) as caught:
        decode_vote(changed.encode())
    assert caught.value.code == Code.WRONG_SHAPE


# what votes do


@pytest.mark.parametrize(("members", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5)], ids=str)
def test_checkpoint_is_justified_by_more_than_two_thirds_and_not_by_one_less(members: int, needed: int) -> None:
    names = [f"m{index}" for index in range(members)]
    local = VotingChain(names)
    local.grow_to(3)
    local.add(local.votes(0, 3, names[: needed - 1]))
    assert local.reached == (0, 0)
    assert not local.record(3).justified
    local.add(local.votes(0, 3, [names[needed - 1]]))
    assert local.reached == (3, 0)
    assert local.record(3).justified


def test_votes_for_one_target_from_two_sources_are_not_added_up() -> None:
    local = four()
    local.justify(0, 3, "abc")
    local.grow_to(6)
    local.add([*local.votes(0, 6, "ab"), *local.votes(3, 6, "cd")])
    assert local.reached == (3, 0)


def test_source_is_final_once_the_next_checkpoint_is_justified_from_it() -> None:
    local = four()
    local.justify(0, 3)
    assert local.reached == (3, 0)
    local.justify(3, 6)
    assert local.reached == (6, 3)
    assert local.head.final == local.checkpoint(3)
    assert local.head.justified == local.checkpoint(6)


def test_link_that_skips_a_checkpoint_justifies_and_finalises_nothing() -> None:
    local = four()
    local.justify(0, 3)
    local.justify(3, 9)
    assert local.reached == (9, 0)
    local.justify(9, 12)
    assert local.reached == (12, 9)


def test_final_checkpoint_makes_everything_before_it_final_with_it() -> None:
    """Checkpoints 3 and 6 were never justified; 9 is final, and votes for them come too late."""
    local = four()
    local.justify(0, 9)
    local.justify(9, 12)
    assert local.reached == (12, 9)
    assert code_of_block_with(local, make_vote("a", local.checkpoint(0), local.checkpoint(6))) == Code.VOTE_TARGET


def test_lower_checkpoint_justified_late_does_not_lower_the_highest() -> None:
    local = four()
    local.grow_to(6)
    local.add(local.votes(0, 6, "abc"))
    local.add(local.votes(0, 3, "abc"))
    assert local.reached == (6, 0)
    assert local.record(3).justified


def test_votes_of_one_block_build_on_each_other() -> None:
    """The votes for 3 apply before those for 6 that start from it."""
    local = four()
    local.grow_to(6)
    local.add([*local.votes(0, 3), *local.votes(3, 6)])
    assert local.reached == (6, 3)


def test_rows_below_the_previous_final_checkpoint_are_pruned() -> None:
    local = four()
    for target in range(INTERVAL, 10 * INTERVAL, INTERVAL):
        local.justify(target - INTERVAL, target)
    assert local.reached == (27, 24)
    assert sorted(key for key, _ in local.finality.checkpoints.items()) == [f"{each:016d}" for each in (21, 24, 27)]
    assert sorted(key for key, _ in local.finality.votes.items()) == [f"{27:016d}/{each}" for each in FOUR]
    assert local.head.previous_final_height == 21


def test_rows_are_pruned_also_when_finality_jumps() -> None:
    local = four()
    local.justify(0, 3)
    local.justify(3, 6)
    local.grow_to(15)
    local.add([*local.votes(6, 12, "ab"), *local.votes(6, 15, "abc")])
    local.justify(15, 18)
    assert local.reached == (18, 15)
    assert sorted(key for key, _ in local.finality.checkpoints.items()) == [f"{each:016d}" for each in (3, 15, 18)]
    assert {int(key.split("/")[0]) for key, _ in local.finality.votes.items()} == {18}


# undoing


def test_undo_is_exact_also_across_justification_finality_and_pruning() -> None:
    local = four()
    base, snapshots = local.tip, {local.tip.hash: local.chain.state.snapshot()}
    for target in range(3, 16, 3):
        joining = [admit(f"x{target}", expires=900)] if target > 6 else []
        local.add([], joining)
        snapshots[local.tip.hash] = local.chain.state.snapshot()
        while local.tip.height < target:
            local.add()
            snapshots[local.tip.hash] = local.chain.state.snapshot()
        local.add(local.votes(target - 3, target))
        snapshots[local.tip.hash] = local.chain.state.snapshot()
    assert local.reached == (15, 12)
    layer = local.chain.state.scratch()
    for node in itertools.takewhile(lambda each: each is not base, local.tip.blocks()):
        assert layer.snapshot() == snapshots[node.hash]
        block = decode_block(local.store.blocks[node.hash])
        undo_block(layer, block, local.store.undo[node.hash], local.genesis.parameters)
    assert layer.snapshot() == snapshots[base.hash]


# whom finality waits for


def test_missing_voters_are_those_without_a_vote_for_the_newest_checkpoint_that_was_due() -> None:
    local = four()
    local.grow_to(3)
    local.add(local.votes(0, 3, "ab"))
    assert missing_voters(local.finality, 5, local.genesis) == []  # 3 is not overdue before 6 is there
    local.grow_to(6)
    assert missing_voters(local.finality, local.tip.height, local.genesis) == ["c", "d"]
    local.add(local.votes(0, 3, "c"))
    assert missing_voters(local.finality, local.tip.height, local.genesis) == []


def test_block_of_somebody_else_with_votes_in_a_row_of_targets_is_taken() -> None:
    local = four()
    local.grow_to(7)
    votes = [*local.votes(0, 3, "ab"), *local.votes(0, 6, "cd")]
    block = mine_voting_block(local.tip, "b", local.genesis, votes=votes)
    assert local.receive(block).status == "connected"
    assert [local.finality.vote(3, each) is not None for each in FOUR] == [True, True, False, False]
