"""Merkle trees after RFC 6962, against a second way of computing them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.merkle import EMPTY_ROOT, leaf_hash, merkle_path, merkle_root, path_leads_to

leaf_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def top_down_root(leaves: list[bytes]) -> bytes:
    """RFC 6962's own definition: split below the largest power of two that leaves something for the right half."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    middle = 1
    while 2 * middle < len(leaves):
        middle *= 2
    return hashlib.sha256(b"\x01" + top_down_root(leaves[:middle]) + top_down_root(leaves[middle:])).digest()


@given(leaf_lists)
def test_root_equals_the_tree_built_from_the_top_down(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == top_down_root(leaves).hex()


def test_root_of_every_size_is_that_of_the_definition() -> None:
    for count in range(1, 131):
        leaves = [number.to_bytes(2, "big") for number in range(count)]
        assert merkle_root(leaves) == top_down_root(leaves).hex()


def test_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert merkle_root([]) == EMPTY_ROOT == hashlib.sha256(b"").hexdigest()


def test_root_of_one_leaf_is_its_leaf_hash() -> None:
    assert merkle_root([b"a"]) == leaf_hash(b"a").hex()


def test_root_known_from_rfc_6962_implementations() -> None:
    """Test vector of Certificate Transparency: eight leaves of growing length."""
    leaves = [
        bytes.fromhex(leaf)
        for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    ]
    assert merkle_root(leaves) == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(leaf_lists, st.data())
def test_every_path_proves_its_leaf_and_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path, root = merkle_path(leaves, index), merkle_root(leaves)
    assert path_leads_to(leaves[index], index, len(leaves), path, root)
    assert not path_leads_to(leaves[index] + b"x", index, len(leaves), path, root)
    for other in range(len(leaves)):
        proves = path_leads_to(leaves[index], other, len(leaves), path, root)
        assert proves == (merkle_path(leaves, other) == path and leaves[other] == leaves[index])


@given(leaf_lists, st.integers(0, 255))
def test_a_changed_step_proves_nothing(leaves: list[bytes], bit: int) -> None:
    path, root = merkle_path(leaves, 0), merkle_root(leaves)
    for position, step in enumerate(path):
        changed = f"{int(step, 16) ^ 1 << bit:064x}"
        assert not path_leads_to(leaves[0], 0, len(leaves), [*path[:position], changed, *path[position + 1 :]], root)


def test_an_inner_node_is_no_leaf() -> None:
    """Different prefixes: the two children of a node, taken as a leaf, do not have the node's hash."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert merkle_root([left + right]) != merkle_root([b"a", b"b"])


def test_a_doubled_last_leaf_changes_the_root() -> None:
    """Unlike in Bitcoin's tree (CVE-2012-2459), no two lists of leaves share a root."""
    assert merkle_root([b"a", b"b", b"c"]) != merkle_root([b"a", b"b", b"c", b"c"])


@pytest.mark.parametrize("step", ["", "00", "00" * 31, "00" * 33, "AB" * 32, "zz" * 32, " " + "00" * 32, "\u0660" * 64])
def test_a_malformed_step_proves_nothing(step: str) -> None:
    root = merkle_root([b"a", b"b"])
    assert not path_leads_to(b"a", 0, 2, [step], root)


@pytest.mark.parametrize("index", [-1, 2, 100])
def test_there_is_no_path_of_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        merkle_path([b"a", b"b"], index)
    assert not path_leads_to(b"a", index, 2, merkle_path([b"a", b"b"], 0), merkle_root([b"a", b"b"]))
