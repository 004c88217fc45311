"""One MQTT connection from CONNECT to its end, on a paho client of its own.

Every connection gets a new client, so nothing of an earlier one (queued or unacknowledged messages, topic aliases,
states) can come back. paho's thread reads and writes; its callbacks only hand results over to the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from minervas_core.errors import LocalFault
from minervas_runtime.bus import MAX_PACKET_BYTES, Message, Will
from minervas_runtime.daemon_thread import run_in_daemon_thread
from minervas_runtime.tls_diagnosis import client_context

DISCONNECT_WITH_WILL = 0x04
"""MQTT 5 reason code: an orderly end, and yet publish the will."""

CLOSE_TIMEOUT_S = 0.5
"""How long an orderly DISCONNECT may take before the socket is cut."""


@dataclass(frozen=True, slots=True)
class BusSettings:
    """How to reach the broker, and as whom."""

    host: str
    port: int
    ca_file: Path
    cert_file: Path
    key_file: Path
    principal: str
    """``<member>.<service>``, the certificate's common name."""
    will: Will | None = None
    keepalive_s: int = 30
    connect_timeout_s: float = 5.0
    """For TCP, TLS and CONNACK each."""
    publish_timeout_s: float = 10.0
    """How long publish and subscribe wait for a connection and the acknowledgement."""
    retry_min_s: float = 0.25
    retry_max_s: float = 5.0
    """Pause before a new attempt while the broker is away: doubles from min to max, with jitter."""
    refused_retry_s: float = 60.0
    """Pause before a new attempt after the broker has refused us or the operator has ended our session."""
    max_in_flight: int = 100
    """Publishes under way at once; infra/mosquitto accepts 100."""


class ConnectionLost(Exception):  # an event, never seen outside the bus
    """The connection ended before an acknowledgement came."""


class Closed(Exception):  # doubles as the result of a connection that ended in its time
    """How a connection ended.

    Attributes:
        reason: MQTT 5 reason code that the broker gave in CONNACK or DISCONNECT, or None.
        text: for the log.
        error: what TCP or TLS raised, if that was it.
    """

    def __init__(self, text: str, *, reason: int | None = None, error: OSError | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.error = error


class MqttConnection:
    """One connection; make a new one for the next. Belongs to the event loop."""

    def __init__(self, settings: BusSettings, deliver: Callable[[Message], None]) -> None:
        """Prepare.

        Args:
            settings: where and as whom.
            deliver: gets every message, on paho's thread.
        """
        self.max_packet_bytes = MAX_PACKET_BYTES
        self._settings = settings
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._acks: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[Closed] = self._loop.create_future()
        self._abandoned = False
        """Set once nobody wants this connection any more, perhaps while a thread is still connecting it."""
        self._client = self._make_client()

    async def open(self) -> None:
        """Connect and wait for CONNACK: in TLS 1.3 nothing earlier proves that the broker lets us in.

        Raises:
            Closed: if there is no CONNACK, or one that refuses.
            LocalFault: ``bad_key_file`` if our own TLS files are unusable.
        """
        try:
            await run_in_daemon_thread(self._connect, f"connect {self._settings.principal}")
        except LocalFault:
            raise
        except (OSError, ValueError) as error:
            os_error = error if isinstance(error, OSError) else OSError(str(error))
            raise Closed(getattr(error, "strerror", None) or str(error), error=os_error) from error
        ends: tuple[asyncio.Future[Any], ...] = (self._opened, self._closed)
        done, _ = await asyncio.wait(
            ends, timeout=self._settings.connect_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            self._cut()
            raise Closed("the broker does not answer CONNECT", error=TimeoutError())
        if self._closed.done():
            raise self._closed.result()

    async def wait_closed(self) -> Closed:
        """Return how it ended, once it has ended."""
        return await asyncio.shield(self._closed)

    async def close(self) -> None:
        """Disconnect in an orderly way if that has not happened, and free everything. The will is published."""
        self._abandoned = True
        code = ReasonCode(PacketTypes.DISCONNECT, identifier=DISCONNECT_WITH_WILL if self._settings.will else 0)
        if self._client.disconnect(code) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            await asyncio.wait({self._closed}, timeout=CLOSE_TIMEOUT_S)
            if not self._closed.done():
                self._cut()
                await asyncio.wait({self._closed}, timeout=CLOSE_TIMEOUT_S)
        if self._closed.done():
            self._client.loop_stop()  # the thread is at its end: this waits for microseconds
            self._client.reinitialise()  # closes the sockets with which its thread was woken

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool,
        expiry_s: int | None,
        response_topic: str | None,
        correlation: bytes | None,
    ) -> ReasonCode:
        """Publish with QoS 1 and return the broker's reason code.

        Raises:
            ConnectionLost: if the connection ended before.
        """
        properties = _properties(PacketTypes.PUBLISH)
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        if correlation is not None:
            properties.CorrelationData = correlation
        async with self._slots:
            self._check_open()
            info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
            return (await self._acknowledged(info.mid))[0]

    async def subscribe(self, filters: list[str]) -> list[ReasonCode]:
        """Subscribe with QoS 1 and return the broker's reason code for each filter.

        Raises:
            ConnectionLost: if the connection ended before.
        """
        self._check_open()
        _, mid = self._client.subscribe([(topic_filter, SubscribeOptions(qos=1)) for topic_filter in filters])
        if mid is None:
            raise ConnectionLost
        return await self._acknowledged(mid)

    def _check_open(self) -> None:
        if self._closed.done():
            raise ConnectionLost

    async def _acknowledged(self, mid: int) -> list[ReasonCode]:
        """Wait for PUBACK or SUBACK. It arrives through the event loop, so it cannot come before we wait."""
        ack: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._acks[mid] = ack
        try:
            return await ack
        finally:
            self._acks.pop(mid, None)

    def _make_client(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.principal,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.suppress_exceptions = True  # an exception in a callback must not end paho's thread
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages_set(settings.max_in_flight)  # has no effect after connect
        if settings.will:
            client.will_set(settings.will.topic, settings.will.payload, qos=1, retain=settings.will.retain)
        client.on_socket_open = _set_no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _connect(self) -> None:
        """Connect (blocks) and start paho's thread; reads the TLS files anew, so renewed ones are used."""
        settings = self._settings
        context = client_context(settings.ca_file, settings.cert_file, settings.key_file)
        context.sslsocket_class = _TidySocket
        self._client.tls_set_context(context)
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        self._client.connect(
            settings.host, settings.port, settings.keepalive_s, clean_start=True, properties=properties
        )
        if self._abandoned:
            self._client.reinitialise()
        else:
            self._client.loop_start()

    def _cut(self) -> None:
        """End paho's thread if it still runs: a copy of the descriptor is shut down, paho closes its own."""
        held = self._client.socket()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if held is not None:
                with socket.socket(fileno=os.dup(held.fileno())) as copy:
                    copy.shutdown(socket.SHUT_RDWR)

    # Callbacks: all run on paho's thread.

    def _on_connect(
        self, _client: object, _data: object, _flags: object, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._hand_over(self._settle_closed, Closed(f"CONNACK: {code.getName()}", reason=code.value))
        else:
            size = getattr(properties, "MaximumPacketSize", MAX_PACKET_BYTES)
            self._hand_over(self._settle_opened, min(int(size), MAX_PACKET_BYTES))

    def _on_disconnect(self, _client: object, _data: object, flags: Any, code: ReasonCode, _properties: object) -> None:
        reason = code.value if flags.is_disconnect_packet_from_server else None
        self._hand_over(self._settle_closed, Closed(code.getName(), reason=reason))

    def _on_publish(self, _client: object, _data: object, mid: int, code: ReasonCode, _properties: object) -> None:
        self._hand_over(self._settle_ack, mid, [code])

    def _on_subscribe(
        self, _client: object, _data: object, mid: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        self._hand_over(self._settle_ack, mid, list(codes))

    def _on_message(self, _client: object, _data: object, received: paho.MQTTMessage) -> None:
        properties = received.properties
        self._deliver(
            Message(
                topic=received.topic,
                payload=bytes(received.payload),
                retain=bool(received.retain),
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            )
        )

    def _hand_over(self, settle: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(settle, *arguments)

    # What the callbacks hand over; on the event loop.

    def _settle_opened(self, max_packet_bytes: int) -> None:
        self.max_packet_bytes = max_packet_bytes
        if not self._opened.done():
            self._opened.set_result(None)

    def _settle_closed(self, closed: Closed) -> None:
        if not self._closed.done():
            self._closed.set_result(closed)
        for ack in self._acks.values():
            if not ack.done():
                ack.set_exception(ConnectionLost())

    def _settle_ack(self, mid: int, codes: list[ReasonCode]) -> None:
        ack = self._acks.get(mid)
        if ack is not None and not ack.done():
            ack.set_result(codes)


class _TidySocket(ssl.SSLSocket):
    """paho does not close its socket when the handshake fails: every refusal would leak one."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # the signature of ssl.SSLSocket
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho leaves this constructor without types


def _set_no_delay(_client: object, _data: object, opened: Any) -> None:
    """Without it a request and its reply take 44 ms longer; paho leaves it off."""
    if isinstance(opened, (socket.socket, ssl.SSLSocket)):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
