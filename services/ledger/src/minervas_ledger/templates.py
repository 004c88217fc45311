"""Keeping the miner busy with the right template.

A new template is due at once when the tip changes or a search is over, and a little later when the queue changes, so
that a burst of transactions does not interrupt the search for each of them. The miner itself renews the time in the
header (`retime_ms`). When there is nothing to search for, the miner is told why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from minervas_core.encoding import Record
from minervas_core.errors import Code, MinervasError, TransientFault
from minervas_core.node_messages import Pause, Template
from minervas_ledger.chain_view import ChainView, too_old
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.disk import no_check
from minervas_ledger.template_book import GivenTemplate, TemplateBook
from minervas_runtime.clock import Clock, monotonic_ms
from minervas_runtime.randomness import new_salt

log = logging.getLogger(__name__)

QUEUE_PAUSE_MS = 500
"""How long a changed queue waits for more changes."""
RETRY_MS = 1_000
"""Pause after a passing trouble (database or bus away)."""
NEVER_MS = 2**62

NOT_ADMITTED = "not admitted"
NOT_OUR_TURN = "not our turn"
SYNCING = "syncing"
TOO_OLD = "this software is too old for the rules of the next block"
LOW_DISK = "the disk is nearly full"


class Sender(Protocol):
    """The part of `NodeLink` that is needed here."""

    async def send(self, service: str, kind: str, body: Record) -> None:
        """Send an event to a service of our node."""


class TemplateMaker:
    """Makes templates; `run` is its only task, everything else just calls for one.

    Args:
        member: whose miner it is.
        worker: the chain.
        link: to the miner.
        clock: time of day.
        check_room: raises `TransientFault` ``disk_low`` if there is no room for blocks.
    """

    def __init__(
        self,
        *,
        member: str,
        worker: ChainWorker,
        link: Sender,
        clock: Clock,
        check_room: Callable[[], None] = no_check,
    ) -> None:
        self.book = TemplateBook()
        self._member = member
        self._worker = worker
        self._link = link
        self._clock = clock
        self._check_room = check_room
        self._due_ms = 0
        self._called = asyncio.Event()
        self._current: GivenTemplate | None = None
        self._paused = ""
        self._must_send = False

    @property
    def paused(self) -> str:
        """Why there is no template at present; empty if there is one."""
        return self._paused

    def chain_changed(self, before: ChainView, after: ChainView) -> None:
        """The chain or the queue is not what it was."""
        if before.tip.hash != after.tip.hash or before.syncing != after.syncing:
            self._call_in(0)
        elif (before.mempool_transactions, before.votes) != (after.mempool_transactions, after.votes):
            self._call_in(QUEUE_PAUSE_MS)

    def send_again(self) -> None:
        """The miner does not know what to do."""
        self._must_send = True
        self._call_in(0)

    def search_over(self, template_id: str) -> None:
        """The search for a template ended without a block."""
        if self._current is not None and self._current.template_id == template_id:
            self.renew()

    def renew(self) -> None:
        """The current template is of no use any more."""
        self._current = None
        self._call_in(0)

    async def run(self) -> None:
        """Make templates until cancelled."""
        while True:
            await self._until_due()
            self._due_ms = NEVER_MS
            try:
                await self._make()
            except MinervasError as error:
                log.info("template_delayed", extra={"fields": {"code": error.code, "reason": str(error)}})
                self._call_in(RETRY_MS)

    def _call_in(self, delay_ms: int) -> None:
        self._due_ms = min(self._due_ms, monotonic_ms() + delay_ms)
        self._called.set()

    async def _until_due(self) -> None:
        while (wait_ms := self._due_ms - monotonic_ms()) > 0:
            self._called.clear()
            try:
                async with asyncio.timeout(None if self._due_ms == NEVER_MS else wait_ms / 1_000):
                    await self._called.wait()
            except TimeoutError:
                return

    async def _make(self) -> None:
        """Make and send what the miner should do now.

        Raises:
            TransientFault: if the database or the bus is away.
        """
        if self._worker.view.syncing or too_old(self._worker.view):
            await self._pause(SYNCING if self._worker.view.syncing else TOO_OLD)
            return
        now_ms = self._clock.now_ms()
        try:
            self._check_room()
            content = await self._worker.run(lambda chain: chain.draft(self._member, now_ms))
        except TransientFault as error:
            match error.code:
                case Code.DISK_LOW:
                    await self._pause(LOW_DISK)
                case Code.BLOCK_MINER_UNKNOWN:
                    await self._pause(NOT_ADMITTED)
                case Code.BLOCK_MINER_TOO_SOON:
                    self._call_in(max(int(error.values["idle_from_ms"]) - now_ms, 1))
                    await self._pause(NOT_OUR_TURN)
                case _:
                    raise
            return
        await self._give(
            GivenTemplate(new_salt(), content.draft, content.transactions, content.votes, content.block_key)
        )

    async def _give(self, given: GivenTemplate) -> None:
        """Send a template, unless it is the one that the miner has; that one is only repeated on demand."""
        current = self._current
        if current is not None and _same(current, given):
            if not self._must_send:
                return
            given = current
        self.book.remember(given)
        parameters = self._worker.view.parameters
        template = Template(
            template_id=given.template_id,
            draft=given.draft,
            block_key=given.block_key,
            give_up_ms=parameters.give_up_ms,
            retime_ms=max(parameters.block_interval_ms // 10, 100),
        )
        self._must_send = True  # until it is sent
        await self._link.send("miner", "template", template)
        self._current, self._paused, self._must_send = given, "", False

    async def _pause(self, reason: str) -> None:
        if self._paused == reason and not self._must_send:
            return
        self._must_send = True  # until it is sent
        await self._link.send("miner", "pause", Pause(reason=reason))
        self._current, self._paused, self._must_send = None, reason, False


def _same(one: GivenTemplate, other: GivenTemplate) -> bool:
    """Whether two templates ask for the same block, but for its time."""
    return (one.draft.prev, one.draft.tx_root, one.draft.votes_root, one.draft.difficulty, one.block_key) == (
        other.draft.prev,
        other.draft.tx_root,
        other.draft.votes_root,
        other.draft.difficulty,
        other.block_key,
    )
