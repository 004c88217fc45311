"""Merkle roots and audit paths."""

from __future__ import annotations

from minervas_core.merkle import merkle_path, merkle_root, path_leads_to
from tools.vectors.format import Case

COUNTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17)


def leaves(count: int) -> list[bytes]:
    """Leaves that tell themselves apart; number 0 is empty."""
    return [bytes(range(number)) for number in range(count)]


def root_cases() -> list[Case]:
    """Roots of small trees."""
    return [
        {
            "name": f"{count} leaves",
            "leaves_hex": [leaf.hex() for leaf in leaves(count)],
            "root": merkle_root(leaves(count)),
        }
        for count in COUNTS
    ]


def path_cases() -> list[Case]:
    """Audit paths that prove a leaf, and changed ones that prove nothing."""
    cases: list[Case] = []
    for count in (1, 2, 3, 5, 7, 8):
        cases += [_case(f"leaf {index} of {count}", count, index) for index in range(count)]
    good = merkle_path(leaves(5), 2)
    return [
        *cases,
        _case("path of another leaf", 5, 2, path=merkle_path(leaves(5), 3)),
        _case("index beyond the count", 5, 5, path=good),
        _case("negative index", 5, -1, path=good),
        _case("a count of another depth", 5, 2, path=good, count_claimed=4),
        _case("another count of the same depth: a path does not prove the count", 5, 2, path=good, count_claimed=8),
        _case("one step too few", 5, 2, path=good[:-1]),
        _case("one step too many", 5, 2, path=[*good, good[0]]),
        _case("step of 31 bytes", 5, 2, path=[good[0][:-2], *good[1:]]),
        _case("step in upper case", 5, 2, path=[good[0].upper(), *good[1:]]),
        _case("step that is no hex", 5, 2, path=["z" * 64, *good[1:]]),
    ]


def _case(
    name: str, count: int, index: int, *, path: list[str] | None = None, count_claimed: int | None = None
) -> Case:
    steps = merkle_path(leaves(count), index) if path is None else path
    claimed = count if count_claimed is None else count_claimed
    leaf = leaves(count)[index] if 0 <= index < count else b""
    root = merkle_root(leaves(count))
    return {
        "name": name,
        "leaf_hex": leaf.hex(),
        "index": index,
        "count": claimed,
        "path": steps,
        "root": root,
        "proves": path_leads_to(leaf, index, claimed, steps, root),
    }
