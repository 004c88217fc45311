"""`restore` and `catch-up`: admission comes back from a backup; the broker lets nobody in before it knows the chain."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
from pathlib import Path

from minervas_admission import __version__
from minervas_admission.authority import Consortium, load_consortium
from minervas_admission.chain_catch_up import ChainOfMembers, catch_up, read_members
from minervas_admission.commands.output import harmless, say, when
from minervas_admission.data_directory import DataDirectory
from minervas_admission.restored import NO_CHAIN, mark_restored
from minervas_admission.revocation_list import RevocationListKeeper
from minervas_admission.settings import AdmissionSettings, load_admission_settings
from minervas_admission.store.database import Database
from minervas_admission.store.migrate import migrate
from minervas_core.errors import Code, LocalFault
from minervas_runtime.backup.command import RESTORE, run_backup_command
from minervas_runtime.clock import Clock, SystemClock

MAX_AHEAD_MS = 300_000
"""By so much the newest block may be ahead of our clock."""


def run_backup(given: argparse.Namespace) -> None:
    """Carry out `backup`, `restore` or `check-backup`; a restore is followed by `catch-up`.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """
    if given.command == RESTORE and given.chain is not None and not given.chain.is_file():
        raise LocalFault(Code.BAD_CHAIN_FILE, "There is no such file", file=str(given.chain))
    run_backup_command(given, kind="operator", other_program="minervas", version=__version__, say=say)
    if given.command == RESTORE:
        settings = load_admission_settings(given.config)
        mark_restored(DataDirectory(settings.paths.data))
        asyncio.run(run_catch_up(settings, given.chain))


async def run_catch_up(settings: AdmissionSettings, chain_file: Path | None, clock: Clock | None = None) -> None:
    """Take over what the chain says of the members, then issue a revocation list and let the broker and service start.

    Args:
        settings: of admission, which does not run.
        chain_file: as `minervas-ledger export` writes it, from any member; None if there is none newer than the backup.
        clock: ours.

    Raises:
        LocalFault: ``bad_chain_file``, ``authority_not_current``; ``clock_offset`` if our clock is behind the chain.
        TransientFault: ``database_away``.
    """
    clock = clock or SystemClock()
    consortium = load_consortium(settings)
    chain = None if chain_file is None else _read(chain_file, consortium, clock)
    _become_owner(settings.paths.data)
    if settings.database_owner is not None:
        for name in migrate(settings):
            say(f"applied {name}")
    database = Database(settings.database, application="minervas-admission catch-up")
    try:
        if chain is not None:
            async with database.transaction() as connection:
                news = await catch_up(connection, chain, clock.now_ms())
            for line in news:
                say(harmless(line))
            say(f"{len(news)} changes since the backup")
            say(f"the file ends with block {chain.height} of {when(chain.time_ms)}")
        data, export = DataDirectory(settings.paths.data), settings.paths.broker_export
        keeper = RevocationListKeeper(database, consortium.cas, clock, data=data, export=export)
        say(f"revocation list issued: {await keeper.issue()} certificates")
    finally:
        await database.close()
    DataDirectory(settings.paths.data).restored.unlink(missing_ok=True)
    say("admission and broker can be started" if chain else f"admission and broker can be started; {NO_CHAIN}")


def _become_owner(directory: Path) -> None:
    """Give root's rights up for those of the directory's owner, for what is written now must be the service's."""
    owner = directory.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _read(chain_file: Path, consortium: Consortium, clock: Clock) -> ChainOfMembers:
    chain = read_members(chain_file, consortium)
    if chain.time_ms > clock.now_ms() + MAX_AHEAD_MS:
        newest = dt.datetime.fromtimestamp(chain.time_ms / 1000, dt.UTC)
        raise LocalFault(
            Code.CLOCK_OFFSET,
            "This host's clock is behind the chain; set it, for revocation lists are numbered by it",
            newest_block=newest.isoformat(),
        )
    return chain
