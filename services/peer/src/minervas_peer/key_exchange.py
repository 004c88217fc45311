"""The exchange of sender keys, without the bus: messages in, messages out (design section 4, ADR 0015).

* A peer announces its current sender key in a Hello, to everybody.
* Who hears a Hello and may give its own key to that member does so, once for each pair of epochs: a new epoch of
  either side may mean that it started again and has lost all keys.
* A sender key carries its owner's Hello. So whoever gets one can check it and answer likewise, and a pair is complete
  after one Hello, in whatever order both start.
* Lost messages: a frame under an unknown key is asked for; and so is a key that was announced `GRACE_MS` ago.
* A new key goes to everybody who may have it before the first frame is sealed under it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from minervas_core.box import BoxKey
from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidFrame, PeerFault
from minervas_core.frames import SenderKey
from minervas_core.genesis import Genesis
from minervas_core.keys import SigningKey
from minervas_core.messages import (
    KEY_REQUEST_PURPOSE,
    MAX_HELLO_BYTES,
    SENDER_KEY_PURPOSE,
    Hello,
    HelloBody,
    KeyRequest,
    KeyRequestBody,
    SenderKeyBody,
    SenderKeyInfo,
    SenderKeyMessage,
    check_signed,
    sender_key_info,
    sign_hello,
)
from minervas_core.node_messages import Roster
from minervas_core.transactions import ServiceKeys
from minervas_peer.authority_keys import AuthorityKeys
from minervas_peer.introductions import Introductions
from minervas_peer.key_requests import ASK_AGAIN_MS, KeyRequestLimits
from minervas_peer.member_directory import MemberDirectory
from minervas_peer.membership_proof import worth_showing
from minervas_peer.rate_limit import RateLimit
from minervas_peer.sender_keys import MemberKeys
from minervas_runtime.clock import Clock

GRACE_MS = ASK_AGAIN_MS // 2
"""How long an announced key may take to arrive before it is asked for."""

MESSAGE_BURST = 40
MESSAGE_REFILL_MS = 500
"""Hellos, keys and requests taken from one member: each costs up to three signature checks, and two more for each
rotation of its keys that is news to us."""

MAX_KEY_MESSAGE_BYTES = MAX_HELLO_BYTES + 16_384
"""A sender key or key request: its Hello, and 2.5 kB of its own."""

BoxSealer = Callable[[str, bytes, bytes], bytes]
"""Seals (public box key, plaintext, info); it draws randomness and therefore comes from the runtime."""


@dataclass(slots=True)
class Identity:
    """Our member's id, keys, and the transactions that prove its membership.

    All but the id change when the chain registers other keys of ours (`rekey.own_keys`).
    """

    member: str
    wallet: SigningKey
    box: BoxKey
    membership: tuple[bytes, ...]
    other_boxes: tuple[BoxKey, ...] = ()
    """Box keys of ours that are not registered any more, or not yet: others may not know."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish: to everybody (``hello``) or into the inbox of one member's peer."""

    kind: str
    recipient: str
    """Empty for everybody."""
    payload: bytes


class KeyExchange:
    """Our side of all pairwise exchanges. Times are monotonic milliseconds, except in messages."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        identity: Identity,
        directory: MemberDirectory,
        own_key: SenderKey,
        seal: BoxSealer,
        clock: Clock,
        limits: KeyRequestLimits | None = None,
        grace_ms: int = GRACE_MS,
        follow_keys: Callable[[ServiceKeys], bool] = lambda _keys: False,
    ) -> None:
        self.own_key = own_key
        """The key that our frames are sealed under now."""
        self.keys = MemberKeys()
        self._genesis = genesis
        self._identity = identity
        self._directory = directory
        self._seal = seal
        self._clock = clock
        self._limits = limits or KeyRequestLimits()
        self._grace_ms = grace_ms
        self._follow_keys = follow_keys
        """Switches our identity to the keys that our own tip registers; tells whether it changed."""
        self.authorities = AuthorityKeys(genesis, identity.membership)
        """Whose signature counts as the authority's."""
        self._introductions = Introductions(genesis, directory, self.keys, self.authorities)
        self._received = RateLimit(burst=MESSAGE_BURST, refill_ms=MESSAGE_REFILL_MS)
        self._given: dict[str, tuple[int, int]] = {}

    @property
    def given_to(self) -> frozenset[str]:
        """Members who were given our current key."""
        return frozenset(member for member, (epoch, _) in self._given.items() if epoch == self.own_key.epoch)

    # what we send

    def hello(self) -> Outgoing:
        """Our Hello, to everybody."""
        return Outgoing("hello", "", encode(self._own_hello()))

    def resume(self) -> list[Outgoing]:
        """Our Hello, and our key for whoever may have it and was not reached before."""
        return [self.hello(), *self._give_all()]

    def not_given(self, member: str) -> None:
        """Our key could not be sent to this member after all."""
        self._given.pop(member, None)

    def change_key(self, key: SenderKey) -> list[Outgoing]:
        """Start a new epoch: announce the key and give it to everybody who may have it and has said Hello."""
        self.own_key = key
        return self.resume()

    def ask(self, member: str, key_id: str, now_ms: int) -> list[Outgoing]:
        """Ask a member for the key of a frame that we can not open, unless that was done or is too much."""
        if not self._limits.may_ask(member, key_id, now_ms):
            return []
        body = KeyRequestBody(
            network=self._genesis.network,
            sender=self._identity.member,
            recipient=member,
            key_id=key_id,
            sent_at_ms=self._clock.now_ms(),
        )
        request = KeyRequest(body=body, signature=self._sign(KEY_REQUEST_PURPOSE, body), hello=self._own_hello())
        return [Outgoing("key_request", member, encode(request))]

    # what we receive

    def on_hello(self, sender: str, payload: bytes, now_ms: int) -> list[Outgoing]:
        """Take a Hello from the outbox of `sender`.

        Raises:
            InvalidEncoding: if it is malformed.
            PeerFault: if it must be refused; nothing is changed then.
        """
        self._admit(sender, now_ms)
        hello = decode(payload, Hello, max_bytes=MAX_HELLO_BYTES)
        self._introductions.accept(hello, sender, now_ms)
        return self._give_once(sender) + self._ask_if_overdue(sender, now_ms)

    def on_sender_key(self, sender: str, payload: bytes, now_ms: int) -> list[Outgoing]:
        """Take a sender key that `sender` sent to our inbox.

        Raises:
            InvalidEncoding: if it is malformed.
            InvalidFrame: ``frame_unsealable`` if it was not sealed to our box key, ``sender_key_stale`` if it is old.
            PeerFault: if it must be refused otherwise.
        """
        self._admit(sender, now_ms)
        message = decode(payload, SenderKeyMessage, max_bytes=MAX_KEY_MESSAGE_BYTES)
        body = message.body
        self._check_address(sender, body.sender, body.recipient)
        if (body.epoch, body.key_id) != (message.hello.body.epoch, message.hello.body.key_id):
            raise InvalidFrame(Code.BAD_FRAME, "A sender key that its own Hello does not announce", member=sender)
        wallet = self._introductions.accept(message.hello, sender, now_ms).wallet
        check_signed(body, message.signature, network=self._genesis.network, wallet=wallet)
        if self.keys.find(sender, body.key_id) is None:
            self.keys.add(self._open(body))
        return self._give_once(sender)

    def on_key_request(self, sender: str, payload: bytes, now_ms: int) -> list[Outgoing]:
        """Answer a member that holds a frame of ours which it can not open.

        Raises:
            InvalidEncoding: if it is malformed.
            PeerFault: ``member_unknown`` if the member may not have our key (yet), ``rate_limited``, or if the
                request must be refused otherwise.
        """
        self._admit(sender, now_ms)
        request = decode(payload, KeyRequest, max_bytes=MAX_KEY_MESSAGE_BYTES)
        self._check_address(sender, request.body.sender, request.body.recipient)
        wallet = self._introductions.accept(request.hello, sender, now_ms).wallet
        check_signed(request.body, request.signature, network=self._genesis.network, wallet=wallet)
        if not self._directory.may_have_our_key(sender):
            raise PeerFault(Code.MEMBER_UNKNOWN, "Our key goes to members on our own tip only", member=sender)
        if not self._limits.may_answer(sender, now_ms):
            raise PeerFault(Code.RATE_LIMITED, "Too many requests for our key", member=sender)
        return self._give(sender) + self._ask_if_overdue(sender, now_ms)

    def on_roster(self, roster: Roster) -> tuple[list[Outgoing], bool]:
        """Take over the roster of our own tip.

        Returns:
            Keys for members who may have ours from now on; and whether somebody who holds our key, or held it, may
            no longer have it, so that a new epoch must begin.
        """
        change = self._directory.apply(roster)
        for member in change.ended:
            self.keys.forget(member)
        strangers = self.given_to - self._directory.active
        registered = self._directory.registered(self._identity.member)
        must_change = bool(
            (registered is not None and self._follow_keys(registered))
            or change.lost
            or change.ended & self.given_to
            or change.rekeyed & self.given_to
            or (change.settled and strangers)
        )
        for member in change.lost | change.ended | change.rekeyed:
            self._given.pop(member, None)
        return ([] if must_change else self._give_all()), must_change

    def _admit(self, sender: str, now_ms: int) -> None:
        if not self._received.allow(sender, now_ms):
            raise PeerFault(Code.RATE_LIMITED, "Too many messages about keys", member=sender)

    def _check_address(self, topic_sender: str, sender: str, recipient: str) -> None:
        if sender != topic_sender or recipient != self._identity.member:
            raise InvalidFrame(
                Code.FRAME_FOREIGN_SENDER,
                "Sender or recipient is not who the topic says",
                sender=sender,
                recipient=recipient,
                topic_member=topic_sender,
            )

    def _open(self, body: SenderKeyBody) -> SenderKey:
        """Open it with our box key, or with one that the sender still, or already, takes for ours."""
        sealed, info = bytes.fromhex(body.sealed), sender_key_info(body)
        *others, last = (self._identity.box, *self._identity.other_boxes)
        for box in others:
            try:
                return SenderKey(body.sender, body.epoch, body.key_id, box.open(sealed, info))
            except InvalidFrame:
                continue
        return SenderKey(body.sender, body.epoch, body.key_id, last.open(sealed, info))

    def _ask_if_overdue(self, member: str, now_ms: int) -> list[Outgoing]:
        missing = self.keys.missing(member)
        if missing is None or now_ms - missing[1] < self._grace_ms:
            return []
        return self.ask(member, missing[0], now_ms)

    def _give_all(self) -> list[Outgoing]:
        return [message for member in self.keys.announcers() for message in self._give_once(member)]

    def _give_once(self, member: str) -> list[Outgoing]:
        """Give our key if the member may have it and was not given it in these two epochs."""
        pair = (self.own_key.epoch, self.keys.announced_epoch(member) or 0)
        if self._given.get(member) == pair or not self._directory.may_have_our_key(member):
            return []
        return self._give(member)

    def _give(self, member: str) -> list[Outgoing]:
        key = self.own_key
        info = SenderKeyInfo(
            network=self._genesis.network,
            sender=self._identity.member,
            recipient=member,
            epoch=key.epoch,
            key_id=key.key_id,
        )
        sealed = self._seal(self._directory.keys(member).box, key.secret, sender_key_info(info))
        body = SenderKeyBody(sealed=sealed.hex(), **msgspec.structs.asdict(info))
        message = SenderKeyMessage(body=body, signature=self._sign(SENDER_KEY_PURPOSE, body), hello=self._own_hello())
        self._given[member] = (key.epoch, self.keys.announced_epoch(member) or 0)
        return [Outgoing("sender_key", member, encode(message))]

    def _own_hello(self) -> Hello:
        body = HelloBody(
            network=self._genesis.network,
            member=self._identity.member,
            epoch=self.own_key.epoch,
            key_id=self.own_key.key_id,
            sent_at_ms=self._clock.now_ms(),
            membership=[msgspec.Raw(raw) for raw in worth_showing(self._identity.membership)],
        )
        return sign_hello(body, self._identity.wallet)

    def _sign(self, purpose: str, body: SenderKeyBody | KeyRequestBody) -> str:
        return self._identity.wallet.sign(purpose, self._genesis.network, encode(body))
