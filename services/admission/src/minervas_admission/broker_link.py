"""The connection to the broker, and what is done with it: control client, requests, presence, reconciliation.

Everything else works while the broker is away. After every connect, the first included, the broker's rights are
compared with the database and repaired.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from minervas_admission.chain_follower import ChainFollower
from minervas_admission.dynsec import DynsecClient
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.presence_keeper import PresenceKeeper
from minervas_core.errors import LocalFault, MinervasError
from minervas_core.messages import Presence
from minervas_core.rights import ADMISSION
from minervas_runtime.bus import Bus
from minervas_runtime.clock import Clock
from minervas_runtime.presence import PresencePublisher
from minervas_runtime.requests import Requester

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""Pause before a new attempt after a refusal: a new revocation list or a restart of the broker may mend it."""

MakeBus = Callable[[], Bus]
"""Makes a bus that is not started; asked again after a refusal at the start."""


class BrokerLink:
    """Keeps admission on the bus."""

    def __init__(
        self,
        make_bus: MakeBus,
        clock: Clock,
        *,
        feed: MembershipFeed,
        follower: ChainFollower,
        presences: PresenceKeeper,
        presence: Callable[[], Presence],
    ) -> None:
        self._make_bus = make_bus
        self._clock = clock
        self._feed = feed
        self._follower = follower
        self._presences = presences
        self._presence = presence
        self._bus: Bus | None = None
        self._dynsec: DynsecClient | None = None
        self._refusal = ""
        self._connected = asyncio.Event()
        """Set after every connect until somebody has dealt with it."""

    @property
    def dynsec(self) -> DynsecClient | None:
        """The control client; None before the broker was reached for the first time."""
        return self._dynsec

    @property
    def state(self) -> str:
        """For people: connected, away, or why the broker refuses us."""
        if self._bus is None:
            return self._refusal or "away"
        if self._bus.connected:
            return "connected"
        return str(self._bus.refusal) if self._bus.refusal else "away"

    async def wait_connected(self) -> None:
        """Return after the next connect, or at once if there was one since the last call."""
        await self._connected.wait()
        self._connected.clear()

    async def run(self) -> None:
        """Connect and stay connected until cancelled."""
        bus = await self._first_connection()
        requester = Requester(bus, self._clock)
        requester.serve("get_membership", self._feed.serve)
        publisher = PresencePublisher(bus, ADMISSION.member, ADMISSION.service, self._presence)
        try:
            dynsec = DynsecClient(bus)
            await self._patiently(dynsec.start)
            self._dynsec = dynsec
            bus.on_connection_change(self._on_change)
            self._bus = bus
            self._on_change(bus.connected)
            await self._patiently(requester.start)
            publisher.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed.publish_for_ever(bus))
                group.create_task(self._follower.follow_for_ever(requester))
                group.create_task(self._presences.keep_for_ever(bus))
        finally:
            await publisher.stop()
            await requester.stop()
            await bus.stop()

    async def _first_connection(self) -> Bus:
        while True:
            bus = self._make_bus()
            try:
                await bus.start()
            except LocalFault as error:
                self._refusal = str(error)
                log.error("broker_refuses", extra={"fields": {"code": error.code, "reason": str(error)}})  # noqa: TRY400
                await asyncio.sleep(RETRY_S)
            else:
                return bus

    async def _patiently(self, subscribe: Callable[[], Awaitable[None]]) -> None:
        """Subscribe, again and again until it works: without it there is nothing to do here."""
        while True:
            try:
                await subscribe()
            except MinervasError as error:
                log.warning("not_subscribed", extra={"fields": {"code": error.code, "reason": str(error)}})
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _on_change(self, connected: bool) -> None:  # noqa: FBT001 - the bus' callback has this form
        if connected:
            self._connected.set()
            self._feed.wake()
