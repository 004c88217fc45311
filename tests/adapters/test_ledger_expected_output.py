"""The ledger takes the files of the expected-output job in, and nothing else that lies there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio

from minervas_core.encoding import encode
from minervas_core.expected_output import ExpectedChannel, ExpectedOutput
from minervas_ledger.expected_intake import ExpectedIntake
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import connect
from minervas_ledger.store.reader import DutyConnection

START_MS = 1_800_000_000_000
STEP_MS = 900_000
Row = tuple[str, str, int, int]


def expectation(*powers: int, member: str = "m1", made_ms: int = 5) -> ExpectedOutput:
    channel = ExpectedChannel(meter="roof", channel="dc", rated_w=120, power_mw=list(powers))
    return ExpectedOutput(
        format=1, member=member, made_ms=made_ms, model="clear", start_ms=START_MS, step_ms=STEP_MS, channels=[channel]
    )


class Site:
    """A ledger's intake, its directory and its database."""

    def __init__(self, directory: Path, settings: DatabaseSettings) -> None:
        self.directory = directory
        self._settings = settings
        self.database = DutyConnection(settings)

    def intake(self, *, has_all: bool = False) -> ExpectedIntake:
        return ExpectedIntake(self.directory, "m1", has_all=has_all, database=self.database)

    def put(self, name: str, content: ExpectedOutput | bytes) -> None:
        raw = content if isinstance(content, bytes) else encode(content)
        (self.directory / name).write_bytes(raw)

    def rows(self) -> list[Row]:
        with contextlib.closing(connect(self._settings, application="test")) as connection:
            found = connection.execute(
                "SELECT member, channel, time_ms, power_mw FROM expected_output ORDER BY member, time_ms"
            ).fetchall()
        return [msgspec.convert(row, Row) for row in found]


@pytest_asyncio.fixture
async def site(ledger_database: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path, ledger_database)
    yield made
    await made.database.close()


async def test_each_step_of_a_file_becomes_a_row(site: Site) -> None:
    site.put("m1.json", expectation(0, 500, 700))
    await site.intake().look()
    assert site.rows() == [
        ("m1", "dc", START_MS, 0),
        ("m1", "dc", START_MS + STEP_MS, 500),
        ("m1", "dc", START_MS + 2 * STEP_MS, 700),
    ]


async def test_a_newer_computation_replaces_an_older_one_and_not_the_other_way(site: Site) -> None:
    intake = site.intake()
    site.put("m1.json", expectation(1, 2, made_ms=5))
    await intake.look()
    site.put("m1.json", expectation(3, 4, made_ms=6))
    await intake.look()
    site.put("m1.json", expectation(9, 9, made_ms=4))
    await intake.look()
    assert [row[3] for row in site.rows()] == [3, 4]


async def test_a_bad_file_holds_up_no_other(site: Site) -> None:
    site.put("a.json", b"{")
    site.put("b.json", expectation(7, member="m2"))
    (site.directory / "c.json").mkdir()
    site.put("m1.json", expectation(8))
    await site.intake().look()
    assert [(row[0], row[3]) for row in site.rows()] == [("m1", 8)]


async def test_the_operators_ledger_takes_those_of_all_members(site: Site) -> None:
    site.put("m1.json", expectation(7))
    site.put("m2.json", expectation(8, member="m2"))
    await site.intake(has_all=True).look()
    assert [(row[0], row[3]) for row in site.rows()] == [("m1", 7), ("m2", 8)]
