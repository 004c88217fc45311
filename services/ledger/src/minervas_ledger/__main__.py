"""Command line of the ledger."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from minervas_ledger import __version__
from minervas_ledger.settings import DatabaseOwnerSettings, LedgerSettings, load_ledger_settings
from minervas_runtime.database_logins import hand_in_logins
from minervas_runtime.service import EXIT_FAILED, report_errors, run_service
from minervas_runtime.settings import SettingsError

PROGRAM = "minervas-ledger"

TRANSACTION_ID = re.compile(r"[0-9a-f]{64}")

VERBS = {
    "run": "work until stopped",
    "logins": "make the passwords of the database's roles, and hand in what PostgreSQL keeps of them",
    "migrate": "bring the database's schema up to date, as its owner",
    "audit": "replay the chain from genesis and compare every row with it; also while the ledger runs",
    "export": "write the best chain into a file; also while the ledger runs",
    "import": "take in the chain of a file, checking every rule; not while the ledger runs",
    "prove": "write a proof for outsiders that a transaction is final; also while the ledger runs",
    "archive": "move old readings into files; also while the ledger runs",
    "readings": "check a file of old readings and print them, one a line",
    "check-config": "check the settings file and say so",
}


def main() -> int:
    """Run a verb; returns the exit status: 0 ok, 1 failed, 2 unusable arguments or settings."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Keeps the chain of one member in PostgreSQL.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in VERBS.items():
        command = verbs.add_parser(verb, help=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
        if verb in ("export", "import"):
            command.add_argument("file", type=Path, metavar="FILE", help="the chain; packed if it ends with .gz")
        if verb == "readings":
            command.add_argument("--from-archive", type=Path, required=True, metavar="FILE", help="what archive wrote")
        if verb == "logins":
            command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the verifiers go")
        if verb == "prove":
            command.add_argument("id", type=_transaction_id, metavar="ID", help="the transaction's id")
            command.add_argument("file", type=Path, metavar="FILE", help="the proof; see minervas check-proof")
    verbs.add_parser("version", help="show the version")
    arguments = parser.parse_args()
    if arguments.verb == "version":
        print(__version__)
        return 0
    try:
        return report_errors(PROGRAM, lambda: _carry_out(arguments, load_ledger_settings(arguments.config)))
    except KeyboardInterrupt:
        _tell(f"{PROGRAM}: interrupted; run the same command again to go on")
        return EXIT_FAILED


def _carry_out(arguments: argparse.Namespace, settings: LedgerSettings) -> int:
    """Carry out a verb. Each imports what it needs: what runs once at every start need not wait for the whole node."""
    match arguments.verb:
        case "run":
            from minervas_ledger.service import run_ledger  # noqa: PLC0415

            return run_service("ledger", settings, run_ledger)
        case "check-config":
            return _check(settings, arguments.config)
        case "logins":
            return _logins(settings, arguments.config, arguments.out)
        case "migrate":
            return _migrate(settings, arguments.config)
        case _:
            from minervas_ledger.chain_commands import run_chain_command  # noqa: PLC0415

            return run_chain_command(arguments, settings, _say, _tell)


def _transaction_id(text: str) -> str:
    """Check an id from the command line."""
    if not TRANSACTION_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("a transaction's id has 64 hex digits, in lower case")
    return text


def _say(line: str) -> None:
    """Print a result."""
    print(line, flush=True)


def _tell(line: str) -> None:
    """Print progress."""
    print(line, file=sys.stderr, flush=True)


def _logins(settings: LedgerSettings, config: Path, directory: Path) -> int:
    logins = (settings.database, _owner(settings, config))
    for role in hand_in_logins([(login.user, login.password_file) for login in logins], directory):
        print(f"{role}: the password's verifier is in {directory}")
    return 0


def _owner(settings: LedgerSettings, config: Path) -> DatabaseOwnerSettings:
    if settings.database_owner is None:
        raise SettingsError(
            "this setting is missing", file=config, key="database_owner", advice="add it: migrate works as the owner"
        )
    return settings.database_owner


def _migrate(settings: LedgerSettings, config: Path) -> int:
    from minervas_ledger.store.schema import migrate  # noqa: PLC0415

    applied = migrate(settings.database, _owner(settings, config))
    print(f"{settings.database.name}: applied {', '.join(applied)}" if applied else "The schema is current")
    return 0


def _check(settings: LedgerSettings, config: Path) -> int:
    print(f"{config}: settings of the ledger of {settings.member} are usable")
    return 0


if __name__ == "__main__":
    sys.exit(main())
