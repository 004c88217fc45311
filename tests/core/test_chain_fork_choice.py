"""Which chain a node follows, and how it changes over (minervas_core.chain, reorganisation)."""

from __future__ import annotations

import pytest

from minervas_core.blocks import Block, assemble_block, decode_block
from minervas_core.errors import Code, LocalFault
from minervas_core.tree import HeaderNode
from tests.support.builders import (
    FAR_FUTURE_MS,
    LocalChain,
    admit,
    find_nonce,
    make_draft,
    mine_block,
    revoke,
    sign_block,
)


@pytest.fixture
def local() -> LocalChain:
    made = LocalChain()
    made.found("a", "b", "c")
    return made


def founding(local: LocalChain) -> HeaderNode:
    node = local.chain.tree.main_at(1)
    assert node is not None
    return node


def with_wrong_signature(block: Block) -> Block:
    return sign_block(block.header, block.transactions, signer="nobody")


# the better chain wins


def test_a_block_on_the_tip_becomes_the_tip(local: LocalChain) -> None:
    block = local.mine("b", [admit("d")])
    outcome = local.receive(block)
    assert (outcome.status, outcome.error) == ("connected", None)
    assert [(each.block, each.work, each.order) for each in outcome.stored] == [(block, local.tip.work, 2)]
    assert outcome.change is not None
    assert outcome.change.disconnected == ()
    assert [each.block for each in outcome.change.connected] == [block]
    assert local.chain.state.tip_hash == local.tip.hash == block.hash
    assert local.chain.state.roster.active("d") is not None


def test_of_equal_work_the_first_seen_stays(local: LocalChain) -> None:
    first = local.extend("b")
    outcome = local.receive(local.mine("c", on=founding(local)))
    assert (outcome.status, outcome.change) == ("side_branch", None)
    assert [each.order for each in outcome.stored] == [3]
    assert local.tip.hash == first.hash


def test_more_work_wins_and_the_state_is_as_if_the_losing_branch_never_was(local: LocalChain) -> None:
    start = founding(local)
    local.extend("b", [admit("d")])
    local.extend("c", [revoke("a")])
    other = local.extend("c", [admit("e")], on=start)
    other = local.extend("b", on=other, start=1)
    assert local.chain.state.roster.active("d") is not None
    last = local.mine("a", on=other)
    outcome = local.receive(last)

    assert outcome.status == "connected"
    assert outcome.change is not None
    assert [block.header.height for block in outcome.change.disconnected] == [3, 2]
    assert [each.block.header.height for each in outcome.change.connected] == [2, 3, 4]
    roster = local.chain.state.roster
    assert [each.member for each in roster.active_members()] == ["a", "b", "c", "e"]
    assert roster.get("d") is None
    alone = LocalChain()
    for block in (node for node in reversed(list(local.tip.blocks()))):
        alone.receive(decode_block(local.store.blocks[block.hash]))
    assert local.chain.state.snapshot() == alone.chain.state.snapshot()
    assert local.store.undo == alone.store.undo


def test_transactions_of_the_losing_branch_come_back_unless_the_winning_one_has_them(local: LocalChain) -> None:
    start = founding(local)
    local.extend("b", [admit("d")])
    local.extend("c", [admit("e"), revoke("a")])
    other = local.extend("c", [admit("e")], on=start)
    other = local.extend("b", on=other, start=1)
    outcome = local.receive(local.mine("a", on=other))
    assert [each.id for each in outcome.returned] == [admit("d").id, revoke("a").id]


def test_a_chain_of_fewer_blocks_with_more_work_wins(local: LocalChain) -> None:
    """Fast blocks raise the difficulty, so that they outweigh slow ones."""
    start = founding(local)
    slow: Block | HeaderNode = start
    for step in range(12):
        parent = local.node(slow) if isinstance(slow, Block) else slow
        slow = local.mine("abc"[step % 3], on=parent, time_ms=parent.time_ms + 2_000)
        local.receive(slow)
    fast: Block | HeaderNode = start
    for step in range(9):
        parent = local.node(fast) if isinstance(fast, Block) else fast
        fast = local.mine("bca"[step % 3], on=parent, time_ms=parent.time_ms + 400)
        local.receive(fast)
    assert isinstance(slow, Block)
    assert isinstance(fast, Block)
    assert local.tip.hash == fast.hash
    assert local.tip.height < local.node(slow).height


def test_side_branches_stay_known_after_they_lost(local: LocalChain) -> None:
    start = founding(local)
    lost = local.extend("b")
    local.extend("a", on=local.extend("c", on=start))
    assert [each.head.hash for each in local.chain.tree.side_branches()] == [lost.hash]
    assert lost.hash in local.store.blocks


def test_a_losing_branch_can_win_again(local: LocalChain) -> None:
    start = founding(local)
    left = local.extend("b", [admit("d")])
    right = local.extend("a", on=local.extend("c", on=start))
    assert local.tip.hash == right.hash
    left = local.extend("d", on=local.extend("c", on=left))
    assert local.tip.hash == left.hash
    assert local.chain.state.roster.active("d") is not None


def test_a_known_block_changes_nothing(local: LocalChain) -> None:
    block = local.extend("b")
    side = local.extend("c", on=founding(local))
    for known in (block, side):
        outcome = local.receive(known)
        assert (outcome.status, outcome.stored, outcome.change) == ("known", (), None)


# whole or not at all


def test_a_better_branch_with_an_invalid_block_is_refused_as_a_whole(local: LocalChain) -> None:
    local.extend("b", [admit("d")])
    before = local.chain.state.snapshot()
    undo = dict(local.store.undo)
    good = local.extend("c", [admit("e")], on=founding(local))
    bad = mine_block(local.node(good), [revoke("nobody")], "b", local.genesis)
    outcome = local.receive(bad)
    assert outcome.status == "refused"
    assert outcome.error is not None
    assert outcome.error.code == Code.MEMBER_UNKNOWN
    assert outcome.invalid == (bad.hash,)
    assert (outcome.stored, outcome.change) == ((), None)
    assert local.chain.state.snapshot() == before
    assert local.store.undo == undo
    assert local.node(good).state == "body"


def test_an_invalid_block_in_the_middle_condemns_what_stands_above_it_and_keeps_what_is_below(
    local: LocalChain,
) -> None:
    start = founding(local)
    for miner in "bcb":
        local.extend(miner)
    tip = local.tip
    good = local.extend("c", on=start)
    bad = local.extend("stranger", on=good)
    above = local.extend("a", on=bad)
    last = local.mine("b", on=above)
    outcome = local.receive(last)
    assert outcome.status == "refused"
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_INVALID_PARENT
    assert outcome.invalid == (bad.hash, above.hash, last.hash)
    assert [(each, error.code) for each, error in outcome.refused if each == bad.hash] == [
        (bad.hash, Code.BLOCK_MINER_UNKNOWN)
    ]
    assert local.tip is tip
    assert local.node(good).state == "body"


def test_when_the_best_branch_is_invalid_its_valid_part_wins_if_it_is_better(local: LocalChain) -> None:
    """Two blocks arrive at once, the second one invalid: the first one still beats the tip."""
    start = founding(local)
    tip = local.extend("b")
    side = local.extend("c", on=start)
    node = local.node(side)
    first = mine_block(node, [], "b", local.genesis)
    between = HeaderNode(first.hash, first.header, node, node.work + first.header.difficulty)
    second = mine_block(between, [], "stranger", local.genesis)
    assert local.receive(second).status == "orphan"
    outcome = local.receive(first)
    assert outcome.status == "connected"
    assert outcome.change is not None
    assert [block.hash for block in outcome.change.disconnected] == [tip.hash]
    assert [each.block.hash for each in outcome.change.connected] == [side.hash, first.hash]
    assert outcome.invalid == (second.hash,)
    assert [each.block.hash for each in outcome.stored] == [first.hash]
    assert [(each, error.code) for each, error in outcome.refused] == [(second.hash, Code.BLOCK_MINER_UNKNOWN)]


def test_blocks_on_an_invalid_block_are_refused_without_another_look(local: LocalChain) -> None:
    bad = local.mine("stranger")
    assert local.receive(bad).status == "refused"
    outcome = local.receive(bad)
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_KNOWN_INVALID
    child = local.mine("b", on=local.node(bad))
    outcome = local.receive(child)
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_INVALID_PARENT
    assert local.chain.tree.get(child.hash) is None


def test_a_store_that_returns_another_block_is_our_own_fault_and_changes_nothing(local: LocalChain) -> None:
    start = founding(local)
    tip = local.extend("b")
    side = local.extend("c", on=start)
    local.store.blocks[side.hash] = local.store.blocks[tip.hash]
    before = local.chain.state.snapshot()
    with pytest.raises(LocalFault) as caught:
        local.chain.receive_block(local.mine("a", on=side), FAR_FUTURE_MS)
    assert caught.value.code == Code.INTERNAL
    assert local.chain.state.snapshot() == before


# what the hash does not cover condemns nothing


def test_a_wrongly_signed_copy_leaves_no_trace_and_the_right_one_is_taken(local: LocalChain) -> None:
    block = local.mine("b")
    outcome = local.receive(with_wrong_signature(block))
    assert outcome.status == "refused"
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_SIGNATURE
    assert (outcome.invalid, outcome.discarded) == ((), ())
    assert local.chain.tree.get(block.hash) is None
    assert local.receive(block).status == "connected"


def test_a_copy_with_other_content_leaves_no_trace_and_the_right_one_is_taken(local: LocalChain) -> None:
    block = local.mine("b", [admit("d")])
    outcome = local.receive(assemble_block(block.header, block.signature, []))
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_TX_ROOT
    assert outcome.invalid == ()
    assert local.chain.tree.get(block.hash) is None
    assert local.receive(block).status == "connected"


def test_a_wrong_signature_on_a_stored_side_branch_is_found_when_it_would_win(local: LocalChain) -> None:
    """The signature can only be judged with the branch's own roster; then the bodies are fetched again."""
    start = founding(local)
    tip = local.extend("b")
    side = local.mine("c", on=start)
    assert local.receive(with_wrong_signature(side)).status == "side_branch"
    above = local.mine("a", on=local.node(side))
    outcome = local.receive(above)
    assert outcome.status == "refused"
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_INVALID_PARENT
    assert outcome.discarded == (side.hash,)
    assert outcome.invalid == ()
    assert local.tip.hash == tip.hash
    assert set(local.store.blocks) == {start.hash, tip.hash}

    assert local.receive(side).status == "side_branch"
    assert local.receive(above).status == "connected"


def test_a_wrong_signature_does_not_make_us_forget_an_announced_header(local: LocalChain) -> None:
    block = local.mine("b")
    node = HeaderNode(block.hash, block.header, local.tip, local.tip.work + block.header.difficulty)
    above = mine_block(node, [], "c", local.genesis)
    local.chain.receive_headers([block.header, above.header], FAR_FUTURE_MS)
    assert local.receive(with_wrong_signature(block)).status == "refused"
    assert local.chain.missing_bodies(10) == [block.hash, above.hash]
    assert local.receive(block).status == "connected"
    assert local.receive(above).status == "connected"


def test_a_block_that_its_header_condemns_is_remembered_as_invalid(local: LocalChain) -> None:
    """Transactions out of order follow from the root in the header: every copy of this block is bad."""
    ordered = local.mine("b", [admit("d"), admit("e")])
    swapped = ordered.transactions[::-1]
    bad = sign_block(find_nonce(make_draft(local.tip, swapped, "b", local.genesis)), swapped)
    outcome = local.receive(bad)
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_TX_ORDER
    assert outcome.invalid == (bad.hash,)
    assert local.node(bad).state == "invalid"
