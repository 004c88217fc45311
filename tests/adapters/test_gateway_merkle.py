"""The growing Merkle tree has the root of the whole one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minervas_core.merkle import merkle_root
from minervas_meter_gateway.merkle_frontier import Frontier


@given(st.lists(st.binary(max_size=8), max_size=130))
def test_the_root_is_that_of_the_tree_built_at_once(leaves: list[bytes]) -> None:
    frontier = Frontier()
    for leaf in leaves:
        frontier = frontier.with_leaf(leaf)
    assert frontier.root() == merkle_root(leaves)


def test_a_day_of_readings_needs_seventeen_hashes() -> None:
    frontier = Frontier()
    for number in range(86_400):
        frontier = frontier.with_leaf(number.to_bytes(4, "big"))
    assert frontier.count == 86_400
    assert len(frontier.peaks) <= 17
