"""The verbs that work on the stored chain and readings, and what each is called with."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from minervas_ledger.archive_command import run_archive, run_readings
from minervas_ledger.audit_command import run_audit
from minervas_ledger.export_command import run_export
from minervas_ledger.import_command import run_import
from minervas_ledger.prove_command import run_prove
from minervas_ledger.settings import LedgerSettings
from minervas_runtime.clock import SystemClock


def run_chain_command(
    arguments: argparse.Namespace, settings: LedgerSettings, say: Callable[[str], None], tell: Callable[[str], None]
) -> int:
    """Carry out one of these verbs; returns the exit status.

    Args:
        arguments: of the command line.
        settings: of the ledger.
        say: prints a result.
        tell: prints progress.

    Raises:
        MinervasError: as the verbs do.
    """
    actions: dict[str, Callable[[], int]] = {
        "audit": lambda: run_audit(settings, say, tell),
        "export": lambda: run_export(settings, arguments.file, say, tell),
        "import": lambda: run_import(settings, arguments.file, SystemClock(), say, tell),
        "prove": lambda: run_prove(settings, arguments.id, arguments.file, say, tell),
        "archive": lambda: run_archive(settings, SystemClock(), say, tell),
        "readings": lambda: run_readings(settings, arguments.from_archive, say),
    }
    return actions[arguments.verb]()
