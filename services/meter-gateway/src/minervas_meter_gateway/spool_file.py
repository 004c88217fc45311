"""Opening the spool's file: locked, checked, and replaced when it cannot be used."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_runtime.clock import SystemClock
from minervas_runtime.randomness import new_salt

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE readings (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE channels (meter TEXT, channel TEXT, state BLOB NOT NULL, PRIMARY KEY (meter, channel)) WITHOUT ROWID;
CREATE TABLE statements (
    id INTEGER PRIMARY KEY AUTOINCREMENT, meter TEXT NOT NULL, channel TEXT NOT NULL, draft BLOB NOT NULL,
    signed BLOB NOT NULL DEFAULT x'', expires_height INTEGER NOT NULL DEFAULT 0, in_block INTEGER NOT NULL DEFAULT 0
);
"""
SUFFIXES = ("", "-wal", "-shm")


class SpoolTrouble(TransientFault):
    """The disk refuses the spool (full, failing); nothing was stored."""


class _Unusable(Exception):
    """The file must be moved aside."""


def open_spool_file(path: Path, identity: Mapping[str, str]) -> sqlite3.Connection:
    """Open the file, or begin a new one if there is none, or the one there is damaged or somebody else's.

    Args:
        path: of the file.
        identity: what ``meta`` must say: whose readings, of which network, in which format.

    Raises:
        LocalFault: ``bad_settings`` if another process has it, or the directory cannot be used.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _open(path, identity)
    except _Unusable as problem:
        reason = str(problem)
    aside = path.with_name(f"{path.name}.aside-{SystemClock().now_ms()}")
    for suffix in SUFFIXES:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    log.error("spool_moved_aside", extra={"fields": {"reason": reason, "file": str(aside)}})
    return _open(path, identity)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Make the block one transaction: all of it is on the disk afterwards, or none.

    Raises:
        SpoolTrouble: if the disk refuses.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise SpoolTrouble(Code.NOT_READY, "The spool cannot be written", reason=str(error)) from error


def _open(path: Path, identity: Mapping[str, str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")  # takes the lock now, so that a second gateway fails at its start
        connection.execute("COMMIT")
        _check(connection)
        _identify(connection, identity)
    except sqlite3.OperationalError as error:
        connection.close()
        raise LocalFault(
            Code.BAD_SETTINGS,
            "The spool cannot be opened; is another gateway running on it?",
            file=str(path),
            reason=str(error),
        ) from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _Unusable(f"damaged: {error}") from error
    except _Unusable:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _Unusable(f"damaged: {verdict}")


def _identify(connection: sqlite3.Connection, identity: Mapping[str, str]) -> None:
    """Make the tables of a new file, or check whose an existing one is."""
    if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0] == 0:
        first = {**identity, "spool": new_salt(), "next_sequence": "0"}
        with transaction(connection):
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", first.items())
        return
    found = dict(connection.execute("SELECT name, value FROM meta"))
    wrong = {name: found.get(name, "") for name, value in identity.items() if found.get(name) != value}
    if wrong:
        raise _Unusable(f"made for {wrong}, not for {dict(identity)}")
