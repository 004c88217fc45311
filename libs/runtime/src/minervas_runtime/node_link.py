"""Messages between the services of one node, sealed under the node key (design section 4).

A request carries correlation data and gets a `Reply`; an event carries none. Events of one kind are handled one after
another in the order of arrival, requests side by side. What does not open under the node key is refused and counted:
the broker's operator can write to these topics, but not seal.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import Code, InvalidFrame, LocalFault, MinervasError, TransientFault
from minervas_core.frames import open_frame, parse_frame, seal_node
from minervas_core.identifiers import Principal
from minervas_core.messages import MAX_CONTENT_BYTES, Failure, Reply
from minervas_core.topics import REPLY, InboxTopic, inbox_filter, parse_topic
from minervas_runtime.bus import Bus, Message
from minervas_runtime.clock import Clock, SystemClock, monotonic_ms
from minervas_runtime.handler_queue import HandlerQueue
from minervas_runtime.metrics import HANDLER_ERRORS, REFUSALS
from minervas_runtime.pending_replies import PendingReplies
from minervas_runtime.randomness import new_frame_nonce
from minervas_runtime.request_gate import MAX_RUNNING, RequestGate

log = logging.getLogger(__name__)

EXPIRY_S = 60

Body = TypeVar("Body", bound=Record)
Answer = TypeVar("Answer", bound=Record)

Handle = Callable[[Body, str], Awaitable[Record | None]]
"""Takes the body and the name of the service that sent it; for a request it returns the answer."""

_PASSING = frozenset(
    {
        Code.BUS_OFFLINE,
        Code.TIMEOUT,
        Code.DATABASE_AWAY,
        Code.NOT_READY,
        Code.PEER_UNREACHABLE,
        Code.RATE_LIMITED,
        Code.DISK_LOW,
    }
)


class RemoteError(MinervasError):
    """The other service refused our request; the code is its own."""


class RemoteTrouble(RemoteError, TransientFault):
    """The other service could not do it now; the same request may work later."""


class RemoteFault(RemoteError, LocalFault):
    """The other service refused the request for good."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is known of one kind of message."""

    body_type: type[Record]
    handle: Handle[Any]
    events: HandlerQueue


class NodeLink:
    """Our end of the link between the services of a node. Call `start` before the first request.

    Args:
        bus: the connection.
        node_key: 32 bytes that all services of the node share.
        member: whose node it is.
        service: which service we are.
        network: network id.
        clock: for the time that frames carry.
    """

    def __init__(
        self, bus: Bus, node_key: bytes, member: str, service: str, network: str, *, clock: Clock | None = None
    ) -> None:
        self._bus = bus
        self._node_key = node_key
        self._me = Principal(member, service)
        self._network = network
        self._clock = clock or SystemClock()
        self._kinds: dict[str, _Kind] = {}
        self._pending = PendingReplies()
        self._gate = RequestGate(monotonic_ms, max_per_sender=MAX_RUNNING)

    def on(self, kind: str, body_type: type[Body], handler: Handle[Body]) -> None:
        """Handle messages of one kind; what `handler` raises as `MinervasError` goes back to the requester."""

        async def handle_event(message: Message) -> None:
            topic, plaintext = self._open(message)
            await handler(decode(plaintext, body_type, max_bytes=MAX_CONTENT_BYTES), topic.sender.service)

        self._kinds[kind] = _Kind(body_type, handler, HandlerQueue(f"node {kind}", handle_event))

    async def start(self) -> None:
        """Subscribe to our inbox.

        Raises:
            BusDenied: if our rights do not cover it.
            BusOffline: if there is no connection.
        """
        await self._bus.subscribe(inbox_filter(self._me), self._receive)

    async def stop(self) -> None:
        """Cancel what is being handled."""
        await self._gate.close()
        for kind in self._kinds.values():
            await kind.events.close()

    async def send(self, service: str, kind: str, body: Record) -> None:
        """Send an event to another service of our node.

        Raises:
            BusOffline, BusDenied, BusRefused, PayloadTooLarge: as `Bus.publish`.
        """
        topic = str(InboxTopic(Principal(self._me.member, service), self._me, kind))
        await self._bus.publish(topic, self._seal(encode(body), topic, b""), expiry_s=EXPIRY_S)

    async def request(
        self, service: str, kind: str, body: Record, reply_type: type[Answer], timeout_s: float
    ) -> Answer:
        """Ask another service of our node.

        Raises:
            RemoteFault: if it refused; code and message are its own.
            RemoteTrouble: if it could not do it now.
            NoReply: ``timeout``.
            BusOffline, BusDenied, BusRefused, PayloadTooLarge: as `Bus.publish`.
        """
        topic = InboxTopic(Principal(self._me.member, service), self._me, kind)
        with self._pending.expect(str(topic.reply())) as expected:
            await self._bus.publish(
                str(topic),
                self._seal(encode(body), str(topic), expected.correlation),
                expiry_s=EXPIRY_S,
                response_topic=expected.reply_topic,
                correlation=expected.correlation,
            )
            message = await expected.wait(timeout_s)
        _, plaintext = self._open(message)
        reply = decode(plaintext, Reply, max_bytes=MAX_CONTENT_BYTES)
        if isinstance(reply.failure, Failure):
            raise _remote_error(reply.failure, service, kind)
        raw = b"{}" if isinstance(reply.body, msgspec.UnsetType) else bytes(reply.body)
        return decode(raw, reply_type, max_bytes=MAX_CONTENT_BYTES)

    def _seal(self, plaintext: bytes, topic: str, correlation: bytes) -> bytes:
        return seal_node(
            plaintext,
            topic=topic,
            correlation=correlation,
            network=self._network,
            member=self._me.member,
            node_key=self._node_key,
            nonce=new_frame_nonce(),
            sent_at_ms=self._clock.now_ms(),
        )

    def _open(self, message: Message) -> tuple[InboxTopic, bytes]:
        """Check and open a frame.

        Raises:
            InvalidFrame: whatever is wrong with it.
        """
        topic = parse_topic(message.topic)
        frame = parse_frame(message.payload, self._network)
        if not isinstance(topic, InboxTopic) or frame.header.sender != topic.sender.member:
            raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Frame of another member", topic=message.topic)
        plaintext = open_frame(
            frame, topic=message.topic, correlation=message.correlation or b"", secret=self._node_key
        )
        return topic, plaintext

    def _receive(self, message: Message) -> None:
        topic = parse_topic(message.topic)
        if not isinstance(topic, InboxTopic) or topic.sender.member != self._me.member:
            return
        try:
            self._dispatch(message, topic)
        except MinervasError as error:
            self._refuse(topic, error)

    def _dispatch(self, message: Message, topic: InboxTopic) -> None:
        kind = self._kinds.get(topic.kind)
        if topic.kind == REPLY:
            if not self._pending.settle(message):
                raise InvalidFrame(Code.NOT_FOUND, "Reply to no request of ours", topic=message.topic)
        elif kind is None:
            raise InvalidFrame(Code.UNKNOWN_TYPE, "Nothing here takes this kind", topic=message.topic)
        elif message.correlation is None:
            kind.events.put(message)
        elif not self._gate.is_repeated(message.topic, message.correlation):
            has_room = self._gate.has_room(str(topic.sender))
            self._gate.run(str(topic.sender), self._answer(message, topic, kind, has_room=has_room))

    async def _answer(self, message: Message, topic: InboxTopic, kind: _Kind, *, has_room: bool) -> None:
        """Answer one request; whoever cannot seal under the node key gets no answer at all."""
        correlation = message.correlation or b""
        try:
            _, plaintext = self._open(message)
        except MinervasError as error:
            self._refuse(topic, error)
            return
        reply = await self._reply_to(plaintext, topic, kind) if has_room else _BUSY
        try:
            target = str(topic.reply())
            sealed = self._seal(encode(reply), target, correlation)
            await self._bus.publish(target, sealed, expiry_s=EXPIRY_S, correlation=correlation)
        except MinervasError as error:
            fields = {"topic": str(topic), "code": error.code, "reason": str(error)}
            log.warning("reply_failed", extra={"fields": fields})

    async def _reply_to(self, plaintext: bytes, topic: InboxTopic, kind: _Kind) -> Reply:
        try:
            body = decode(plaintext, kind.body_type, max_bytes=MAX_CONTENT_BYTES)
            answer = await kind.handle(body, topic.sender.service)
            return Reply(body=msgspec.Raw(b"{}" if answer is None else encode(answer)))
        except MinervasError as error:
            self._refuse(topic, error)
            return Reply(failure=Failure(code=error.code, message=str(error)))
        except Exception:
            HANDLER_ERRORS.labels(f"node {topic.kind}").inc()
            log.exception("request_failed", extra={"fields": {"topic": str(topic)}})
            return Reply(failure=Failure(code=Code.INTERNAL, message="Unexpected error; see the log of that service"))

    def _refuse(self, topic: InboxTopic, error: MinervasError) -> None:
        known = topic.kind == REPLY or topic.kind in self._kinds
        REFUSALS.labels(self._me.role, topic.kind if known else "unknown", error.code).inc()
        fields = {"topic": str(topic), "code": error.code, "reason": str(error)}
        log.info("node_message_refused", extra={"fields": fields})


_BUSY = Reply(failure=Failure(code=Code.RATE_LIMITED, message="Too many requests at once"))


def _remote_error(failure: Failure, service: str, kind: str) -> RemoteError:
    """A failure of the other service as our exception; an unknown code of a newer version counts as internal."""
    try:
        code = Code(failure.code)
    except ValueError:
        return RemoteFault(Code.INTERNAL, failure.message, service=service, kind=kind, remote_code=failure.code)
    family = RemoteTrouble if code in _PASSING else RemoteFault
    return family(code, failure.message, service=service, kind=kind)
