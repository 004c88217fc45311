"""Old readings go into files that can be checked, and only when nothing that rests on them is open."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
import pytest

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.metering import Reading
from minervas_ledger.archive import (
    ArchiveDuty,
    Archiver,
    archived_readings,
    day_name,
    due_days,
    file_name,
    readings_of_channel,
)
from minervas_ledger.archive_command import run_archive, run_readings
from minervas_ledger.archive_file import (
    FORMAT,
    ArchivedReading,
    ArchiveHead,
    WrittenArchive,
    read_archive,
    write_archive,
)
from minervas_ledger.settings import ArchiveSettings, DatabaseSettings, LedgerSettings
from minervas_ledger.store.archive_rows import DAY_MS, drop_day, stored_days
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.reader import SideConnection
from minervas_ledger.store.reading_batches import SignedBatch
from minervas_ledger.store.readings_aside import ReceivedReading
from minervas_ledger.store.readings_writes import ReadingsStore
from minervas_runtime.clock import ManualClock
from minervas_runtime.settings import NodePaths
from tests.support.builders import GENESIS_TIME_MS, MARKET, NETWORK, gateway_key, make_genesis
from tests.support.ledger import MEMBER, StoredChain
from tests.support.ledger_market import SPOOL, TradingChain, batch, missing, reading
from tests.support.wait import wait_until_async

DAY = GENESIS_TIME_MS // DAY_MS
OTHER_SPOOL = "cd" * 16


@dataclass
class Kept:
    """A ledger's database with readings, and where its archives go."""

    settings: ArchiveSettings
    database: DatabaseSettings
    connection: Connection
    store: ReadingsStore

    def take(self, *readings: Reading, spool: str = SPOOL) -> int:
        """Store readings of a batch; returns how many were new."""
        body = batch(*readings, spool=spool)
        received = [ReceivedReading(MEMBER, gateway_key(MEMBER).public, spool, each) for each in readings]
        return self.store.store(received, NOW_MS, batches=[SignedBatch(body)]).stored

    def due(self, *, days_later: int = 500) -> list[int]:
        return due_days(self.connection, self.settings, GENESIS_TIME_MS + days_later * DAY_MS)

    def archive(self, day: int = DAY) -> int:
        return Archiver(self.settings, NETWORK).archive(self.connection, day, NOW_MS)

    def file(self, day: int = DAY, part: int = 1) -> Path:
        return self.settings.directory / file_name(day, part)

    def ask(self, question: str) -> list[tuple[object, ...]]:
        return self.connection.execute(question.encode()).fetchall()

    def archived(self) -> list[ArchivedReading]:
        span = DAY * DAY_MS, (DAY + 2) * DAY_MS
        return list(archived_readings(self.connection, self.settings.directory, NETWORK, span))


NOW_MS = GENESIS_TIME_MS + 500 * DAY_MS


@pytest.fixture
def kept(ledger_database: DatabaseSettings, tmp_path: Path) -> Iterator[Kept]:
    StoredChain(ledger_database, make_genesis(MARKET)).now.close()
    store = ReadingsStore(ledger_database)
    settings = ArchiveSettings(directory=tmp_path / "archive", keep_days=100, dispute_days=50)
    with contextlib.closing(connect(ledger_database, application="test")) as connection:
        yield Kept(settings, ledger_database, connection, store)
    store.close()


def samples(count: int, *, first: int = 0, day: int = DAY) -> list[Reading]:
    made = [reading(number, day * DAY_MS + 1_000 * number) for number in range(first, first + count)]
    return [missing(each.sequence, each.time_ms) if each.sequence % 5 == 4 else each for each in made]


# a day


def test_archived_day_is_in_its_file_and_no_longer_in_the_table(kept: Kept) -> None:
    given = samples(300)
    kept.take(*given[:200])
    kept.take(*given[200:])
    kept.take(*samples(3, first=900, day=DAY + 1))
    rolled = kept.ask("SELECT * FROM readings_hour ORDER BY hour_ms") + kept.ask("SELECT * FROM readings_minute")
    assert kept.archive() == 300
    assert [each.reading for each in kept.archived()] == given
    assert {(each.member, each.spool, each.stored_ms) for each in kept.archived()} == {(MEMBER, SPOOL, NOW_MS)}
    assert kept.ask("SELECT count(*) FROM readings") == [(3,)]
    assert DAY not in stored_days(kept.connection)
    assert kept.ask("SELECT count(*) FROM reading_batches") == [(1,)]
    assert kept.ask("SELECT first, last FROM reading_runs ORDER BY first") == [(0, 299), (900, 902)]
    now = kept.ask("SELECT * FROM readings_hour ORDER BY hour_ms") + kept.ask("SELECT * FROM readings_minute")
    assert now == rolled
    [(day, part, file, count)] = kept.ask("SELECT day, part, file, readings FROM reading_archives")
    assert (day, part, file, count) == (DAY, 1, f"readings-{day_name(DAY)}.jsonl.gz", 300)
    assert kept.file().stat().st_mode & 0o777 == 0o600


def test_readings_of_a_channel_are_found_in_archives(kept: Kept) -> None:
    kept.take(*samples(10), reading(10, DAY * DAY_MS + 2_500, channel="ch2"))
    kept.take(*samples(2), spool=OTHER_SPOOL)
    kept.archive()
    span = DAY * DAY_MS + 2_000, DAY * DAY_MS + 4_000
    found = archived_readings(kept.connection, kept.settings.directory, NETWORK, span)
    of_channel = [*readings_of_channel(found, (MEMBER, "roof", "dc"))]
    assert of_channel == [(SPOOL, each) for each in samples(5)[2:]]


def test_what_comes_again_after_the_archive_is_not_stored_or_counted_twice(kept: Kept) -> None:
    given = samples(20)
    kept.take(*given)
    rolled = kept.ask("SELECT * FROM readings_minute")
    kept.archive()
    assert kept.take(*given) == 0
    assert kept.ask("SELECT * FROM readings_minute") == rolled
    assert kept.ask("SELECT count(*) FROM readings") == [(0,)]


def test_what_comes_late_is_added_to_the_roll_up_and_makes_another_part(kept: Kept) -> None:
    given = samples(30)
    kept.take(*given[:10], *given[20:])
    kept.archive()
    assert kept.take(*given[8:22]) == 10
    assert kept.ask("SELECT sum(measured + missing)::int FROM readings_hour") == [(30,)]
    assert kept.archive() == 10
    assert sorted(each.reading.sequence for each in kept.archived()) == list(range(30))
    assert [each.reading for each in read_archive(kept.file(part=2), network=NETWORK)] == given[10:20]


def test_day_that_got_more_readings_meanwhile_is_not_dropped(kept: Kept) -> None:
    kept.take(*samples(10))
    wrong = WrittenArchive(readings=9, bytes=1, sha256="ab" * 32)
    assert not drop_day(kept.connection, DAY, 1, "file", wrong, NOW_MS)
    assert kept.ask("SELECT count(*) FROM readings") == [(10,)]
    assert kept.ask("SELECT count(*) FROM reading_archives") == [(0,)]


def test_day_stays_if_the_file_cannot_be_written(kept: Kept) -> None:
    kept.take(*samples(10))
    kept.settings.directory.write_text("in the way")
    with pytest.raises(LocalFault) as caught:
        kept.archive()
    assert caught.value.code == Code.BAD_ARCHIVE
    assert kept.ask("SELECT count(*) FROM readings") == [(10,)]


def test_archive_that_was_interrupted_is_written_anew(kept: Kept) -> None:
    """After the file was written, before the day was dropped; and in the middle of the file."""
    kept.take(*samples(10))
    kept.settings.directory.mkdir()
    kept.file().write_bytes(b"half a file")
    asked = itertools.count()
    stopping = Archiver(kept.settings, NETWORK, lambda: next(asked) == 5)
    with pytest.raises(TransientFault):
        stopping.archive(kept.connection, DAY, NOW_MS)
    assert list(kept.settings.directory.iterdir()) == [kept.file()]
    assert kept.archive() == 10
    assert len(kept.archived()) == 10


def test_writer_drops_days_by_nothing_but_the_archive(kept: Kept) -> None:
    kept.take(*samples(10))
    for statement in ("DELETE FROM reading_archives", "DELETE FROM reading_batches", "DROP TABLE readings"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            kept.connection.execute(statement.encode())


# when


def stated(database: DatabaseSettings) -> TradingChain:
    """A chain on which our channel stated a second of the first day, in block 3."""
    chain = StoredChain(database, make_genesis(MARKET))
    trading = TradingChain(chain)
    trading.mint(MEMBER, 10)
    chain.now.close()
    return trading


def set_final(kept: Kept, height: int) -> None:
    kept.connection.execute("UPDATE node_state SET final_height = %s", (height,))


def test_day_waits_until_its_statements_are_final_and_no_longer_disputed(
    ledger_database: DatabaseSettings, kept: Kept
) -> None:
    trading = stated(ledger_database)
    kept.take(*samples(10))
    set_final(kept, 2)
    assert kept.due() == []  # in block 3, which is not final
    set_final(kept, 3)
    assert kept.due() == [DAY]
    last_ms = trading.local.tip.time_ms
    patient = ArchiveSettings(directory=kept.settings.directory, keep_days=7, dispute_days=300)
    kept.connection.execute("DELETE FROM channel_registers")
    kept.connection.execute(
        "INSERT INTO channel_registers VALUES (%s, 'roof', 'dc', %s, 1, sha256(''), 0, 0)",
        (MEMBER, (DAY + 2) * DAY_MS),
    )
    assert due_days(kept.connection, patient, last_ms + 299 * DAY_MS) == []
    assert due_days(kept.connection, patient, last_ms + 301 * DAY_MS) == [DAY]


def test_young_day_stays(kept: Kept) -> None:
    kept.take(*samples(10), *samples(10, first=10, day=DAY + 1))
    assert kept.due(days_later=100 + 50) == []
    assert kept.due(days_later=100 + 51) == [DAY]
    assert kept.due(days_later=100 + 52) == [DAY, DAY + 1]


def test_day_that_is_not_wholly_stated_waits_longer(kept: Kept) -> None:
    kept.take(*samples(10))
    assert kept.due(days_later=101) == []
    kept.connection.execute(
        "INSERT INTO channel_registers VALUES (%s, 'roof', 'dc', %s, 1, sha256(''), 0, 0)",
        (MEMBER, (DAY + 1) * DAY_MS),
    )
    assert kept.due(days_later=101) == [DAY]


# files


HEAD = ArchiveHead(format=FORMAT, network=NETWORK, day="2026-01-31", part=1)


def entries(count: int = 5) -> list[ArchivedReading]:
    return [ArchivedReading(member=MEMBER, spool=SPOOL, stored_ms=1, reading=each) for each in samples(count)]


def test_archive_comes_back_and_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    written = write_archive(tmp_path / "one", HEAD, iter(entries()))
    assert list(read_archive(tmp_path / "one", network=NETWORK)) == entries()
    assert write_archive(tmp_path / "two", HEAD, iter(entries())) == written
    assert (written.readings, written.bytes) == (5, (tmp_path / "one").stat().st_size)


def test_damaged_archive_is_found(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    write_archive(path, HEAD, iter(entries()))
    packed, plain = path.read_bytes(), gzip.decompress(path.read_bytes())
    lines = plain.splitlines(keepends=True)
    bad = {
        "cut short": packed[: len(packed) // 2],
        "a byte changed": packed[:60] + bytes([packed[60] ^ 1]) + packed[61:],
        "not packed": plain,
        "empty": b"",
        "a reading less": gzip.compress(b"".join(lines[:2] + lines[3:])),
        "a reading changed": gzip.compress(plain.replace(b'"voltage_mv":230000', b'"voltage_mv":230001', 1)),
        "no end": gzip.compress(b"".join(lines[:-1])),
        "another form": gzip.compress(b"".join([lines[0], b" " + lines[1], *lines[2:]])),
        "only a head": gzip.compress(lines[0]),
    }
    for name, content in bad.items():
        path.write_bytes(content)
        with pytest.raises(LocalFault) as caught:
            list(read_archive(path, network=NETWORK))
        assert caught.value.code == Code.BAD_ARCHIVE, name
    path.unlink()
    with pytest.raises(LocalFault):
        list(read_archive(path, network=NETWORK))


def test_archive_of_another_network_or_format_is_refused(tmp_path: Path) -> None:
    for head in (msgspec.structs.replace(HEAD, network="ff" * 16), msgspec.structs.replace(HEAD, format="other 1")):
        with gzip.open(tmp_path / "one", "wb") as file:
            file.write(msgspec.json.encode(head, order="sorted") + b"\n")
        with pytest.raises(LocalFault) as caught:
            list(read_archive(tmp_path / "one", network=NETWORK))
        assert caught.value.code == Code.BAD_ARCHIVE


def test_exchanged_archive_is_found(kept: Kept) -> None:
    """It is whole in itself, but not the one that the database knows."""
    kept.take(*samples(10))
    kept.archive()
    write_archive(kept.file(), HEAD, iter(entries()))
    with pytest.raises(LocalFault) as caught:
        kept.archived()
    assert caught.value.code == Code.BAD_ARCHIVE


# by itself, and by command


async def test_days_are_archived_by_themselves(kept: Kept) -> None:
    kept.take(*samples(10), *samples(10, first=10, day=DAY + 1))
    database = SideConnection(kept.database, "test archive")
    duty = asyncio.create_task(ArchiveDuty(kept.settings, NETWORK, database, ManualClock(NOW_MS)).run())
    await wait_until_async(lambda: kept.ask("SELECT count(*) FROM readings") == [(0,)], timeout=20)
    await wait_until_async(lambda: kept.ask("SELECT count(*) FROM reading_archives") == [(2,)], timeout=20)
    duty.cancel()
    await asyncio.gather(duty, return_exceptions=True)
    await database.close()
    assert len(kept.archived()) == 20


def test_commands_archive_and_print(kept: Kept, tmp_path: Path) -> None:
    kept.take(*samples(10))
    (tmp_path / "genesis.json").write_bytes(make_genesis(MARKET).raw)
    paths = NodePaths(data=tmp_path, enrol=tmp_path, issued=tmp_path, secrets=tmp_path)
    settings = LedgerSettings(member=MEMBER, paths=paths, database=kept.database, archive=kept.settings)
    said: list[str] = []
    assert run_archive(settings, ManualClock(NOW_MS), said.append, said.append) == 0
    assert said[-1].startswith("archived: 10 readings of 1 days")
    said.clear()
    assert run_readings(settings, kept.file(), said.append) == 0
    assert [msgspec.json.decode(line, type=ArchivedReading).reading for line in said] == samples(10)
    without = msgspec.structs.replace(settings, archive=None)
    with pytest.raises(LocalFault) as caught:
        run_archive(without, ManualClock(NOW_MS), said.append, said.append)
    assert caught.value.code == Code.BAD_SETTINGS
