"""Layered tables behave as one dictionary, and as nothing happened until merged (minervas_core.tables)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.tables import Entry, SortedTable, Table

writes = st.lists(st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), st.integers(0, 9))))
"""Key and value; None drops the key if it is there."""


def write(table: Table[str, int], model: dict[str, int], steps: list[tuple[str, int | None]]) -> None:
    for key, value in steps:
        if value is not None:
            table.put(key, value)
            model[key] = value
        elif key in table:
            table.drop(key)
            del model[key]


@given(writes, writes, writes, st.booleans())
def test_layers_over_layers_read_like_a_copied_dictionary(
    first: list[tuple[str, int | None]],
    second: list[tuple[str, int | None]],
    third: list[tuple[str, int | None]],
    keep: bool,
) -> None:
    base: Table[str, int] = Table()
    model: dict[str, int] = {}
    write(base, model, first)
    middle, middle_model = base.over(), dict(model)
    write(middle, middle_model, second)
    top, top_model = middle.over(), dict(middle_model)
    write(top, top_model, third)

    assert dict(top.items()) == top_model
    assert {key: top.get(key) for key in "abcde"} == {key: top_model.get(key) for key in "abcde"}
    assert dict(middle.items()) == middle_model
    assert dict(base.items()) == model
    assert {key: top.before(key) for key in top.changes()} == {key: middle_model.get(key) for key in top.changes()}

    if keep:
        top.merge_down()
        middle.merge_down()
        assert dict(base.items()) == top_model
    else:
        assert dict(base.items()) == model


def test_a_table_over_nothing_can_not_be_merged() -> None:
    with pytest.raises(ValueError, match="over nothing"):
        Table().merge_down()


def _entries_of(key: str, value: int) -> dict[str, Entry]:
    parity: dict[str, Entry] = {"even": (value, key)} if value % 2 == 0 else {"odd": (-value, key)}
    return parity | {"third": (str(value % 3), key)}


def _expected(model: dict[str, int]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {"even": [], "odd": [], "third": []}
    for key, value in model.items():
        for name, entry in _entries_of(key, value).items():
            found[name].append(entry)
    return {name: sorted(entries) for name, entries in found.items()}


def _listed(table: SortedTable[str, int]) -> dict[str, list[Entry]]:
    return {name: list(table.listed(name)) for name in ("even", "odd", "third")}


@given(writes, writes, writes, st.booleans(), st.lists(st.booleans(), min_size=3, max_size=3))
def test_sorted_lists_follow_the_rows_over_all_layers_whenever_they_are_first_asked_for(
    first: list[tuple[str, int | None]],
    second: list[tuple[str, int | None]],
    third: list[tuple[str, int | None]],
    keep: bool,
    asked_early: list[bool],
) -> None:
    base: SortedTable[str, int] = SortedTable(_entries_of)
    model: dict[str, int] = {}
    models, tables, table = [], [], base
    for steps, early in zip((first, second, third), asked_early, strict=True):
        if early:
            assert _listed(table) == _expected(model)
        write(table, model, steps)
        tables.append(table)
        models.append(dict(model))
        table = table.over()
    for each, expected in zip(tables, models, strict=True):
        assert _listed(each) == _expected(expected)
    for value in "012":
        assert list(tables[2].listed_under("third", value)) == [
            entry for entry in _expected(models[2])["third"] if entry[0] == value
        ]
    if keep:
        tables[2].merge_down()
        tables[1].merge_down()
        assert _listed(base) == _listed(tables[1]) == _listed(tables[2]) == _expected(models[2])
