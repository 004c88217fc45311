"""The bus over a real broker: MQTT 5, TLS 1.3 with client certificate, QoS 1, clean start.

A supervisor task keeps one `MqttConnection` open: it connects, subscribes again, and only then calls us connected.
QoS 2 is never used because a denied QoS 2 publish looks like a success. Client id and certificate name are the same,
so a second process with our certificate takes our session over; if the broker says so, we step back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from minervas_core.errors import Code, LocalFault
from minervas_runtime.bus import (
    MAX_PACKET_BYTES,
    PACKET_OVERHEAD_BYTES,
    BusOffline,
    BusRefused,
    Handler,
    Will,
    check_size,
)
from minervas_runtime.connection_state import ConnectionState
from minervas_runtime.mqtt_connection import BusSettings, Closed, ConnectionLost, MqttConnection
from minervas_runtime.mqtt_refusals import judge_connect, judge_loss, judge_puback, judge_suback
from minervas_runtime.subscriptions import Subscriptions

__all__ = ["BusSettings", "MqttBus", "Will"]

log = logging.getLogger(__name__)

T = TypeVar("T")

STABLE_S = 60.0
"""A connection that lived so long was no failure: the next pause starts short again."""

UNSTABLE_AFTER = 5
"""After so many shorter ones in a row the log says what may be behind it."""

AWAY_LOG_EVERY_S = 30.0
"""How often the log repeats that the broker is away."""


class MqttBus:
    """A client of the broker; see `minervas_runtime.bus.Bus`."""

    def __init__(
        self,
        settings: BusSettings,
        *,
        before_connect: Callable[[], Awaitable[None]] | None = None,
        may_mend: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare.

        Args:
            settings: where the broker is, and as whom we come.
            before_connect: awaited before every attempt to connect, e.g. until there is a certificate to come with.
            may_mend: whether a refusal at the start may end by itself, e.g. with a certificate that is under way; then
                `start` goes on trying.
        """
        self._settings = settings
        self._before_connect = before_connect
        self._may_mend = may_mend
        self._state = ConnectionState(settings.principal)
        self._subscriptions = Subscriptions()
        self._granted: list[str] = []
        self._connection: MqttConnection | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._stopped = False
        self._anew = asyncio.Event()
        self._max_packet_bytes = MAX_PACKET_BYTES
        self._failures = 0
        self._away_logged_at = float("-inf")
        self._jitter = random.SystemRandom()

    @property
    def principal(self) -> str:
        """``<member>.<service>``."""
        return self._settings.principal

    @property
    def connected(self) -> bool:
        """Whether we are connected and all subscriptions are in place."""
        return self._state.connected

    @property
    def refusal(self) -> BusRefused | None:
        """Why the broker refuses us at present."""
        return self._state.refusal

    @property
    def max_payload_bytes(self) -> int:
        """Largest payload that `publish` accepts, from the broker's Maximum Packet Size."""
        return self._max_packet_bytes - PACKET_OVERHEAD_BYTES

    @property
    def dropped(self) -> int:
        """Messages dropped because a handler was too slow."""
        return self._subscriptions.dropped

    def on_connection_change(self, callback: Callable[[bool], None]) -> None:
        """See `Bus.on_connection_change`."""
        self._state.on_change(callback)

    async def start(self) -> None:
        """See `Bus.start`.

        Raises:
            BusRefused: with the cause that the TLS probe found.
            LocalFault: ``bad_key_file`` if our own TLS files are unusable.
        """
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.create_task(self._supervise(first), name=f"bus {self.principal}")
        try:
            await first
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """See `Bus.stop`."""
        self._stopped = True
        if self._supervisor:
            self._supervisor.cancel()  # on its way out it closes the connection
            await asyncio.gather(self._supervisor, return_exceptions=True)
        self._connection = None
        self._state.down()
        await self._subscriptions.close()

    def reconnect(self) -> None:
        """Connect anew at once, with the TLS files as they are now.

        What is being published and not acknowledged is published again over the new connection, and everything is
        subscribed again before anybody is told that we are back.
        """
        self._anew.set()

    async def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """See `Bus.subscribe`."""
        queue = self._subscriptions.add(topic_filter, handler)  # first, or retained messages would be missed
        try:
            codes = await self._acknowledged(lambda connection: connection.subscribe([topic_filter]))
            if codes[0].is_failure:
                raise judge_suback(codes[0], topic_filter)
        except BaseException:
            await self._subscriptions.remove(queue)
            raise
        if topic_filter not in self._granted:
            self._granted.append(topic_filter)

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """See `Bus.publish`."""
        check_size(topic, payload, response_topic, correlation, self.max_payload_bytes)
        code = await self._acknowledged(
            lambda connection: connection.publish(
                topic,
                payload,
                retain=retain,
                expiry_s=expiry_s,
                response_topic=response_topic,
                correlation=correlation,
            )
        )
        if code.is_failure:
            raise judge_puback(code, topic, len(payload))

    async def _acknowledged(self, ask: Callable[[MqttConnection], Awaitable[T]]) -> T:
        """Do something that the broker acknowledges; once more if the connection is lost meanwhile."""
        deadline = asyncio.get_running_loop().time() + self._settings.publish_timeout_s
        while True:
            if self._stopped:
                raise BusOffline(Code.BUS_OFFLINE, "The bus connection is stopped", principal=self.principal)
            await self._state.wait(max(0.0, deadline - asyncio.get_running_loop().time()))
            if (connection := self._connection) is None:
                continue
            try:
                async with asyncio.timeout_at(deadline):
                    return await ask(connection)
            except ConnectionLost:
                if connection is self._connection:
                    self._state.down()  # the supervisor is about to say the same
            except TimeoutError as error:
                raise BusOffline(
                    Code.BUS_OFFLINE, "The broker does not acknowledge", principal=self.principal
                ) from error

    async def _supervise(self, first: asyncio.Future[None]) -> None:
        """Keep a connection open for ever; the first outcome that matters goes to `first`."""
        while True:
            try:
                pause_s = await self._live_once(first)
            except LocalFault as fault:
                if not first.done() and not self._may_mend():
                    first.set_exception(fault)
                    return
                log.error("bus_refused", extra={"fields": {"code": fault.code, "reason": str(fault)}})  # noqa: TRY400
                self._state.refused(
                    fault if isinstance(fault, BusRefused) else BusRefused(fault.code, fault.message, **fault.values)
                )
                pause_s = self._settings.refused_retry_s * self._jitter.uniform(1.0, 1.25)
            except Exception:
                log.exception("bus_supervisor_failed")
                pause_s = self._settings.retry_max_s
            log.debug("bus_retry", extra={"fields": {"pause_s": pause_s, "failures": self._failures}})
            await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, unless somebody wants it at once."""
        try:
            async with asyncio.timeout(seconds):
                await self._anew.wait()
        except TimeoutError:
            return

    async def _live_once(self, first: asyncio.Future[None]) -> float:
        """One connection from start to end; returns how long to wait before the next.

        Raises:
            BusRefused: if the broker does not want us.
            LocalFault: ``bad_key_file``.
        """
        if self._before_connect:
            await self._before_connect()
        self._anew.clear()
        connection = MqttConnection(self._settings, self._subscriptions.deliver)
        try:
            await connection.open()
            await self._subscribe_again(connection)
            end = await self._live(connection, first)
            if end is None:
                return 0.0
        except Closed as failure:
            _raise_any(await judge_connect(failure, self._settings))
            self._say_away(failure)
        except ConnectionLost:
            log.info("bus_lost_while_subscribing")
        else:
            _raise_any(judge_loss(end, self._settings))
        finally:
            await connection.close()
        return self._next_pause()

    async def _live(self, connection: MqttConnection, first: asyncio.Future[None]) -> Closed | None:
        """Use an open connection until its end, or (None) until somebody wants another."""
        since_s = asyncio.get_running_loop().time()
        self._connection = connection
        self._max_packet_bytes = connection.max_packet_bytes
        self._state.up()
        log.info("bus_connected", extra={"fields": {"host": self._settings.host, "port": self._settings.port}})
        if not first.done():
            first.set_result(None)
        end = await self._end_of(connection)
        self._connection = None
        self._state.down()
        if end is None:
            log.info("bus_reconnects")
            return None
        log.warning("bus_lost", extra={"fields": {"reason": end.text, "mqtt_code": end.reason or 0}})
        self._count_as_failure(lived_s=asyncio.get_running_loop().time() - since_s)
        return end

    async def _end_of(self, connection: MqttConnection) -> Closed | None:
        """Wait for the end of a connection, or (None) for somebody who wants another."""
        closed = asyncio.ensure_future(connection.wait_closed())
        anew = asyncio.ensure_future(self._anew.wait())
        try:
            await asyncio.wait({closed, anew}, return_when=asyncio.FIRST_COMPLETED)
            return closed.result() if closed.done() else None
        finally:
            closed.cancel()
            anew.cancel()

    async def _subscribe_again(self, connection: MqttConnection) -> None:
        """Subscribe to everything that handlers wait for, before anybody learns that we are back."""
        if not self._granted:
            return
        filters = list(self._granted)
        try:
            async with asyncio.timeout(self._settings.publish_timeout_s):
                codes = await connection.subscribe(filters)
        except TimeoutError as error:
            raise ConnectionLost from error
        for topic_filter, code in zip(filters, codes, strict=True):
            if code.is_failure:
                raise BusRefused(
                    Code.BUS_DENIED,
                    "The broker no longer lets us subscribe; our membership may have ended",
                    topic=topic_filter,
                    reason=code.getName(),
                )

    def _count_as_failure(self, *, lived_s: float) -> None:
        """Forget earlier failures after a long connection; after many short ones say what is usually wrong.

        Mosquitto 2.0 does not tell a client that another one took its session over, so two processes with one
        certificate would throw each other out for ever; the growing pauses make that slow and the log explains it.
        """
        if lived_s >= STABLE_S:
            self._failures = 0
        elif self._failures >= UNSTABLE_AFTER:
            hint = "another process may use our certificate, or the network cuts connections"
            log.warning("bus_unstable", extra={"fields": {"hint": hint, "short_connections": self._failures}})

    def _say_away(self, closed: Closed) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._away_logged_at >= AWAY_LOG_EVERY_S:
            self._away_logged_at = now
            fields = {"host": self._settings.host, "port": self._settings.port, "reason": closed.text}
            log.warning("broker_away", extra={"fields": fields})

    def _next_pause(self) -> float:
        """Doubling pauses; the jitter keeps a whole consortium from coming back at the same instant."""
        longest = min(self._settings.retry_max_s, self._settings.retry_min_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._jitter.uniform(0.5, 1.0) * longest


def _raise_any(refusal: BusRefused | None) -> None:
    if refusal is not None:
        raise refusal
