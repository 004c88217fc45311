"""Packed arrays arrive in PostgreSQL as the lists that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.arrays import PACKERS, Packed
from minervas_ledger.store.connection import Connection, connect

LISTS: list[tuple[str, list[Any]]] = [
    ("bytea[]", []),
    ("bytea[]", [b"", b"\0" * 32, b"'\"{},\\", bytes(range(256))]),
    ("bytea[]", [b"first", None, b"", None]),
    ("text[]", []),
    ("text[]", ["null", "", 'quo"te', "back\\slash", "{brace,comma}", "köln ☀"]),
    ("int8[]", []),
    ("int8[]", [0, None, -1, 2**53 - 1, -(2**63), 2**63 - 1]),
    ("int4[]", []),
    ("int4[]", [0, 100_000_000, -(2**31), 2**31 - 1]),
]


@pytest.fixture
def connection(ledger_database: DatabaseSettings) -> Any:
    with connect(ledger_database, application="test") as made:
        yield made


@pytest.mark.parametrize(("kind", "values"), LISTS)
def test_a_packed_parameter_is_the_list(connection: Connection, kind: str, values: list[Any]) -> None:
    row = connection.execute(
        f"SELECT %s::{kind}, array_ndims(%s::{kind}), array_lower(%s::{kind}, 1)".encode(),
        [Packed(PACKERS[kind](values))] * 3,
        binary=True,
    ).fetchone()
    assert row == (values, 1 if values else None, 1 if values else None)


@pytest.mark.parametrize(("kind", "values"), LISTS)
def test_a_packed_array_in_a_copy_is_the_list(connection: Connection, kind: str, values: list[Any]) -> None:
    connection.execute(f"CREATE TEMPORARY TABLE copied (item {kind})".encode())
    with connection.cursor() as cursor, cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["bytea"])
        copy.write_row((PACKERS[kind](values),))
    assert connection.execute("SELECT item FROM copied", binary=True).fetchall() == [(values,)]


@pytest.mark.parametrize("pack", PACKERS.values())
def test_an_array_of_another_type_is_refused(connection: Connection, pack: Callable[[Any], bytes]) -> None:
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT %s::bool[]", [Packed(pack([]))])
