"""The node's state for people: the ledger's answer to `get status`, its presence, and its part of /healthz."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from minervas_core.messages import Presence
from minervas_core.node_messages import LedgerStatus, SearchProgress
from minervas_ledger import __version__, refusals
from minervas_ledger.chain_view import too_old
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.disk import DiskWatch
from minervas_runtime.bus import Bus
from minervas_runtime.clock import Clock, monotonic_ms

PROGRESS_FRESH_MS = 3_000
"""A miner tells its progress every second; what is older is of a search that is over."""


class NodeStatus:
    """Knows what to show.

    Args:
        member: whose node it is.
        worker: the chain.
        clock: time of day.
        disk: how full it is.
        certificate_expires_ms: of our bus certificate.
    """

    def __init__(
        self,
        *,
        member: str,
        worker: ChainWorker,
        clock: Clock,
        disk: DiskWatch,
        certificate_expires_ms: Callable[[], int],
    ) -> None:
        self._member = member
        self._worker = worker
        self._clock = clock
        self._disk = disk
        self._certificate_expires_ms = certificate_expires_ms
        self._progress: SearchProgress | None = None
        self._progress_at_ms = 0

    def progress(self, progress: SearchProgress) -> None:
        """The miner tells how its search goes."""
        self._progress = progress
        self._progress_at_ms = monotonic_ms()

    def status(self) -> LedgerStatus:
        """Everything about the node.

        Raises:
            TransientFault: ``not_ready`` before the chain was loaded for the first time.
        """
        view = self._worker.view
        is_fresh = monotonic_ms() - self._progress_at_ms < PROGRESS_FRESH_MS
        return LedgerStatus(
            member=self._member,
            tip=view.tip,
            tip_time_ms=view.tip_time_ms,
            difficulty=view.difficulty,
            roster_hash=view.roster_hash,
            active_members=view.active_members,
            mempool_transactions=view.mempool_transactions,
            mempool_bytes=view.mempool_bytes,
            abandoned_searches=view.abandoned_searches,
            reorganisations=view.reorganisations,
            side_branches=view.side_branches,
            justified=view.justified,
            final=view.final,
            missing_voters=list(view.missing_voters),
            parameters=view.parameters,
            authority=view.authority or msgspec.UNSET,
            unknown_rules_height=view.unknown_rules_height,
            syncing=view.syncing,
            refusals=refusals.by_code(),
            search=self._progress if self._progress is not None and is_fresh else msgspec.UNSET,
        )

    def presence(self) -> Presence:
        """What everybody may know."""
        return Presence(
            state="online",
            low_disk=self._disk.low_disk,
            version=__version__,
            sent_at_ms=self._clock.now_ms(),
            certificate_expires_ms=self._certificate_expires_ms(),
            tip=self._worker.view.tip,
        )

    def health(self, bus: Bus) -> dict[str, object]:
        """Our part of /healthz."""
        view = self._worker.last_view
        bus_trouble = "" if bus.connected or view is None else str(bus.refusal or "The broker is away")
        trouble = self._worker.trouble or (too_old(view) if view is not None else "") or bus_trouble
        health: dict[str, object] = {
            "status": "failing" if trouble else "ok" if bus.connected else "waiting",
            "trouble": trouble,
            "connected": bus.connected,
            "database": "away" if self._worker.trouble else "ok" if view else "waiting",
        }
        if view is not None:
            health |= {"height": view.tip.height, "tip": view.tip.hash, "syncing": view.syncing}
        return health
