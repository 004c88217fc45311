"""The commands backup, restore and check-backup, which `minervas` and `minervas-admission` share."""

from __future__ import annotations

import argparse
import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

from minervas_core.errors import Code, LocalFault
from minervas_runtime.backup.making import make_backup
from minervas_runtime.backup.passphrase import read_passphrase
from minervas_runtime.backup.restoring import check_backup, restore_backup
from minervas_runtime.backup.settings import BackupSettings
from minervas_runtime.clock import SystemClock
from minervas_runtime.settings import load_settings

BACKUP = "backup"
RESTORE = "restore"
CHECK = "check-backup"
COMMANDS = (BACKUP, RESTORE, CHECK)
OWNER_VARIABLE = "MINERVAS_OWNER"
DEFAULT_SETTINGS = Path("backup.toml")

AddCommand = Callable[[str, str], argparse.ArgumentParser]


def add_backup_commands(add: AddCommand, settings: Path = DEFAULT_SETTINGS) -> argparse.ArgumentParser:
    """Add the three commands; returns the parser of `restore`, which may get more arguments."""
    parsers = {
        BACKUP: add(BACKUP, "write keys, files and databases of this host into one encrypted file"),
        RESTORE: add(RESTORE, "restore a backup into an empty place"),
        CHECK: add(CHECK, "read a backup to its end and say what is in it"),
    }
    for name, parser in parsers.items():
        parser.add_argument("file", type=Path, metavar="FILE", help="the backup")
        text = "mode 0600; typed if not given"
        parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help=text)
        if name != CHECK:
            text = "what to keep and where it is (TOML; %(default)s)"
            parser.add_argument("--backup-config", type=Path, default=settings, metavar="FILE", help=text)
    return parsers[RESTORE]


def run_backup_command(
    given: argparse.Namespace, *, kind: str, other_program: str, version: str, say: Callable[[str], None]
) -> None:
    """Carry one of the commands out.

    Args:
        given: the arguments.
        kind: of backups that this program is for.
        other_program: the one for the other kind.
        version: of this program.
        say: prints a line.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """
    if given.command == CHECK:
        passphrase = read_passphrase(given.passphrase_file, is_new=False)
        checked = check_backup(given.file, passphrase)
        made, end = dt.datetime.fromtimestamp(checked.manifest.made_ms / 1000, dt.UTC), checked.end
        say(f"backup of {checked.manifest.owner} ({checked.manifest.kind}), made {made:%Y-%m-%d %H:%M:%SZ}, complete")
        say(f"{end.files} files with {end.file_bytes:,} bytes; databases: {', '.join(checked.manifest.databases)}")
        say(f"version {checked.manifest.version}")
        return
    # What else stands in the environment is for the service whose command this is.
    environment = {name: os.environ[name] for name in (OWNER_VARIABLE,) if name in os.environ}
    settings = load_settings(given.backup_config, BackupSettings, environment=environment)
    if settings.kind != kind:
        raise LocalFault(
            Code.BAD_SETTINGS, f"These settings are for `{other_program} {given.command}`", kind=settings.kind
        )
    passphrase = read_passphrase(given.passphrase_file or settings.passphrase_file, is_new=given.command == BACKUP)
    if given.command == BACKUP:
        now_ms = SystemClock().now_ms()
        make_backup(settings, given.file, passphrase, version=version, now_ms=now_ms, say=say)
    else:
        restore_backup(settings, given.file, passphrase, say)
