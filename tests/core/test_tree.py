"""The tree of headers (minervas_core.tree)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core import tree as tree_module
from minervas_core.messages import MAX_LOCATOR
from minervas_core.tree import BlockTree, HeaderNode, is_better
from tests.support.builders import make_draft, make_genesis

GENESIS = make_genesis()


def grow(tree: BlockTree, on: HeaderNode, count: int = 1, *, difficulty: int = 1, body: bool = True) -> HeaderNode:
    """Add headers; the tree itself judges neither work nor time."""
    node = on
    for _ in range(count):
        draft = make_draft(node, [], "a", GENESIS)
        header = draft.with_nonce(len(tree))
        node = tree.add(header, f"{len(tree):064x}", node)
        node.work = on.work + difficulty * (node.height - on.height)
        if body:
            tree.set_body(node)
    return node


def with_main(length: int) -> BlockTree:
    tree = BlockTree(GENESIS)
    tree.move_tip(grow(tree, tree.root, length, difficulty=10))
    return tree


def at(tree: BlockTree, height: int) -> HeaderNode:
    node = tree.main_at(height)
    assert node is not None
    return node


# fork choice


def test_more_work_is_better_than_more_blocks() -> None:
    tree = BlockTree(GENESIS)
    long = grow(tree, tree.root, 5, difficulty=10)
    heavy = grow(tree, tree.root, 2, difficulty=26)
    assert is_better(heavy, long)
    assert not is_better(long, heavy)


def test_of_equal_work_the_body_seen_first_is_better_whatever_came_first_as_header() -> None:
    tree = BlockTree(GENESIS)
    announced_first, delivered_first = (grow(tree, tree.root, body=False) for _ in range(2))
    tree.set_body(delivered_first)
    tree.set_body(announced_first)
    assert is_better(delivered_first, announced_first)
    assert not is_better(announced_first, delivered_first)


def test_the_work_of_a_block_is_its_difficulty() -> None:
    tree = BlockTree(GENESIS)
    header = make_draft(tree.root, [], "a", GENESIS).with_nonce(0)
    node = tree.add(header, "1" * 64, tree.root)
    assert (tree.root.work, node.work) == (0, header.difficulty)


# main chain


def test_blocks_of_the_main_chain_are_found_by_height() -> None:
    tree = with_main(5)
    assert [at(tree, height).height for height in range(6)] == list(range(6))
    assert tree.main_at(6) is None
    assert tree.main_at(-1) is None
    assert tree.tip is at(tree, 5)
    assert at(tree, 0) is tree.root


def test_moving_the_tip_replaces_the_part_above_the_fork() -> None:
    tree = with_main(5)
    old, fork = tree.tip, at(tree, 3)
    new = grow(tree, fork, 4, difficulty=10)
    assert tree.fork_point(new) is fork
    tree.move_tip(new)
    assert tree.tip is new
    assert tree.is_main(new)
    assert not tree.is_main(old)
    assert tree.main_at(3) is fork
    assert [node.height for node in tree.path(fork, old)] == [4, 5]


def test_side_branches_are_listed_with_their_fork_and_length() -> None:
    tree = with_main(5)
    low, high = grow(tree, at(tree, 1), 2, difficulty=10), grow(tree, at(tree, 4), 1, difficulty=10)
    assert [(each.head, each.fork.height, each.length) for each in tree.side_branches()] == [(high, 4, 1), (low, 1, 2)]


@given(st.integers(1, 300), st.integers(0, 299), st.integers(1, 40))
def test_an_ancestor_is_the_one_that_walking_finds(length: int, fork: int, branch: int) -> None:
    tree = with_main(length)
    head = grow(tree, at(tree, min(fork, length)), branch)
    walked = {node.height: node for node in head.chain()}
    assert all(tree.ancestor_at(head, height) is node for height, node in walked.items())


# sync


def test_a_locator_is_dense_at_the_head_and_thins_out() -> None:
    tree = with_main(1_000)
    heights = [int(node_hash, 16) for node_hash in tree.locator()]
    assert heights == [*range(1000, 990, -1), 989, 985, 977, 961, 929, 865, 737, 481]


def test_the_locator_of_a_long_chain_stays_small() -> None:
    tree = with_main(20_000)
    assert len(tree.locator()) < 24 < MAX_LOCATOR


def test_the_locator_follows_the_best_header_chain() -> None:
    tree = with_main(3)
    head = grow(tree, at(tree, 2), 3, difficulty=10, body=False)
    assert tree.best_header is head
    path = [node.hash for node in head.blocks()]
    assert tree.locator() == path


def test_blocks_after_a_locator_start_above_its_first_hash_on_the_main_chain() -> None:
    tree = with_main(6)
    side = grow(tree, at(tree, 2), 2)
    locator = ["f" * 64, side.hash, at(tree, 2).hash, at(tree, 1).hash]
    assert [node.height for node in tree.after(locator, 3)] == [3, 4, 5]
    assert [node.height for node in tree.after(locator, 100)] == [3, 4, 5, 6]


def test_blocks_after_an_unknown_locator_start_at_block_one() -> None:
    tree = with_main(3)
    assert [node.height for node in tree.after([], 2)] == [1, 2]
    assert [node.height for node in tree.after(["f" * 64], 5)] == [1, 2, 3]
    assert tree.after([tree.tip.hash], 5) == []


@given(st.integers(1, 400), st.integers(0, 400), st.integers(1, 60))
def test_a_locator_finds_a_block_near_the_fork(common: int, ours: int, theirs: int) -> None:
    """Two chains that share `common` blocks: what the other sends starts at most as far below as we are above."""
    mine, other = with_main(common), with_main(common)
    mine.move_tip(grow(mine, mine.tip, ours, difficulty=10))
    for step in range(theirs):
        other.move_tip(other.add(make_draft(other.tip, [], "b", GENESIS).with_nonce(step), f"b{step:063x}", other.tip))
    first = other.after(mine.locator(), 1)[0]
    assert common - 2 * (ours + 10) <= first.height - 1 <= common


def test_missing_bodies_are_those_of_the_best_header_chain_oldest_first() -> None:
    tree = with_main(3)
    head = grow(tree, at(tree, 2), 4, difficulty=10, body=False)
    assert [node.height for node in tree.missing_bodies()] == [3, 4, 5, 6]
    assert tree.bodiless_depth(head) == 4
    for node in tree.missing_bodies()[:2]:
        tree.set_body(node)
    assert [node.height for node in tree.missing_bodies()] == [5, 6]


def test_of_equal_work_the_tip_is_the_best_header() -> None:
    tree = with_main(3)
    announced = grow(tree, tree.tip, 1, difficulty=10, body=False)
    assert tree.best_header is announced
    tree.move_tip(grow(tree, tree.tip, 1, difficulty=10))
    assert tree.best_header is tree.tip


def test_nothing_is_missing_for_headers_with_no_more_work_than_the_tip() -> None:
    tree = with_main(3)
    grow(tree, at(tree, 2), 1, difficulty=10, body=False)
    assert tree.missing_bodies() == []


# branches that go wrong


def test_an_invalid_block_takes_its_descendants_with_it_and_nothing_else() -> None:
    tree = with_main(3)
    base = grow(tree, at(tree, 1), 1, difficulty=10)
    bad = grow(tree, base, 1, difficulty=10)
    left, right = grow(tree, bad, 3, difficulty=10), grow(tree, bad, 1, difficulty=50, body=False)
    sibling = grow(tree, base, 1, difficulty=10)
    marked = tree.mark_invalid(bad)
    assert marked[0] is bad
    assert {node.hash for node in marked} == {bad.hash, right.hash, *(node.hash for node in tree.path(bad, left))}
    assert {bad.state, left.state, right.state} == {"invalid"}
    assert {base.state, sibling.state, tree.tip.state} == {"body"}
    assert tree.bodiless_count == 0, "an invalid header does not wait for its body"
    assert tree.mark_invalid(bad) == [], "told once"


def test_the_best_header_is_never_an_invalid_one() -> None:
    tree = with_main(3)
    good = grow(tree, at(tree, 3), 2, difficulty=10, body=False)
    bad = grow(tree, good, 1, difficulty=10, body=False)
    assert tree.best_header is bad
    tree.mark_invalid(bad)
    assert tree.best_header is good


def test_forgotten_blocks_are_unknown_and_can_come_again() -> None:
    tree = with_main(3)
    base = grow(tree, at(tree, 1), 1)
    gone = grow(tree, base, 1)
    top = grow(tree, gone, 2)
    assert len(tree.forget(gone)) == 3
    assert tree.get(gone.hash) is tree.get(top.hash) is None
    assert [each.head for each in tree.side_branches()] == [base]
    again = tree.add(gone.header, gone.hash, base)
    assert [each.head for each in tree.side_branches()] == [again]


def test_a_parent_with_another_child_does_not_become_a_head() -> None:
    tree = with_main(3)
    base = grow(tree, at(tree, 1), 1)
    gone, kept = grow(tree, base, 1), grow(tree, base, 1)
    tree.forget(gone)
    assert [each.head for each in tree.side_branches()] == [kept]


def test_dropped_bodies_leave_their_headers_to_be_fetched_again() -> None:
    tree = with_main(3)
    base = grow(tree, at(tree, 1), 1, difficulty=10)
    head = grow(tree, base, 3, difficulty=10)
    dropped = tree.drop_bodies(head.parent or head)
    assert [node.height for node in dropped] == [4, 5]
    assert [node.order for node in dropped] == [0, 0]
    assert tree.best_header is head
    assert tree.bodiless_count == 2
    assert [node.height for node in tree.missing_bodies()] == [4, 5]


@pytest.mark.parametrize("remove", [BlockTree.mark_invalid, BlockTree.forget, BlockTree.drop_bodies])
def test_blocks_of_the_main_chain_are_never_removed(remove: object) -> None:
    tree = with_main(3)
    assert callable(remove)
    with pytest.raises(ValueError, match="main chain"):
        remove(tree, at(tree, 2))


# bounded


def test_headers_without_body_are_bounded_and_the_best_chain_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_BODILESS", 20)
    tree = with_main(3)
    best = grow(tree, tree.tip, 10, difficulty=10, body=False)
    branched = grow(tree, best.parent or best, 1, body=False)
    spam = [grow(tree, at(tree, height), 3, body=False) for height in (0, 1, 2)]
    tree.limit_bodiless()
    assert all(tree.get(node.hash) is node for node in spam), "20 are still allowed"
    grow(tree, spam[0], 1, body=False)
    tree.limit_bodiless()
    assert all(tree.get(node.hash) is None for node in [*spam, branched])
    assert tree.best_header is best
    assert len(tree.missing_bodies()) == 10
    assert len(tree) == 1 + 3 + 10


def test_headers_whose_bodies_nobody_delivers_can_be_forgotten() -> None:
    tree = with_main(3)
    stored = grow(tree, at(tree, 1), 1)
    grow(tree, stored, 5, difficulty=10, body=False)
    grow(tree, tree.tip, 2, difficulty=10, body=False)
    assert tree.forget_bodiless() == 7
    assert tree.best_header is tree.tip
    assert [each.head for each in tree.side_branches()] == [stored]
