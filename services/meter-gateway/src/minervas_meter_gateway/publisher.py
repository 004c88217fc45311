"""Readings to the ledger: live ones at once, the backlog in order beside them, until the ledger acknowledges.

Theory of operation. What was just stored goes out at once, if there is a connection; nobody waits for it. What the
ledger has not acknowledged some seconds later, or was sampled while we were cut off, is backlog: it is read from the
spool from the oldest on and sent in order, at most `WINDOW` readings ahead of the acknowledgements, so that a ledger
that was away is not flooded and live values are never late. While no acknowledgement comes at all (the meter is not
registered yet, the ledger is down) the pauses grow. A reading may arrive twice; the ledger stores it once.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable, Sequence

import msgspec

from minervas_core.encoding import encode
from minervas_core.errors import MinervasError
from minervas_core.keys import SigningKey
from minervas_core.metering import MAX_READINGS_PER_BATCH, Reading, ReadingBatchBody, sign_batch
from minervas_meter_gateway.metrics import BATCHES
from minervas_meter_gateway.spool import Spool
from minervas_meter_gateway.spool_thread import SpoolThread
from minervas_runtime.bus import Bus

log = logging.getLogger(__name__)

UNACKNOWLEDGED_MS = 6_000
"""Default age at which a reading without acknowledgement is sent again; a ledger stores once a second."""
WINDOW = 5 * MAX_READINGS_PER_BATCH
LONGEST_PATIENCE_MS = 60_000
"""Longest wait for an acknowledgement before the backlog is sent once more."""
IDLE_S = 0.5
"""How often the backlog is looked at."""


class Publisher:
    """Publishes one spool's readings.

    Args:
        bus: the connection.
        topic: where readings go.
        spool: where they wait.
        network: network id.
        member: whose readings.
        key: the gateway's.
        monotonic_ms: for ages.
        patience_ms: age at which a reading without acknowledgement is sent again.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        topic: str,
        spool: SpoolThread,
        network: str,
        member: str,
        key: Callable[[], SigningKey],
        monotonic_ms: Callable[[], int],
        patience_ms: int = UNACKNOWLEDGED_MS,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._spool = spool
        self._network = network
        self._member = member
        self._key = key
        self._monotonic_ms = monotonic_ms
        self._patience_ms = patience_ms
        self._live: collections.deque[Reading] = collections.deque(maxlen=2 * MAX_READINGS_PER_BATCH)
        self._fresh = asyncio.Event()
        self._woken = asyncio.Event()
        self._away = False
        self._offered: collections.deque[tuple[int, int]] = collections.deque()
        self._backlog_below = spool.file.next_sequence

    def offer(self, readings: Sequence[Reading]) -> None:
        """Publish readings that were just stored, if that is possible now."""
        self._offered.append((self._monotonic_ms(), readings[-1].sequence + 1))
        if self._bus.connected:
            self._live.extend(readings)
            self._fresh.set()

    def wake(self) -> None:
        """An acknowledgement came."""
        self._woken.set()

    def resend_all(self) -> None:
        """Whatever is in the spool now is backlog: the connection or the ledger was away."""
        self._backlog_below = self._spool.file.next_sequence
        self._away = True
        self.wake()

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_live())
            group.create_task(self._send_backlog())

    async def _send_live(self) -> None:
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            while self._live:
                count = min(len(self._live), MAX_READINGS_PER_BATCH)
                await self._publish([self._live.popleft() for _ in range(count)], "live")

    async def _send_backlog(self) -> None:
        patience_ms = self._patience_ms
        while True:
            await self._wait(IDLE_S)
            self._away = False
            oldest = await self._spool.run(Spool.oldest)
            if oldest is None or oldest >= self._due_below() or not self._bus.connected:
                patience_ms = self._patience_ms
                continue
            sent_below = await self._send_run(oldest)
            taken = await self._drained(sent_below, 0, patience_ms)
            patience_ms = self._patience_ms if taken else min(2 * patience_ms, LONGEST_PATIENCE_MS)
            log.info("backlog_sent", extra={"fields": {"first": oldest, "below": sent_below, "acknowledged": taken}})

    async def _send_run(self, first: int) -> int:
        """Send the backlog from `first` on, in order; stops when acknowledgements stay away.

        Returns:
            The number below which everything was sent.
        """
        below = self._due_below()
        while first < below:
            readings = await self._read(first, below)
            if not readings or not await self._publish(readings, "backlog"):
                break
            first = readings[-1].sequence + 1
            if not await self._drained(first, WINDOW - 1, self._patience_ms):
                break
        return first

    async def _drained(self, sent_below: int, limit: int, patience_ms: int) -> bool:
        """Wait until at most `limit` readings below a number are not acknowledged; patience is renewed by progress.

        Returns:
            False if patience ended, or whatever was sent may have been lost with a connection.
        """
        waiting = await self._spool.run(lambda spool: spool.waiting_below(sent_below))
        deadline_ms = self._monotonic_ms() + patience_ms
        while waiting > limit:
            left_ms = deadline_ms - self._monotonic_ms()
            if left_ms <= 0 or self._away:
                return False
            await self._wait(left_ms / 1000)
            before, waiting = waiting, await self._spool.run(lambda spool: spool.waiting_below(sent_below))
            if waiting < before:
                deadline_ms = self._monotonic_ms() + self._patience_ms
        return True

    async def _read(self, first: int, below: int) -> list[Reading]:
        rows = await self._spool.run(lambda spool: spool.read(first, below, MAX_READINGS_PER_BATCH))
        return [msgspec.json.decode(row, type=Reading) for row in rows]

    def _due_below(self) -> int:
        """Number below which everything should have been acknowledged by now."""
        old_ms = self._monotonic_ms() - self._patience_ms
        while self._offered and self._offered[0][0] <= old_ms:
            self._backlog_below = max(self._backlog_below, self._offered.popleft()[1])
        return self._backlog_below

    async def _wait(self, timeout_s: float) -> None:
        """Wait until something has changed since the last wait, or the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def _publish(self, readings: list[Reading], kind: str) -> bool:
        body = ReadingBatchBody(
            network=self._network,
            member=self._member,
            gateway=self._key().public,
            spool=self._spool.file.id,
            readings=readings,
        )
        try:
            await self._bus.publish(self._topic, encode(sign_batch(body, self._key())))
        except MinervasError as error:
            log.info("batch_not_published", extra={"fields": {"kind": kind, "code": error.code, "reason": str(error)}})
            return False
        BATCHES.labels(kind).inc()
        return True
