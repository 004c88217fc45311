"""Which chain a node follows once votes justify checkpoints (minervas_core.chain, finality.trial)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from minervas_core.blocks import Block
from minervas_core.chain import BlockOutcome, Chain, Landmarks, RestoredNode
from minervas_core.errors import Code, InvalidBlock, LocalFault
from minervas_core.finality import trial
from minervas_core.finality.votes import Checkpoint, Vote
from minervas_core.reorganisation import TipChange, walk_state
from minervas_core.state import ChainState
from minervas_core.tree import BlockTree, HeaderNode
from tests.support.builders import FAR_FUTURE_MS, admit, revoke
from tests.support.voting import VotingChain, make_vote, mine_voting_block

FOUR = ("a", "b", "c", "d")


@pytest.fixture
def local() -> VotingChain:
    return VotingChain(FOUR)


def at(node: HeaderNode) -> Checkpoint:
    return Checkpoint(height=node.height, hash=node.hash)


def votes_on(
    local: VotingChain, source: HeaderNode | Block, target: HeaderNode | Block, members: Sequence[str] = "abc"
) -> list[Vote]:
    """Votes between blocks of any branch."""
    ends = [local.node(each) if isinstance(each, Block) else each for each in (source, target)]
    return [make_vote(member, at(ends[0]), at(ends[1])) for member in members]


def genesis_node(local: VotingChain) -> HeaderNode:
    return local.chain.tree.root


def founding(local: VotingChain) -> HeaderNode:
    node = local.chain.tree.main_at(1)
    assert node is not None
    return node


def branch(local: VotingChain, base: HeaderNode | Block, length: int, *, start: int = 1_000) -> list[Block]:
    """Blocks without votes on a base, handed in."""
    blocks: list[Block] = []
    for _ in range(length):
        blocks.append(local.add(on=blocks[-1] if blocks else base, start=start))
    return blocks


def refused(outcome: BlockOutcome) -> InvalidBlock:
    assert outcome.status == "refused"
    assert isinstance(outcome.error, InvalidBlock)
    return outcome.error


def with_more_work_elsewhere(local: VotingChain) -> tuple[list[Block], list[Block]]:
    """Our chain of height 9 and a side branch from block 1 up to height 3, where votes are still missing."""
    ours = branch(local, founding(local), 8)
    theirs = branch(local, founding(local), 2, start=9_000)
    assert local.tip.hash == ours[-1].hash
    return ours, theirs


# chains without J give way


def test_branch_with_less_work_and_a_higher_justified_checkpoint_wins(local: VotingChain) -> None:
    ours, theirs = with_more_work_elsewhere(local)
    proof = local.mine_votes(votes_on(local, genesis_node(local), theirs[1]), on=theirs[-1])
    outcome = local.receive(proof)
    assert outcome.status == "connected"
    assert outcome.change is not None
    assert [block.hash for block in outcome.change.disconnected] == [block.hash for block in ours[::-1]]
    assert (local.tip.hash, local.tip.height) == (proof.hash, 4)
    assert local.chain.justified.hash == theirs[1].hash
    assert local.tip.work < local.node(ours[-1]).work


def test_votes_of_too_few_change_nothing(local: VotingChain) -> None:
    ours, theirs = with_more_work_elsewhere(local)
    local.add(votes_on(local, genesis_node(local), theirs[1], "ab"), on=theirs[-1])
    assert local.tip.hash == ours[-1].hash
    assert local.chain.justified.height == 0


def test_more_work_without_the_justified_checkpoint_does_not_win(local: VotingChain) -> None:
    local.justify(0, 3)
    tip = local.tip
    side = branch(local, founding(local), 12)
    assert local.tip is tip
    assert local.node(side[-1]).work > tip.work
    assert local.chain.justified.height == 3


def test_more_work_wins_among_chains_with_the_justified_checkpoint(local: VotingChain) -> None:
    local.justify(0, 3)
    carrier = local.tip
    branch(local, carrier, 2)
    rival = branch(local, carrier, 3, start=5_000)
    assert local.tip.hash == rival[-1].hash


def test_branch_from_between_checkpoint_and_proof_counts_as_having_it(local: VotingChain) -> None:
    """J is block 3; that block 4 proved it does not matter for who builds on block 3 without these votes."""
    local.justify(0, 3)
    checkpoint = local.chain.tree.main_at(3)
    assert checkpoint is not None
    rival = branch(local, checkpoint, 3)
    assert local.tip.hash == rival[-1].hash
    assert local.reached == (0, 0)
    assert local.chain.justified.height == 3


def test_equally_high_justified_checkpoint_does_not_beat_ours(local: VotingChain) -> None:
    """That takes a third of liars, but then nodes still stay where they are."""
    local.justify(0, 3)
    tip = local.tip
    side = branch(local, founding(local), 2)
    proof = local.add(votes_on(local, genesis_node(local), side[1], "bcd"), on=side[-1])
    assert local.node(proof).height == 4
    assert local.tip is tip


def test_best_descendant_of_the_new_justified_checkpoint_is_chosen(local: VotingChain) -> None:
    """The block that proves J is not on the best chain with J: the best one wins, in one change."""
    _, theirs = with_more_work_elsewhere(local)
    longest = branch(local, theirs[-1], 4, start=20_000)
    branch(local, theirs[-1], 2, start=30_000)
    proof = local.mine_votes(votes_on(local, genesis_node(local), theirs[1]), on=theirs[-1])
    outcome = local.receive(proof)
    assert outcome.status == "side_branch"
    assert outcome.change is not None
    assert local.tip.hash == longest[-1].hash
    assert local.chain.justified.hash == theirs[1].hash


def test_best_valid_descendant_is_chosen_when_the_best_one_is_invalid(local: VotingChain) -> None:
    ours, theirs = with_more_work_elsewhere(local)
    good = branch(local, theirs[-1], 3, start=20_000)
    bad = local.add(transactions=[revoke("nobody")], on=good[-1])
    proof = local.mine_votes(votes_on(local, genesis_node(local), theirs[1]), on=theirs[-1])
    outcome = local.receive(proof)
    assert local.tip.hash == good[-1].hash
    assert bad.hash in outcome.invalid
    assert local.node(ours[-1]).state == "body"


def test_proof_below_an_invalid_block_that_waited_for_it_is_found(local: VotingChain) -> None:
    """A liar's block on top of the proof comes first and waits as an orphan; it must not hide the proof."""
    _, theirs = with_more_work_elsewhere(local)
    carried = votes_on(local, genesis_node(local), theirs[1])
    proof = local.mine_votes(carried, on=theirs[-1])
    node = HeaderNode(proof.hash, proof.header, local.node(theirs[-1]), 0)
    bad = mine_voting_block(node, "b", local.genesis, votes=votes_on(local, genesis_node(local), theirs[1], "a"))
    assert local.receive(bad).status == "orphan"
    outcome = local.receive(proof)
    assert outcome.invalid == (bad.hash,)
    assert local.tip.hash == proof.hash


def test_votes_are_found_wherever_on_the_branch_they_stand(local: VotingChain) -> None:
    _, theirs = with_more_work_elsewhere(local)
    votes = votes_on(local, genesis_node(local), theirs[1])
    first = local.add(votes[:1], on=theirs[-1])
    second = local.add(votes[1:2], on=first)
    third = local.add(votes[2:], on=second)
    assert local.tip.hash == third.hash


def test_votes_before_the_fork_count_too(local: VotingChain) -> None:
    """Two votes stand below the fork, the third on the shorter branch only: it proves what lies below the fork."""
    local.grow_to(3)
    votes = local.votes(0, 3, "abc")
    fork = local.add(votes[:2])
    ours = branch(local, fork, 4)
    local.add(votes[2:], on=fork, start=7_000)
    assert local.chain.justified.height == 3
    assert local.tip.hash == ours[-1].hash
    assert local.reached == (0, 0)


def test_fork_without_enough_votes_is_not_connected_for_a_trial(
    local: VotingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, theirs = with_more_work_elsewhere(local)
    walked: list[object] = []
    monkeypatch.setattr("minervas_core.chain.walk_state", lambda *args, **_: walked.append(args))
    local.add(votes_on(local, genesis_node(local), theirs[1], "a"), on=theirs[-1])
    assert walked == []


def test_other_half_of_a_partition_is_not_tried_again_for_every_vote(
    local: VotingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the members vote in every interval: that was too little once, so it is too little for ever."""
    branch(local, founding(local), 30)
    tried: list[HeaderNode] = []

    def walk(layer: ChainState, tree: BlockTree, node: HeaderNode, *args: Any, **values: Any) -> TipChange:
        tried.append(node)
        return walk_state(layer, tree, node, *args, **values)

    monkeypatch.setattr("minervas_core.chain.walk_state", walk)
    tip = branch(local, founding(local), 2, start=9_000)[-1]
    for _ in range(7):
        carrying = local.add(votes_on(local, genesis_node(local), tip, "cd"), on=tip, start=9_000)
        tip = branch(local, carrying, 2, start=9_000)[-1]
    assert [node.height for node in tried] == [4]
    proof = local.add(votes_on(local, genesis_node(local), tip, "bcd"), on=tip, start=9_000)
    assert local.tip.hash == proof.hash


def test_votes_before_the_fork_do_not_hide_what_the_branch_adds(local: VotingChain) -> None:
    """The branch is tried with the vote of c, in vain, for that of b stands on our chain after the fork."""
    local.grow_to(3)
    target = local.tip
    local.add(votes_on(local, genesis_node(local), target, "a"))
    fork = local.tip
    local.add(votes_on(local, genesis_node(local), target, "b"))
    branch(local, local.tip, 6)
    first = local.add(votes_on(local, genesis_node(local), target, "c"), on=fork, start=9_000)
    assert local.chain.justified.height == 0
    local.add(votes_on(local, genesis_node(local), target, "b"), on=first, start=9_000)
    assert local.chain.justified is target


def test_long_branch_is_tried_now_and_then_whatever_its_votes_say(
    local: VotingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the branch nearly all members were revoked: there, the vote of the only one is a majority."""
    monkeypatch.setattr(trial, "EVERY", 4)
    branch(local, founding(local), 8)
    gone = local.add(transactions=[revoke(each) for each in "bcd"], on=founding(local), start=9_000)
    third = local.add(on=gone)
    fourth = local.add(on=third)
    proof = local.add(votes_on(local, genesis_node(local), third, "a"), on=fourth)
    assert local.node(proof).height == 5
    assert local.tip.hash == proof.hash


def test_refused_trial_takes_only_the_bad_block_out_of_the_running(local: VotingChain) -> None:
    ours, theirs = with_more_work_elsewhere(local)
    votes = [
        *votes_on(local, genesis_node(local), theirs[1]),
        make_vote("e", at(genesis_node(local)), at(founding(local))),
    ]
    bad = local.mine_votes(votes, on=theirs[-1])
    outcome = local.receive(bad)
    assert refused(outcome).code == Code.VOTE_TARGET
    assert outcome.invalid == (bad.hash,)
    assert local.tip.hash == ours[-1].hash
    assert local.chain.justified.height == 0
    proof = local.add(votes_on(local, genesis_node(local), theirs[1]), on=theirs[-1])
    assert local.tip.hash == proof.hash


# final blocks stay


def finalised(local: VotingChain) -> None:
    """Checkpoint 3 becomes final on the tip's chain."""
    local.justify(0, 3)
    local.justify(3, 6)
    assert local.chain.final.height == 3


def test_block_off_the_final_chain_is_refused_and_not_called_invalid(local: VotingChain) -> None:
    base = founding(local)
    local.grow_to(3)
    side = branch(local, base, 2)
    finalised(local)
    late = local.mine_votes(on=side[-1])
    outcome = local.receive(late)
    assert refused(outcome).code == Code.BLOCK_BEFORE_FINAL
    assert (outcome.invalid, outcome.stored) == ((), ())
    assert local.chain.tree.get(late.hash) is None
    again = local.receive(late)
    assert refused(again).code == Code.BLOCK_BEFORE_FINAL
    assert local.node(side[-1]).state == "body"


def test_header_off_the_final_chain_is_refused(local: VotingChain) -> None:
    base = founding(local)
    local.grow_to(3)
    side = branch(local, base, 2)
    finalised(local)
    late = local.mine_votes(on=side[-1])
    with pytest.raises(InvalidBlock) as caught:
        local.chain.receive_headers([late.header], FAR_FUTURE_MS)
    assert caught.value.code == Code.BLOCK_BEFORE_FINAL


def test_announced_body_that_comes_after_its_chain_lost_the_final_block_is_refused(local: VotingChain) -> None:
    late = local.mine_votes(on=founding(local), start=4_000)
    local.chain.receive_headers([late.header], FAR_FUTURE_MS)
    finalised(local)
    outcome = local.receive(late)
    assert refused(outcome).code == Code.BLOCK_BEFORE_FINAL
    assert local.node(late).state == "header"


def test_final_checkpoint_is_never_undone_by_work(local: VotingChain) -> None:
    base = founding(local)
    local.grow_to(3)
    lost = branch(local, base, 1)[0]
    side = branch(local, base, 1, start=5_000)[0]
    finalised(local)
    tip = local.tip
    above: HeaderNode = local.node(side)
    for number in range(10):
        block = mine_voting_block(above, "b", local.genesis)
        outcome = local.receive(block)
        assert outcome.error is not None
        assert outcome.error.code == (Code.BLOCK_UNKNOWN_PARENT if number else Code.BLOCK_BEFORE_FINAL)
        above = HeaderNode(block.hash, block.header, above, above.work + block.header.difficulty)
    assert above.work > tip.work
    assert local.tip is tip
    assert local.node(lost).state == "body"


def test_landmarks_never_fall_when_the_chain_gives_way(local: VotingChain) -> None:
    local.justify(0, 3)
    fork = local.tip
    local.justify(3, 6)
    assert (local.chain.justified.height, local.chain.final.height) == (6, 3)
    sixth = local.chain.tree.main_at(6)
    assert sixth is not None
    rival = branch(local, sixth, 3)
    assert local.tip.hash == rival[-1].hash
    assert local.reached == (3, 0)
    assert (local.chain.justified.height, local.chain.final.height) == (6, 3)
    assert local.chain.tree.descends(local.tip, fork)


# restarting


def restored(local: VotingChain, *, landmarks: Landmarks | None = None) -> Chain:
    tree, state = local.chain.tree, local.chain.state
    nodes = [
        RestoredNode(node.header, node.hash, node.work, node.state == "body", node.state == "invalid", node.order)
        for node in sorted(filter(None, map(tree.get, local.store.blocks)), key=lambda each: each.height)
    ]
    again = ChainState.restore(
        state.height,
        state.tip_hash,
        state.time_ms,
        members=state.roster.members(),
        recent_ids=state.recent_ids,
        market=state.market.rows(),
        finality=state.finality.rows(),
        governance=state.governance.rows(),
    )
    return Chain.restore(
        local.genesis,
        nodes,
        again,
        local.store.load_block,
        local.store.load_undo,
        landmarks=landmarks or local.chain.landmarks,
    )


def test_landmarks_outlive_a_restart_although_the_chain_does_not_prove_them(local: VotingChain) -> None:
    local.justify(0, 3)
    local.justify(3, 6)
    sixth = local.chain.tree.main_at(6)
    assert sixth is not None
    branch(local, sixth, 3)
    assert local.reached == (3, 0)
    side = local.mine_votes(on=founding(local), start=40_000)
    local.chain = restored(local)
    assert (local.chain.justified.height, local.chain.final.height) == (6, 3)
    assert refused(local.receive(side)).code == Code.BLOCK_BEFORE_FINAL


def test_state_after_a_restart_goes_on_counting(local: VotingChain) -> None:
    local.justify(0, 3)
    local.grow_to(6)
    local.add(local.votes(3, 6, "ab"))
    local.chain = restored(local)
    local.add(local.votes(3, 6, "c"))
    assert local.reached == (6, 3)
    assert (local.chain.justified.height, local.chain.final.height) == (6, 3)


def test_branch_stored_before_a_restart_wins_by_the_votes_that_it_carries(local: VotingChain) -> None:
    """Nobody remembers which votes the stored blocks carry, so the branch is tried when it grows."""
    _, theirs = with_more_work_elsewhere(local)
    votes = votes_on(local, genesis_node(local), theirs[1])
    side = local.add(votes[:2], on=theirs[-1])
    local.chain = restored(local)
    proof = local.add(votes[2:], on=side)
    assert local.tip.hash == proof.hash


def test_landmark_that_is_not_on_the_stored_chain_is_a_mismatch(local: VotingChain) -> None:
    side = branch(local, founding(local), 1)
    branch(local, founding(local), 3, start=8_000)
    for landmarks in (Landmarks(side[0].hash, local.genesis.hash), Landmarks(local.genesis.hash, "ab" * 32)):
        with pytest.raises(LocalFault) as caught:
            restored(local, landmarks=landmarks)
        assert caught.value.code == Code.AUDIT_MISMATCH


def test_joining_around_a_fork_gives_each_branch_its_own_voters(local: VotingChain) -> None:
    """On one branch e joined before the checkpoint: there three votes of five are too few, on the other enough."""
    joined = local.add(transactions=[admit("e", expires=900)])
    third = local.add(on=joined)
    local.add(votes_on(local, genesis_node(local), third), on=third)
    assert local.reached == (0, 0)
    other = branch(local, founding(local), 2)
    proof = local.add(votes_on(local, genesis_node(local), other[-1]), on=other[-1])
    assert local.tip.hash == proof.hash
    assert local.reached == (3, 0)
