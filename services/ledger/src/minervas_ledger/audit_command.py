"""`minervas-ledger audit`: one audit of the node's own database, with progress for a person who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from minervas_ledger.audit import Audit
from minervas_ledger.genesis_file import read_genesis
from minervas_ledger.progress import Progress
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.statement_checks import Result, check_all
from minervas_ledger.store.archive_rows import oldest_day_ms
from minervas_ledger.store.connection import as_transient, connect
from minervas_ledger.store.schema import check_schema
from minervas_ledger.store.statement_rows import StatedSpan

APPLICATION = "minervas-ledger audit"


def run_audit(settings: LedgerSettings, say: Callable[[str], None], tell: Callable[[str], None]) -> int:
    """Audit the database that the settings name; returns the exit status.

    Args:
        settings: of the ledger.
        say: prints the result.
        tell: prints the progress.

    Raises:
        LocalFault: ``audit_mismatch`` for the first row that does not follow; ``schema_version`` or ``bad_genesis``.
        TransientFault: ``database_away``.
    """
    genesis = read_genesis(settings.paths)
    progress = Progress(tell, "audit")
    with (
        as_transient(settings.database),
        closing(connect(settings.database, application=APPLICATION)) as connection,
    ):
        check_schema(connection, settings.database.name)
        report = Audit(connection, genesis, lambda done: progress(done.height, done.target_height)).run()
        stated = check_all(connection, settings.member, oldest_day_ms(connection))
    say(
        f"audit passed: {report.height} blocks with {report.transactions} transactions, tip {report.tip_hash}, "
        f"{report.members} members, {report.lots} lots, {report.trades} trades, {report.retirements} retirements, "
        f"{report.side_blocks} blocks beside the best chain, "
        f"{report.abandoned_searches} abandoned searches, {progress.elapsed_ms / 1_000:.1f} s"
    )
    for line in _about_statements(stated):
        say(line)
    return 0


def _about_statements(stated: dict[Result, list[StatedSpan]]) -> Iterator[str]:
    """What became of comparing our own statements with the stored readings: that does not follow from the chain."""
    if not any(stated.values()):
        return
    counts = {result: len(spans) for result, spans in stated.items()}
    yield (
        f"readings: {counts['match']} of our statements match the stored ones, {counts['mismatch']} do not, "
        f"{counts['incomplete']} cannot be compared"
    )
    for span in stated["mismatch"]:
        yield f"readings: statement {span.id} of {'/'.join(span.channel)} rests on others than those stored"
