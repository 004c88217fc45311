"""The durable spool: readings that wait for the ledger, statements that wait for a block, in one SQLite file.

* A reading gets its sequence number in the transaction that stores it, so that numbers have no gaps and are never used
  twice, whenever the process dies. The state of its channel changes in the same transaction.
* Journal in WAL mode with `synchronous = FULL`: a commit is on the disk before a reading is published. With `NORMAL` a
  power failure could take back the newest commits, and their sequence numbers would be given out again for other
  readings. The price is about one flush per second and port.
* The file is bounded, by size and by the age of what waits in it. When it is full nothing is dropped: new readings are
  refused and counted, sampling pauses, and an alarm is raised from 90 % on. Dropping the oldest would leave gaps that
  nobody could ever fill; what a pause costs is detail only, for energy is settled on registers.
* A damaged file, or one of another network or member, is moved aside, and a new one begun under a new spool id.

One thread at a time may use it. It holds an exclusive lock, so that a second gateway on the same file does not start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from minervas_core.errors import Code, TransientFault
from minervas_meter_gateway.channel_state import ChannelState, Draft
from minervas_meter_gateway.settings import GatewaySettings
from minervas_meter_gateway.spool_file import open_spool_file, transaction

FORMAT = "1"
SPOOL_FILE = "spool.db"
ALARM_PER_CENT = 90

ChannelKey = tuple[str, str]
"""Meter and channel."""


class SpoolFull(TransientFault):
    """The spool has reached its size or age; it takes readings again when the ledger has acknowledged some."""


class _Sampled(msgspec.Struct):
    """A reading, as far as its age is concerned."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement on its way to the chain."""

    id: int
    meter: str
    channel: str
    draft: Draft
    signed: bytes = b""
    """Transaction bytes; empty until its expiry is known."""
    expires_height: int = 0
    in_block: bool = False

    @property
    def key(self) -> ChannelKey:
        """Its channel."""
        return self.meter, self.channel


class Spool:
    """An open spool file; see the module's text.

    Args:
        path: of the file; made if missing.
        network: network id.
        member: whose readings.
        max_bytes: content at which it is full.
        max_age_ms: time between its oldest and its newest reading at which it is full.

    Raises:
        LocalFault: ``bad_settings`` if another process has it, or the directory cannot be used.
    """

    def __init__(self, path: Path, *, network: str, member: str, max_bytes: int, max_age_ms: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_age_ms = max_age_ms
        self._connection = open_spool_file(path, {"format": FORMAT, "network": network, "member": member})
        self.id = self._value("spool")
        """Random id of this file."""
        self.next_sequence = int(self._value("next_sequence"))
        """Number of the next reading."""
        self.depth: int = self._connection.execute("SELECT count(*) FROM readings").fetchone()[0]
        """Readings that the ledger has not acknowledged."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def fill_per_cent(self) -> int:
        """How full it is, by size or by age."""
        by_size = 100 * self._used_bytes() // self._max_bytes
        newest = self._connection.execute("SELECT body FROM readings ORDER BY sequence DESC LIMIT 1").fetchone()
        by_age = 100 * self._age_ms(newest[0]) // self._max_age_ms if newest else 0
        return max(by_size, by_age)

    def append(
        self, readings: Sequence[bytes], states: Mapping[ChannelKey, ChannelState], drafts: Iterable[Statement]
    ) -> list[Statement]:
        """Store readings, numbered from `next_sequence` on, with what became of their channels.

        Returns:
            The drafts with their ids.

        Raises:
            SpoolFull: nothing was stored.
            SpoolTrouble: likewise.
        """
        if self._used_bytes() >= self._max_bytes:
            raise SpoolFull(Code.NOT_READY, "The spool is full", file=str(self._path), max_bytes=self._max_bytes)
        if readings and self._age_ms(readings[0]) >= self._max_age_ms:
            raise SpoolFull(
                Code.NOT_READY,
                "The oldest reading in the spool waits for too long",
                file=str(self._path),
                max_age_ms=self._max_age_ms,
            )
        first = self.next_sequence
        with transaction(self._connection) as connection:
            connection.executemany("INSERT INTO readings VALUES (?, ?)", enumerate(readings, start=first))
            connection.execute("UPDATE meta SET value = ? WHERE name = 'next_sequence'", (str(first + len(readings)),))
            stored = self._write_states(connection, states, drafts)
        self.next_sequence = first + len(readings)
        self.depth += len(readings)
        return stored

    def acknowledge(self, ranges: Iterable[tuple[int, int]]) -> int:
        """Drop readings that the ledger has stored.

        Args:
            ranges: first and last sequence number of each range.

        Returns:
            How many were dropped.

        Raises:
            SpoolTrouble: nothing was dropped.
        """
        dropped = 0
        with transaction(self._connection) as connection:
            for first, last in ranges:
                dropped += connection.execute(
                    "DELETE FROM readings WHERE sequence BETWEEN ? AND ?", (first, last)
                ).rowcount
        self.depth -= dropped
        return dropped

    def oldest(self) -> int | None:
        """Sequence number of the oldest reading; None if there is none."""
        number: int | None = self._connection.execute("SELECT min(sequence) FROM readings").fetchone()[0]
        return number

    def waiting_below(self, sequence: int) -> int:
        """How many readings have a lower number."""
        count: int = self._connection.execute(
            "SELECT count(*) FROM readings WHERE sequence < ?", (sequence,)
        ).fetchone()[0]
        return count

    def read(self, first: int, below: int, limit: int) -> list[bytes]:
        """Readings with numbers from `first` on, below `below`, in order."""
        rows = self._connection.execute(
            "SELECT body FROM readings WHERE sequence >= ? AND sequence < ? ORDER BY sequence LIMIT ?",
            (first, below, limit),
        )
        return [row[0] for row in rows]

    def states(self) -> dict[ChannelKey, ChannelState]:
        """State of every channel that was ever sampled."""
        rows = self._connection.execute("SELECT meter, channel, state FROM channels")
        return {(meter, channel): msgspec.msgpack.decode(state, type=ChannelState) for meter, channel, state in rows}

    def statements(self) -> list[Statement]:
        """All statements that are kept, oldest first."""
        rows = self._connection.execute(
            "SELECT id, meter, channel, draft, signed, expires_height, in_block FROM statements ORDER BY id"
        )
        return [
            Statement(
                number,
                meter,
                channel,
                msgspec.msgpack.decode(draft, type=Draft),
                signed,
                expires_height,
                in_block=bool(in_block),
            )
            for number, meter, channel, draft, signed, expires_height, in_block in rows
        ]

    def save(
        self,
        *,
        states: Mapping[ChannelKey, ChannelState] | None = None,
        drafts: Iterable[Statement] = (),
        changed: Iterable[Statement] = (),
        removed: Iterable[Statement] = (),
    ) -> list[Statement]:
        """Store what became of channels and statements without a new reading.

        Returns:
            The drafts with their ids.

        Raises:
            SpoolTrouble: nothing was stored.
        """
        with transaction(self._connection) as connection:
            connection.executemany("DELETE FROM statements WHERE id = ?", [(each.id,) for each in removed])
            connection.executemany(
                "UPDATE statements SET signed = ?, expires_height = ?, in_block = ? WHERE id = ?",
                [(each.signed, each.expires_height, each.in_block, each.id) for each in changed],
            )
            return self._write_states(connection, states or {}, drafts)

    def _value(self, name: str) -> str:
        value: str = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
        return value

    def _age_ms(self, newest: bytes) -> int:
        """Time from the oldest reading that waits to a newer one; 0 if none waits, or the clock was set back."""
        oldest = self._connection.execute("SELECT body FROM readings ORDER BY sequence LIMIT 1").fetchone()
        if oldest is None:
            return 0
        first, last = (msgspec.json.decode(body, type=_Sampled).time_ms for body in (oldest[0], newest))
        return max(0, last - first)

    def _used_bytes(self) -> int:
        """Bytes of the pages in use; those that became free are used again."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _write_states(
        self, connection: sqlite3.Connection, states: Mapping[ChannelKey, ChannelState], drafts: Iterable[Statement]
    ) -> list[Statement]:
        connection.executemany(
            "INSERT INTO channels VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
            [(*key, msgspec.msgpack.encode(state)) for key, state in states.items()],
        )
        stored = []
        for draft in drafts:
            number = connection.execute(
                "INSERT INTO statements (meter, channel, draft) VALUES (?, ?, ?)",
                (draft.meter, draft.channel, msgspec.msgpack.encode(draft.draft)),
            ).lastrowid
            stored.append(Statement(number or 0, draft.meter, draft.channel, draft.draft))
        return stored


def open_spool(settings: GatewaySettings, network: str) -> Spool:
    """Open a gateway's spool where and as large as its settings say.

    Raises:
        LocalFault: ``bad_settings``, as `Spool`.
    """
    return Spool(
        settings.paths.data / SPOOL_FILE,
        network=network,
        member=settings.member,
        max_bytes=settings.spool.max_mb * 1_000_000,
        max_age_ms=settings.spool.max_days * 86_400_000,
    )
