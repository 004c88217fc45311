"""`minervas-ledger archive`: old readings into files now, and `readings`: what such a file holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault
from minervas_ledger.archive import Archiver, day_name, due_days
from minervas_ledger.archive_file import read_archive
from minervas_ledger.genesis_file import read_genesis
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.store.connection import as_transient, connect
from minervas_ledger.store.schema import check_schema
from minervas_runtime.clock import Clock

APPLICATION = "minervas-ledger archive"


def run_archive(settings: LedgerSettings, clock: Clock, say: Callable[[str], None], tell: Callable[[str], None]) -> int:
    """Archive every day that may go; returns the exit status. Also while the ledger works.

    Args:
        settings: of the ledger.
        clock: time of day.
        say: prints the result.
        tell: prints the progress.

    Raises:
        LocalFault: ``bad_settings`` without a table ``archive``; ``bad_archive``, ``bad_genesis``, ``schema_version``.
        TransientFault: ``database_away``; ``not_ready`` if readings of a day came while it was archived.
    """
    archive = settings.archive
    if archive is None:
        raise LocalFault(Code.BAD_SETTINGS, "The settings have no table archive, which says where readings go")
    archiver = Archiver(archive, read_genesis(settings.paths).network)
    with (
        as_transient(settings.database),
        contextlib.closing(connect(settings.database, application=APPLICATION)) as connection,
    ):
        check_schema(connection, settings.database.name)
        days = due_days(connection, archive, clock.now_ms())
        readings = 0
        for day in days:
            tell(f"archiving {day_name(day)}")
            readings += archiver.archive(connection, day, clock.now_ms())
    say(f"archived: {readings} readings of {len(days)} days in {archive.directory}")
    return 0


def run_readings(settings: LedgerSettings, path: Path, say: Callable[[str], None]) -> int:
    """Check an archive, then print its readings, one a line; returns the exit status.

    Raises:
        LocalFault: ``bad_archive``; then nothing is printed. ``bad_genesis``.
    """
    network = read_genesis(settings.paths).network
    for _ in read_archive(path, network=network):
        pass
    for each in read_archive(path, network=network):
        say(encode(each).decode("ascii"))
    return 0
