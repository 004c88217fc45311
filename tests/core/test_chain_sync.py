"""Headers first, then bodies; and going on after a restart (minervas_core.chain)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from minervas_core import chain as chain_module
from minervas_core.blocks import Block, decode_block
from minervas_core.chain import Chain, RestoredNode
from minervas_core.errors import Code, InvalidBlock, LocalFault
from minervas_core.state import ChainState
from minervas_core.tree import HeaderNode
from tests.support.builders import FAR_FUTURE_MS, LocalChain, admit, altered, revoke


def long_chain(length: int) -> LocalChain:
    """A node with so many blocks, and some changes of the roster on the way."""
    local = LocalChain()
    local.found("a", "b", "c", "d")
    while local.tip.height < length:
        height = local.tip.height
        changes = [admit(f"m{height}", expires=height + 3)] if height % 5 == 0 else []
        local.extend("abcd"[height % 4], changes)
    return local


@pytest.fixture(scope="module")
def other() -> LocalChain:
    """The node that is asked; tests only read it."""
    return long_chain(30)


def bodies(local: LocalChain, hashes: list[str]) -> list[Block]:
    return [decode_block(local.store.blocks[each]) for each in hashes]


def refusal(do: Callable[[], object]) -> Code:
    with pytest.raises(InvalidBlock) as caught:
        do()
    return caught.value.code


def synchronise(local: LocalChain, other: LocalChain, *, headers: int = 7, limit: int = 4) -> int:
    """Ask until nothing is missing, as a ledger does; returns the number of rounds."""
    for rounds in range(100):
        answer = other.chain.tree.after(local.chain.tree.locator(), headers)
        local.chain.receive_headers([node.header for node in answer], FAR_FUTURE_MS)
        missing = local.chain.missing_bodies(limit)
        if not answer and not missing:
            return rounds
        for block in bodies(other, missing):
            assert local.receive(block).status == "connected"
    raise AssertionError("sync does not end")


def test_an_empty_node_catches_up_headers_first(other: LocalChain) -> None:
    local = LocalChain()
    synchronise(local, other)
    assert local.chain.state.snapshot() == other.chain.state.snapshot()
    assert local.store.undo == other.store.undo


def test_a_node_that_was_off_goes_on_where_it_was(other: LocalChain) -> None:
    local = LocalChain()
    for node in list(other.tip.blocks())[:20:-1]:
        local.receive(decode_block(other.store.blocks[node.hash]))
    before = local.tip.height
    assert before > 0
    rounds = synchronise(local, other, headers=50, limit=50)
    assert local.tip.hash == other.tip.hash
    assert rounds == 1


def test_a_node_on_a_branch_of_its_own_changes_over(other: LocalChain) -> None:
    local = LocalChain()
    for node in list(other.tip.blocks())[:22:-1]:
        local.receive(decode_block(other.store.blocks[node.hash]))
    for _ in range(3):
        local.extend("abcd"[(local.tip.height + 1) % 4], start=1_000)
    answer = other.chain.tree.after(local.chain.tree.locator(), 100)
    local.chain.receive_headers([each.header for each in answer], FAR_FUTURE_MS)
    for block in bodies(other, local.chain.missing_bodies(100)):
        assert local.receive(block).status in {"side_branch", "connected"}
    assert local.chain.state.snapshot() == other.chain.state.snapshot()


def test_headers_alone_change_no_state(other: LocalChain) -> None:
    local = LocalChain()
    headers = [node.header for node in other.chain.tree.after([], 30)]
    assert local.chain.receive_headers(headers, FAR_FUTURE_MS) == 30
    assert local.chain.receive_headers(headers, FAR_FUTURE_MS) == 0
    assert local.tip.height == 0
    assert local.chain.tree.best_header.height == 30
    assert len(local.chain.missing_bodies(12)) == 12


def test_headers_stop_at_the_limit_beyond_verified_bodies(other: LocalChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MAX_HEADERS_AHEAD", 10)
    local = LocalChain()
    headers = [node.header for node in other.chain.tree.after([], 30)]
    assert local.chain.receive_headers(headers, FAR_FUTURE_MS) == 10
    assert local.chain.receive_headers(headers[10:], FAR_FUTURE_MS) == 0
    for block in bodies(other, local.chain.missing_bodies(3)):
        local.receive(block)
    assert local.chain.receive_headers(headers[10:], FAR_FUTURE_MS) == 3
    assert local.chain.tree.best_header.height == 13


def test_the_limit_is_two_thousand() -> None:
    assert chain_module.MAX_HEADERS_AHEAD == 2_000


def test_headers_from_the_future_are_left_out(other: LocalChain) -> None:
    local = LocalChain()
    headers = [node.header for node in other.chain.tree.after([], 30)]
    ahead_ms = local.genesis.parameters.max_ahead_intervals * local.genesis.parameters.block_interval_ms
    assert local.chain.receive_headers(headers, headers[4].time_ms - ahead_ms) == 5


def test_headers_that_do_not_follow_each_other_are_refused(other: LocalChain) -> None:
    local = LocalChain()
    headers = [node.header for node in other.chain.tree.after([], 5)]
    gap = [headers[0], headers[2]]
    assert refusal(lambda: local.chain.receive_headers(gap, FAR_FUTURE_MS)) == Code.BLOCK_UNKNOWN_PARENT
    assert refusal(lambda: local.chain.receive_headers(headers[2:], FAR_FUTURE_MS)) == Code.BLOCK_UNKNOWN_PARENT
    assert local.chain.receive_headers([], FAR_FUTURE_MS) == 0


def test_headers_of_two_branches_in_one_answer_are_refused() -> None:
    local = LocalChain()
    local.found("a", "b", "c")
    branches = [local.mine("b").header, local.mine("c").header]
    assert refusal(lambda: local.chain.receive_headers(branches, FAR_FUTURE_MS)) == Code.BLOCK_UNKNOWN_PARENT
    assert local.chain.tree.bodiless_count == 1


def test_a_bad_header_is_refused_and_those_before_it_stay(other: LocalChain) -> None:
    local = LocalChain()
    blocks = bodies(other, [node.hash for node in other.chain.tree.after([], 3)])
    bad = altered(blocks[2], difficulty=7)
    headers = [blocks[0].header, blocks[1].header, bad.header]
    assert refusal(lambda: local.chain.receive_headers(headers, FAR_FUTURE_MS)) == Code.BLOCK_DIFFICULTY
    assert local.chain.tree.best_header.height == 2


def test_headers_on_an_invalid_block_are_refused() -> None:
    local = LocalChain()
    local.found("a", "b", "c")
    bad = local.mine("stranger")
    local.receive(bad)
    above = local.mine("b", on=local.node(bad))
    assert refusal(lambda: local.chain.receive_headers([bad.header], FAR_FUTURE_MS)) == Code.BLOCK_KNOWN_INVALID
    assert refusal(lambda: local.chain.receive_headers([above.header], FAR_FUTURE_MS)) == Code.BLOCK_INVALID_PARENT


def test_diversity_is_judged_when_the_body_comes_for_headers_do_not_tell_the_roster() -> None:
    local = LocalChain()
    local.found("a", "b", "c", "d")
    block = local.mine("a")
    assert local.chain.receive_headers([block.header], FAR_FUTURE_MS) == 1
    outcome = local.receive(block)
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_MINER_TOO_SOON
    assert local.chain.missing_bodies(10) == []


def test_a_promise_that_nobody_keeps_can_be_given_up() -> None:
    local = LocalChain()
    local.found("a", "b", "c")
    node = local.tip
    for _ in range(3):
        block = local.mine("b", on=node)
        local.chain.receive_headers([block.header], FAR_FUTURE_MS)
        node = local.chain.tree.get(block.hash) or node
    assert len(local.chain.missing_bodies(10)) == 3
    assert local.chain.forget_bodiless() == 3
    assert local.chain.missing_bodies(10) == []
    assert local.chain.tree.best_header is local.tip
    local.extend("c")


# restart


def restored_nodes(local: LocalChain) -> list[RestoredNode]:
    nodes = sorted((local.node(decode_block(raw)) for raw in local.store.blocks.values()), key=lambda each: each.height)
    return [RestoredNode(each.header, each.hash, each.work, each.state == "body", each.state == "invalid", each.order)
            for each in nodes]  # fmt: skip


def restored_state(local: LocalChain) -> ChainState:
    state = local.chain.state
    return ChainState.restore(
        state.height,
        state.tip_hash,
        state.time_ms,
        members=state.roster.members(),
        recent_ids=state.recent_ids,
        market=state.market.rows(),
        finality=state.finality.rows(),
        governance=state.governance.rows(),
    )


def restart(local: LocalChain) -> None:
    store = local.store
    local.chain = Chain.restore(
        local.genesis,
        restored_nodes(local),
        restored_state(local),
        store.load_block,
        store.load_undo,
        landmarks=local.chain.landmarks,
    )


def forked() -> LocalChain:
    """A tip, a side branch of equal work, and one that turned out invalid."""
    local = LocalChain()
    local.found("a", "b", "c", "d")
    start = local.tip
    local.extend("c", on=local.extend("b", [admit("e"), revoke("d")]))
    local.extend("b", on=local.extend("c", on=start))
    stranger = local.extend("stranger", on=start)
    last = local.mine("b", on=local.extend("a", on=stranger))
    assert local.receive(last).invalid
    return local


def test_a_restored_chain_is_the_same_chain() -> None:
    local = forked()
    before, snapshot = local.chain, local.chain.state.snapshot()
    restart(local)
    assert local.chain is not before
    assert local.chain.state.snapshot() == snapshot
    assert local.tip.hash == before.tip.hash
    assert local.tip.work == before.tip.work
    assert local.chain.next_difficulty() == before.next_difficulty()
    for left, right in zip(local.chain.tree.side_branches(), before.tree.side_branches(), strict=False):
        if right.head.state == "body":
            assert (left.head.hash, left.head.state, left.length) == (right.head.hash, right.head.state, right.length)


def test_a_restored_chain_goes_on_and_can_reorganise() -> None:
    local = forked()
    old_tip = local.tip.hash
    other_head = next(each.head for each in local.chain.tree.side_branches() if each.head.state == "body")
    restart(local)
    head = local.chain.tree.get(other_head.hash)
    assert head is not None
    outcome = local.receive(local.mine("c", on=head))
    assert outcome.status == "connected"
    assert outcome.change is not None
    assert outcome.change.disconnected[0].hash == old_tip
    assert local.chain.state.roster.active("d") is not None
    assert local.chain.state.roster.get("e") is None


def test_what_was_found_invalid_stays_invalid_after_a_restart() -> None:
    local = forked()
    bad = next(node for node in restored_nodes(local) if node.invalid)
    restart(local)
    block = decode_block(local.store.blocks[bad.hash])
    outcome = local.receive(block)
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_KNOWN_INVALID


def test_first_seen_is_remembered_over_a_restart() -> None:
    local = forked()
    order = local.tip.order
    restart(local)
    assert local.tip.order == order
    block = local.mine("a")
    stored = local.receive(block).stored
    assert stored[0].order > max(node.order for node in restored_nodes(local) if node.hash != block.hash)


def test_first_seen_counts_on_from_the_highest_number_stored() -> None:
    """Numbers of discarded blocks are missing in the store."""
    local = long_chain(3)
    nodes = damaged(restored_nodes(local), 2, order=50)
    local.chain = Chain.restore(
        local.genesis,
        nodes,
        restored_state(local),
        local.store.load_block,
        local.store.load_undo,
        landmarks=local.chain.landmarks,
    )
    assert local.receive(local.mine("d")).stored[0].order == 51


def damaged(nodes: list[RestoredNode], index: int, **fields: object) -> list[RestoredNode]:
    plain = {name: getattr(nodes[index], name) for name in RestoredNode.__slots__}
    return [*nodes[:index], RestoredNode(**{**plain, **fields}), *nodes[index + 1 :]]


@pytest.mark.parametrize("damage", ["wrong work", "gap", "state of an unknown block", "height", "tip without body"])
def test_a_damaged_store_is_our_own_fault(damage: str) -> None:
    local = long_chain(4)
    nodes, state = restored_nodes(local), restored_state(local)
    match damage:
        case "wrong work":
            nodes = damaged(nodes, 2, work=nodes[2].work + 1)
        case "gap":
            del nodes[1]
        case "state of an unknown block":
            state.tip_hash = "1" * 64
        case "height":
            state.height -= 1
        case _:
            nodes = damaged(nodes, 3, has_body=False)
    with pytest.raises(LocalFault) as caught:
        Chain.restore(
            local.genesis,
            nodes,
            state,
            local.store.load_block,
            local.store.load_undo,
            landmarks=local.chain.landmarks,
        )
    assert caught.value.code == Code.AUDIT_MISMATCH


# who may mine next


def test_a_member_may_mine_unless_it_is_too_soon_and_a_stranger_never() -> None:
    local = LocalChain()
    local.found("a", "b", "c", "d")
    now_ms = local.tip.time_ms + 1_000
    assert local.chain.may_mine("b", now_ms)
    assert not local.chain.may_mine("a", now_ms)
    assert local.chain.may_mine("a", local.tip.time_ms + 10_000)
    assert not local.chain.may_mine("stranger", now_ms)
    assert local.chain.may_mine("b", 0), "a clock behind the tip makes a time just above it"


def test_nodes_are_shown_short() -> None:
    node: HeaderNode = LocalChain().tip
    assert repr(node) == f"HeaderNode(0, {node.hash[:16]}, body)"
