"""The bus as services see it: publish, subscribe, and errors that say whose fault it is.

The bus promises nothing (design section 3): messages may be lost, doubled, delayed, reordered, replayed or withheld.
Whatever must not be lost is signed, idempotent, and can be pulled again. `minervas_runtime.mqtt_bus` talks to a real
broker, `minervas_runtime.memory_bus` is one inside the process; one set of tests checks both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.topics import MAX_TOPIC_LENGTH

MAX_PACKET_BYTES = 2_000_000
"""Largest MQTT packet of a Minervas broker (infra/mosquitto), assumed until the broker announces its own."""

PACKET_OVERHEAD_BYTES = 1024
"""Room kept for what a packet carries beside the payload: two topics, correlation data, header."""

MAX_CORRELATION_BYTES = 64
"""Longest correlation data; ours has 16 bytes."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived."""

    topic: str
    """Where it was published: the broker vouches that its publisher may write there."""
    payload: bytes
    """The bytes, not yet checked in any way."""
    retain: bool = False
    """Whether it was kept by the broker since before the subscription."""
    response_topic: str | None = None
    """Where the sender of a request wants the answer."""
    correlation: bytes | None = None
    """Identifies the request that an answer belongs to."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when this client's connection ends, in whatever way."""

    topic: str
    payload: bytes
    retain: bool = True


Handler = Callable[[Message], Awaitable[None] | None]
"""Called on the event loop for each message. Messages of one subscription are handled one after another."""


class BusRefused(LocalFault):
    """The broker does not let us in, and a retry does not help: revoked, expired, unknown CA ..."""


class BusRevoked(BusRefused):
    """The broker has ended our session on the operator's order."""


class BusDenied(LocalFault):
    """The broker lets us in but not do this: our rights do not cover the topic."""


class PayloadTooLarge(LocalFault):
    """More bytes than the broker takes; nothing was sent."""


class BusOffline(TransientFault):
    """No connection to the broker within the time allowed, or no acknowledgement."""


class Bus(Protocol):
    """A connection to the broker under one principal's certificate."""

    @property
    def principal(self) -> str:
        """``<member>.<service>``: common name, client id, and the segment in our topics."""
        ...

    @property
    def connected(self) -> bool:
        """Whether we are connected and all subscriptions are in place."""
        ...

    @property
    def refusal(self) -> BusRefused | None:
        """Why the broker refuses us at present; None while it does not."""
        ...

    @property
    def max_payload_bytes(self) -> int:
        """Largest payload that `publish` accepts."""
        ...

    async def start(self) -> None:
        """Connect; returns after the first success and retries for ever while the broker is away.

        Raises:
            BusRefused: if the broker refuses us for a reason that a retry does not mend.
        """
        ...

    async def stop(self) -> None:
        """Disconnect and end all handlers. The will is published."""
        ...

    async def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """Call `handler` for every message under `topic_filter`, also after reconnects.

        The same filter may be subscribed by several handlers; each gets every message.

        Raises:
            BusDenied: if our rights do not cover the filter.
            BusRefused: if the broker refuses us altogether.
            BusOffline: if there is no connection within the time allowed.
        """
        ...

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
        """Publish; returns once the broker has taken the message over.

        Raises:
            PayloadTooLarge: before anything is sent.
            BusDenied: if our rights do not cover the topic.
            BusRefused: if the broker refuses us altogether.
            BusOffline: if there was no connection or no acknowledgement within the time allowed.
        """
        ...

    def on_connection_change(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` on the event loop with True after each connect and False after each loss."""
        ...


def check_size(
    topic: str, payload: bytes, response_topic: str | None, correlation: bytes | None, max_payload_bytes: int
) -> None:
    """Refuse what the broker would answer with the end of the connection.

    Raises:
        PayloadTooLarge: ``payload_too_large``.
    """
    if len(payload) > max_payload_bytes:
        raise PayloadTooLarge(
            Code.PAYLOAD_TOO_LARGE,
            "The message is larger than the broker takes",
            topic=topic,
            size_bytes=len(payload),
            max_bytes=max_payload_bytes,
        )
    longest = max(len(topic.encode()), len((response_topic or "").encode()))
    if longest > MAX_TOPIC_LENGTH or len(correlation or b"") > MAX_CORRELATION_BYTES:
        raise PayloadTooLarge(
            Code.PAYLOAD_TOO_LARGE, "Topic or correlation data are too long", topic=topic[:MAX_TOPIC_LENGTH]
        )


def revoked_refusal(principal: str) -> BusRevoked:
    """What a client is told whose session the operator has ended."""
    return BusRevoked(
        Code.BUS_REFUSED, "The operator has ended our session with the broker; ask the operator", principal=principal
    )


def taken_over_refusal(principal: str) -> BusRefused:
    """What a client is told after another process connected under its certificate."""
    return BusRefused(
        Code.BUS_REFUSED, "Another process has connected with our certificate; stop one of the two", principal=principal
    )
