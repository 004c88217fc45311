"""Requests and messages between members, and between members and admission, over inbox topics.

The payload is not touched: whether it is plain or sealed is the caller's business. Messages of the own member are left
to `minervas_runtime.node_link`. Rules:

* A reply goes to ``inbox/v1/<requester>/<us>/reply`` with the request's correlation data. The topic is derived from
  the request's own; a request that names another response topic is refused, or it could make us write elsewhere.
* A reply counts only if it comes from the topic of the party that was asked.
* A request that was seen before is dropped: brokers may deliver twice.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from minervas_core.errors import Code, InvalidFrame, MinervasError
from minervas_core.identifiers import Principal, parse_principal
from minervas_core.topics import REPLY, InboxTopic, inbox, inbox_filter, parse_topic
from minervas_runtime.bus import Bus, Message
from minervas_runtime.clock import Clock
from minervas_runtime.handler_queue import HandlerQueue
from minervas_runtime.metrics import HANDLER_ERRORS, REFUSALS
from minervas_runtime.pending_replies import CORRELATION_BYTES, PendingReplies
from minervas_runtime.request_gate import RequestGate

log = logging.getLogger(__name__)

EXPIRY_S = 60
"""How long the broker keeps a message for somebody who is slow (design section 3)."""

Payload = bytes | Callable[[str, bytes], bytes]
"""The bytes, or a function of topic and correlation data that makes them: sealed frames are bound to both."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request or message that came in."""

    sender: Principal
    """Whose inbox topic it came on; the broker vouches for it."""
    kind: str
    topic: str
    payload: bytes
    correlation: bytes
    """Empty for a message that wants no answer."""
    reply_topic: str
    """Where the answer will be published."""


Serve = Callable[[Request], Awaitable[bytes | None]]
"""Answers a request; None means no answer. A sealed answer is bound to `reply_topic` and `correlation`."""
Listen = Callable[[Request], Awaitable[None] | None]
"""Takes a message that wants no answer."""


class Requester:
    """Asks other members' services, and answers them. Call `start` before the first request."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._me = parse_principal(bus.principal)
        self._pending = PendingReplies()
        self._gate = RequestGate(clock.now_ms)
        self._servers: dict[str, Serve] = {}
        self._listeners: dict[str, HandlerQueue] = {}

    def serve(self, kind: str, function: Serve) -> None:
        """Answer requests of a kind with what `function` returns; requests run side by side."""
        self._servers[kind] = function

    def listen(self, kind: str, function: Listen) -> None:
        """Hand over messages of a kind that want no answer, one after another."""

        def handle(message: Message) -> Awaitable[None] | None:
            return function(self._request_of(message))

        self._listeners[kind] = HandlerQueue(f"inbox {kind}", handle)

    async def start(self) -> None:
        """Subscribe to our inbox.

        Raises:
            BusDenied: if our rights do not cover it.
            BusOffline: if there is no connection.
        """
        await self._bus.subscribe(inbox_filter(self._me), self._receive)

    async def stop(self) -> None:
        """Cancel the requests that are being answered."""
        await self._gate.close()
        for queue in self._listeners.values():
            await queue.close()

    async def request(self, to_member: str, to_service: str, kind: str, payload: Payload, timeout_s: float) -> Message:
        """Ask a service of another member and return its reply.

        Raises:
            NoReply: ``timeout``.
            BusOffline, BusDenied, BusRefused, PayloadTooLarge: as `Bus.publish`.
        """
        topic = InboxTopic(Principal(to_member, to_service), self._me, kind)
        with self._pending.expect(str(topic.reply())) as expected:
            await self._bus.publish(
                str(topic),
                _made(payload, str(topic), expected.correlation),
                expiry_s=EXPIRY_S,
                response_topic=expected.reply_topic,
                correlation=expected.correlation,
            )
            return await expected.wait(timeout_s)

    async def send(self, to_member: str, to_service: str, kind: str, payload: Payload) -> None:
        """Send a message that wants no answer.

        Raises:
            BusOffline, BusDenied, BusRefused, PayloadTooLarge: as `Bus.publish`.
        """
        topic = inbox(Principal(to_member, to_service), self._me, kind)
        await self._bus.publish(topic, _made(payload, topic, b""), expiry_s=EXPIRY_S)

    def _receive(self, message: Message) -> None:
        topic = parse_topic(message.topic)
        if not isinstance(topic, InboxTopic) or topic.sender.member == self._me.member:
            return
        try:
            self._dispatch(message, topic)
        except MinervasError as error:
            self._refuse(topic, error)

    def _dispatch(self, message: Message, topic: InboxTopic) -> None:
        if topic.kind == REPLY:
            if not self._pending.settle(message):
                raise InvalidFrame(Code.NOT_FOUND, "Reply to no request of ours", topic=message.topic)
        elif message.correlation is None and topic.kind in self._listeners:
            self._listeners[topic.kind].put(message)
        elif message.correlation is not None and topic.kind in self._servers:
            self._admit(message, topic)
        else:
            raise InvalidFrame(Code.UNKNOWN_TYPE, "Nothing here takes this kind", topic=message.topic)

    def _admit(self, message: Message, topic: InboxTopic) -> None:
        """Let a request in, if it is in order.

        Raises:
            InvalidFrame: ``bad_frame``, ``bad_topic`` or ``rate_limited``.
        """
        request = self._request_of(message)
        if len(request.correlation) != CORRELATION_BYTES:
            raise InvalidFrame(Code.BAD_FRAME, "Correlation data must have 16 bytes", topic=message.topic)
        if message.response_topic != request.reply_topic:
            raise InvalidFrame(
                Code.BAD_TOPIC, "The answer is wanted elsewhere than in the sender's inbox", topic=message.topic
            )
        if self._gate.is_repeated(message.topic, request.correlation):
            return
        if not self._gate.has_room(str(topic.sender)):
            raise InvalidFrame(Code.RATE_LIMITED, "Too many requests of one sender at once", topic=message.topic)
        self._gate.run(str(topic.sender), self._answer(request, topic))

    async def _answer(self, request: Request, topic: InboxTopic) -> None:
        try:
            answer = await self._servers[request.kind](request)
            if answer is not None:
                await self._bus.publish(request.reply_topic, answer, expiry_s=EXPIRY_S, correlation=request.correlation)
        except MinervasError as error:
            self._refuse(topic, error)
        except Exception:
            HANDLER_ERRORS.labels(f"request {request.kind}").inc()
            log.exception("request_failed", extra={"fields": {"topic": request.topic}})

    def _request_of(self, message: Message) -> Request:
        topic = parse_topic(message.topic)
        if not isinstance(topic, InboxTopic):
            raise InvalidFrame(Code.BAD_TOPIC, "Not an inbox", topic=message.topic)
        return Request(
            sender=topic.sender,
            kind=topic.kind,
            topic=message.topic,
            payload=message.payload,
            correlation=message.correlation or b"",
            reply_topic=str(topic.reply()),
        )

    def _refuse(self, topic: InboxTopic, error: MinervasError) -> None:
        known = topic.kind == REPLY or topic.kind in self._servers or topic.kind in self._listeners
        REFUSALS.labels(self._me.role, topic.kind if known else "unknown", error.code).inc()
        fields = {"topic": str(topic), "code": error.code, "reason": str(error)}
        log.info("inbox_refused", extra={"fields": fields})


def _made(payload: Payload, topic: str, correlation: bytes) -> bytes:
    made = payload if isinstance(payload, bytes) else payload(topic, correlation)
    if inspect.isawaitable(made):
        raise TypeError("a payload is made without awaiting anything")
    return made
