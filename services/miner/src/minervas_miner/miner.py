"""The miner: templates in, signed blocks and abandoned searches out.

Theory of operation. There is at most one search. It begins with a template of the member's own ledger and ends with

* a good hash: the header is checked, signed with the block key and delivered as ``found``;
* the time limit (``give_up_ms``): the lowest hash with its header, tries and time are delivered as ``abandoned``
  (paper: a block without success is thrown away and that information stored);
* another template, or a pause.

Without a search and without a pause the miner asks for a template: at start, whenever the ledger or the bus comes
back, after every delivery, and every two seconds, because a message may be lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import Counter, Gauge

from minervas_core.blocks import Header, sign_block_hash
from minervas_core.encoding import Record
from minervas_core.errors import InvalidBlock, MinervasError
from minervas_core.genesis import Genesis
from minervas_core.keys import SigningKey
from minervas_core.node_messages import Abandoned, BlockResult, Found, GetTemplate, Stored, Template
from minervas_miner.deliveries import Deliveries, LedgerLink
from minervas_miner.search_protocol import ENDED, Job, Report
from minervas_miner.template_check import check_template
from minervas_miner.template_search import TemplateSearch
from minervas_runtime.clock import Clock
from minervas_runtime.metrics import REFUSALS

log = logging.getLogger(__name__)

TRIES = Counter("minervas_miner_tries", "Hashes made.")
RATE = Gauge("minervas_miner_tries_per_second", "Hashes made in the last second.")
FOUND = Counter("minervas_miner_blocks_found", "Good hashes found and signed.")
ABANDONED = Counter("minervas_miner_searches_abandoned", "Searches that reached their time limit.")

TICK_S = 0.05
MAX_EVENTS = 4
"""Events kept while the bus is away."""
PROGRESS_MS = 1_000
ASK_IDLE_MS = 2_000
"""How often an idle miner asks for a template."""
ASK_PAUSED_MS = 15_000
"""How often a paused miner asks whether it still is."""
LAST_REPORT_MS = 1_000
"""How long an ending search waits for its last report before it does without."""


OTHER_KEY = "the chain has another block key of our member than this miner (yet)"
"""Why a miner rests whose node replaced another one, until the chain has its key."""


class Worker(Protocol):
    """What the miner needs of `search_worker.SearchWorker`."""

    def give(self, job: Job) -> None:
        """Search under this seal from now on."""

    def rest(self) -> None:
        """Search for nothing."""


class Miner:
    """The state of one member's miner. All calls are made on one event loop.

    Args:
        member: whose miner this is.
        genesis: the consortium's genesis.
        find_key: our block key of a public half, if we have it.
        link: to our ledger.
        worker: the search process.
        clock: time of day.
        monotonic_ms: for durations.
        first_nonce: a random number below 2^64, new at each call.
        status: the part of /healthz that is kept up to date here.
    """

    def __init__(
        self,
        *,
        member: str,
        genesis: Genesis,
        find_key: Callable[[str], SigningKey | None],
        link: LedgerLink,
        worker: Worker,
        clock: Clock,
        monotonic_ms: Callable[[], int],
        first_nonce: Callable[[], int],
        status: dict[str, Any],
    ) -> None:
        self._member = member
        self._genesis = genesis
        self._find_key = find_key
        self._link = link
        self._worker = worker
        self._clock = clock
        self._monotonic_ms = monotonic_ms
        self._first_nonce = first_nonce
        self._status = status
        self.registered_key = ""
        """Our member's block key (public, hex) as the newest template has it; empty before the first."""
        self.deliveries = Deliveries(link)
        self._search: TemplateSearch | None = None
        self._last_job = 0
        self._ending_since_ms: int | None = None
        self._solved_template = ""
        self._paused = ""
        self._ask_due_ms = 0
        self._progress_due_ms = 0
        self._events: asyncio.Queue[tuple[str, Record]] = asyncio.Queue(MAX_EVENTS)
        self._measured_ms = monotonic_ms()
        self._measured_tries = 0

    async def run(self) -> None:
        """Keep time and send events until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_ticking())
                group.create_task(self._send_events())
        finally:
            await self.deliveries.close()

    def search_for(self, template: Template) -> None:
        """Replace the running search; a template that cannot be right is refused and changes nothing.

        Raises:
            InvalidBlock: as `check_template`.
        """
        try:
            check_template(template, self._genesis, self._member)
        except InvalidBlock as error:
            REFUSALS.labels("miner", "template", error.code).inc()
            raise
        running = self._search.template.template_id if self._search else ""
        if template.template_id in (running, self._solved_template):
            return
        self.registered_key = template.block_key
        if self._find_key(template.block_key) is None:
            self.pause(OTHER_KEY)
            return
        self._paused = ""
        self._ending_since_ms = None
        self._search = TemplateSearch(template, self._monotonic_ms())
        self._next_job(self._search)
        fields = {"height": template.draft.height, "difficulty": template.draft.difficulty, "prev": template.draft.prev}
        log.info("search_started", extra={"fields": fields})

    def pause(self, reason: str) -> None:
        """End the running search: there is nothing to search for."""
        if self._paused != reason:
            log.info("paused", extra={"fields": {"reason": reason}})
        self._paused = reason
        self._ask_due_ms = self._monotonic_ms() + ASK_PAUSED_MS
        self._stop_search()

    def on_report(self, report: Report) -> None:
        """Take in what the search process reports."""
        search = self._search
        if search is None or not search.covers(report):
            return
        before = search.tries
        header = search.take(report)
        TRIES.inc(search.tries - before)
        self._measured_tries += search.tries - before
        if header is not None:
            self._found(search, header)
        elif report.found:
            log.error("search_process_wrong", extra={"fields": {"nonce": report.lowest_nonce}})
            self._next_job(search)
        elif self._ending_since_ms is not None and report.job == self._last_job and report.stage == ENDED:
            self._abandon(search)

    def on_worker_start(self) -> None:
        """Give a new search process what the last one was searching for."""
        if self._search is not None:
            self._next_job(self._search)

    def ask_soon(self) -> None:
        """Ask for a template at the next tick, for example because the ledger is back."""
        self._ask_due_ms = 0

    def tick(self) -> None:
        """Do what is due by now."""
        now_ms = self._monotonic_ms()
        search = self._search
        if search is not None:
            self._keep_time(search, now_ms)
        if now_ms >= self._progress_due_ms:
            self._progress_due_ms = now_ms + PROGRESS_MS
            self._tell_progress(now_ms)
        if now_ms >= self._ask_due_ms and (self._ask_due_ms == 0 or self._is_idle()):
            self._ask_due_ms = now_ms + (ASK_PAUSED_MS if self._paused else ASK_IDLE_MS)
            self._put_event("get_template", GetTemplate())

    def _is_idle(self) -> bool:
        return self._search is None and not self.deliveries.pending("found")

    def _keep_time(self, search: TemplateSearch, now_ms: int) -> None:
        """Renew the header's time, or end the search at its limit."""
        if self._ending_since_ms is not None:
            if now_ms - self._ending_since_ms >= LAST_REPORT_MS:
                self._abandon(search)
        elif search.must_end(now_ms):
            self._ending_since_ms = now_ms
            self._worker.rest()
        elif search.must_renew(now_ms):
            self._next_job(search)

    def _next_job(self, search: TemplateSearch) -> None:
        self._last_job += 1
        job = search.next_job(
            self._last_job,
            first_nonce=self._first_nonce(),
            now_ms=self._monotonic_ms(),
            wall_ms=self._clock.now_ms(),
        )
        self._worker.give(job)

    def _stop_search(self) -> None:
        self._search = None
        self._ending_since_ms = None
        self._worker.rest()

    def _found(self, search: TemplateSearch, header: Header) -> None:
        """Sign a block and hand it to the ledger."""
        block_hash = header.hash()
        fields = {"height": header.height, "hash": block_hash, "nonce": header.nonce, "tries": search.tries}
        log.info("block_found", extra={"fields": fields})
        FOUND.inc()
        key = self._find_key(search.template.block_key)
        if key is None:  # it was there when the search began, and keys are never deleted
            raise KeyError(search.template.block_key)
        signature = sign_block_hash(block_hash, header.network, key)
        found = Found(template_id=search.template.template_id, header=header, signature=signature)
        self._solved_template = search.template.template_id
        self._stop_search()
        self.deliveries.start("found", found, BlockResult, self._block_delivered)

    def _block_delivered(self, result: BlockResult | None) -> None:
        if result is not None:
            refused = result.status == "refused"
            fields = {"status": result.status, "hash": result.hash, "code": result.code}
            log.log(logging.WARNING if refused else logging.INFO, "block_delivered", extra={"fields": fields})
        if result is None or result.status == "refused":
            self._solved_template = ""  # whatever was wrong with it: if the ledger sends it again, search again
        self._after_delivery()

    def _abandon(self, search: TemplateSearch) -> None:
        """Hand a search without success to the ledger."""
        record = search.abandoned(self._monotonic_ms())
        self._stop_search()
        if record is None:  # the search process was away all the time
            return
        ABANDONED.inc()
        fields = {"height": record.header.height, "tries": record.tries, "lowest_hash": record.lowest_hash}
        log.info("search_abandoned", extra={"fields": fields})
        abandoned = Abandoned(template_id=search.template.template_id, search=record)
        self.deliveries.start("abandoned", abandoned, Stored, lambda _: self._after_delivery())

    def _after_delivery(self) -> None:
        if self._search is None:
            self.ask_soon()

    def _tell_progress(self, now_ms: int) -> None:
        """Measure the speed, and tell the ledger how the search goes."""
        elapsed_ms = max(now_ms - self._measured_ms, 1)
        rate = self._measured_tries * 1_000 // elapsed_ms
        self._measured_ms, self._measured_tries = now_ms, 0
        RATE.set(rate)
        progress = self._search.progress(now_ms, rate) if self._search else None
        self._status.update(
            searching_height=progress.height if progress else 0,
            tries_per_second=rate,
            paused=self._paused,
            undelivered=self.deliveries.pending(),
        )
        if progress is not None:
            self._put_event("progress", progress)

    async def _keep_ticking(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def _put_event(self, kind: str, body: Record) -> None:
        """Hand an event to the sender. While the bus is away old ones are dropped: a later one says more."""
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait((kind, body))

    async def _send_events(self) -> None:
        """Send events one by one, apart from the ticks, for sending waits while the bus is away."""
        while True:
            kind, body = await self._events.get()
            try:
                await self._link.send("ledger", kind, body)
            except MinervasError as error:
                log.info("event_not_sent", extra={"fields": {"kind": kind, "code": error.code}})
