"""Layered tables behave as one dictionary, and as nothing happened until merged (minervas_core.tables)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.tables import Table

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
