"""`minervas-ledger audit`: one audit of the node's own database, with progress for a person who waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis, load_genesis
from minervas_ledger.audit import Audit, AuditReport
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.store.connection import as_transient, connect
from minervas_ledger.store.schema import check_schema
from minervas_runtime.clock import monotonic_ms

APPLICATION = "minervas-ledger audit"
PROGRESS_EVERY_MS = 2_000


def run_audit(settings: LedgerSettings, say: Callable[[str], None]) -> int:
    """Audit the database that the settings name; returns the exit status.

    Raises:
        LocalFault: ``audit_mismatch`` for the first row that does not follow; ``schema_version`` or ``bad_genesis``.
        TransientFault: ``database_away``.
    """
    genesis = _genesis(settings.paths.issued / "genesis.json")
    began_ms = monotonic_ms()
    with (
        as_transient(settings.database),
        closing(connect(settings.database, application=APPLICATION)) as connection,
    ):
        check_schema(connection, settings.database.name)
        report = Audit(connection, genesis, Progress(say, began_ms)).run()
    say(
        f"audit passed: {report.height} blocks with {report.transactions} transactions, tip {report.tip_hash}, "
        f"{report.members} members, {report.lots} lots, {report.trades} trades, {report.retirements} retirements, "
        f"{report.side_blocks} blocks beside the best chain, "
        f"{report.abandoned_searches} abandoned searches, {(monotonic_ms() - began_ms) / 1_000:.1f} s"
    )
    return 0


class Progress:
    """Says now and then how far an audit is."""

    def __init__(self, say: Callable[[str], None], began_ms: int) -> None:
        self._say = say
        self._began_ms = began_ms
        self._said_ms = began_ms

    def __call__(self, report: AuditReport) -> None:
        """Called after every block."""
        now_ms = monotonic_ms()
        if now_ms - self._said_ms < PROGRESS_EVERY_MS:
            return
        self._said_ms = now_ms
        rate = report.height * 1_000 // max(now_ms - self._began_ms, 1)
        self._say(f"audit: height {report.height} of {report.target_height}, {rate} blocks/s")


def _genesis(path: Path) -> Genesis:
    try:
        return load_genesis(path.read_bytes())
    except OSError as error:
        raise LocalFault(
            Code.BAD_GENESIS,
            "The genesis file cannot be read; has this node joined?",
            file=str(path),
            reason=str(error),
        ) from error
