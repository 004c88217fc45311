"""The exchange of sender keys without a bus: who gets a key, when, and what is refused.

`Network` carries the messages of several exchanges, in random order if wanted, and can lose some of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidEncoding, PeerFault
from minervas_core.frames import SenderKey
from minervas_core.messages import Hello, KeyRequest, SenderKeyMessage
from minervas_peer.key_exchange import MESSAGE_BURST, KeyExchange, Outgoing
from minervas_peer.key_requests import ANSWER_BURST, ASK_BURST
from minervas_peer.member_directory import MemberDirectory, Standing
from minervas_runtime.clock import ManualClock
from tests.support.peer import NOW_MS, Consortium, Member, roster, seal_to_box
from tests.support.seed import seeded_random

CONSORTIUM = Consortium()
A, B, C, D = (CONSORTIUM.member(name) for name in ("anna", "bert", "cara", "dora"))
Loss = Callable[[str, str, Outgoing], bool]


class Side:
    """One member's exchange."""

    def __init__(self, member: Member, *, epoch: int = NOW_MS, has_roster: bool = True) -> None:
        self.member = member
        self.directory = MemberDirectory(member.name)
        self.exchange = KeyExchange(
            genesis=CONSORTIUM.genesis,
            identity=member.identity,
            directory=self.directory,
            own_key=member.sender_key(epoch),
            seal=seal_to_box,
            clock=ManualClock(NOW_MS),
        )
        if has_roster:
            self.exchange.on_roster(roster())

    def has_key_of(self, other: Side) -> bool:
        key: SenderKey = other.exchange.own_key
        return self.exchange.keys.find(other.member.name, key.key_id) == key


class Network:
    """Carries messages between exchanges until there are none."""

    def __init__(self, *sides: Side, order: random.Random | None = None, loses: Loss | None = None) -> None:
        self.sides = {side.member.name: side for side in sides}
        self.now_ms = 1_000
        self.order = order
        self.loses = loses or (lambda *_: False)
        self.queue: list[tuple[str, str, Outgoing]] = []
        self.delivered: list[tuple[str, str, str]] = []
        self.refused: list[tuple[str, Code]] = []

    def send(self, sender: str, messages: list[Outgoing]) -> None:
        for message in messages:
            recipients = [message.recipient] if message.recipient else [name for name in self.sides if name != sender]
            self.queue += [(sender, to, message) for to in recipients if not self.loses(sender, to, message)]

    def hello(self, *names: str) -> None:
        for name in names or self.sides:
            self.send(name, [self.sides[name].exchange.hello()])

    def run(self) -> None:
        while self.queue:
            sender, to, message = self.queue.pop(self.order.randrange(len(self.queue)) if self.order else 0)
            self.delivered.append((sender, to, message.kind))
            handle = getattr(self.sides[to].exchange, f"on_{message.kind}")
            try:
                self.send(to, handle(sender, message.payload, self.now_ms))
            except PeerFault as refusal:
                self.refused.append((to, refusal.code))

    def roster(self, *active: Member, revoked: tuple[Member, ...] = (), at: tuple[str, ...] = ()) -> list[str]:
        """Give all (or some) the same roster; returns who must change its key."""
        changing = []
        for name in at or self.sides:
            messages, must_change = self.sides[name].exchange.on_roster(roster(active, revoked))
            self.send(name, messages)
            changing += [name] if must_change else []
        return changing

    def complete(self) -> bool:
        return all(one.has_key_of(two) for one in self.sides.values() for two in self.sides.values() if one is not two)


def hello_of(side: Side) -> Hello:
    return msgspec.json.decode(side.exchange.hello().payload, type=Hello)


def key_message(giver: Side, taker: Side) -> bytes:
    """What `giver` sends when it hears a Hello of `taker`."""
    (message,) = giver.exchange.on_hello(taker.member.name, taker.exchange.hello().payload, 0)
    assert message.kind == "sender_key"
    return message.payload


def request_of(asker: Side, owner: Side, now_ms: int = 0) -> bytes:
    (message,) = asker.exchange.ask(owner.member.name, owner.exchange.own_key.key_id, now_ms)
    return message.payload


# convergence


@pytest.mark.parametrize("first", [A.name, B.name])
def test_one_hello_completes_a_pair_whoever_says_it(first: str) -> None:
    network = Network(Side(A), Side(B))
    network.hello(first)
    network.run()
    assert network.complete()
    assert [kind for *_, kind in network.delivered] == ["hello", "sender_key", "sender_key"]


@pytest.mark.parametrize("number", range(20))
def test_newcomers_converge_in_any_order_of_messages(number: int) -> None:
    network = Network(*map(Side, (A, B, C, D)), order=seeded_random(f"order {number}"))
    network.hello()
    network.run()
    assert network.complete()


@pytest.mark.parametrize("number", range(20))
def test_lost_messages_are_made_up_for_by_later_hellos(number: int) -> None:
    chance = seeded_random(f"loss {number}")
    network = Network(*map(Side, (A, B, C, D)), order=chance, loses=lambda *_: chance.random() < 0.5)
    network.hello()
    network.run()
    network.loses = lambda *_: False
    for _ in range(3):
        network.now_ms += 30_000
        network.hello()
        network.run()
    assert network.complete()


def test_a_complete_pair_says_nothing_more_on_periodic_hellos() -> None:
    network = Network(Side(A), Side(B))
    network.hello()
    network.run()
    network.delivered.clear()
    network.now_ms += 30_000
    network.hello()
    network.run()
    assert [kind for *_, kind in network.delivered] == ["hello", "hello"]


def test_a_peer_that_started_again_gets_all_keys_again() -> None:
    network = Network(Side(A), Side(B), Side(C))
    network.hello()
    network.run()
    network.sides[A.name] = Side(A, epoch=NOW_MS + 1)
    network.hello(A.name)
    network.run()
    assert network.complete()


def test_a_new_key_reaches_everybody_before_any_frame_and_earlier_keys_still_open_frames_under_way() -> None:
    network = Network(Side(A), Side(B))
    network.hello()
    network.run()
    old, new = A.sender_key(NOW_MS), A.sender_key(NOW_MS + 1)
    messages = network.sides[A.name].exchange.change_key(new)
    assert [message.kind for message in messages] == ["hello", "sender_key"]
    network.send(A.name, messages)
    network.run()
    keys = network.sides[B.name].exchange.keys
    assert keys.find(A.name, new.key_id) == new
    assert keys.find(A.name, old.key_id) == old


def test_only_the_few_latest_keys_of_a_member_are_kept() -> None:
    network = Network(Side(A), Side(B))
    network.hello()
    network.run()
    for step in range(1, 10):
        network.send(A.name, network.sides[A.name].exchange.change_key(A.sender_key(NOW_MS + step)))
        network.run()
    keys = network.sides[B.name].exchange.keys
    kept = [step for step in range(10) if keys.find(A.name, A.sender_key(NOW_MS + step).key_id)]
    assert kept == [6, 7, 8, 9]


# who is given our key


def test_a_newcomer_gives_its_key_to_whoever_proved_an_admission() -> None:
    newcomer, other = Side(A), Side(B)
    assert key_message(newcomer, other)
    assert newcomer.exchange.given_to == {B.name}


def test_nobody_is_given_our_key_before_our_ledger_has_told_a_roster() -> None:
    started_again, other = Side(A, has_roster=False), Side(B)
    assert started_again.exchange.on_hello(B.name, other.exchange.hello().payload, 0) == []
    messages, _ = started_again.exchange.on_roster(roster([A, B]))
    assert [message.recipient for message in messages] == [B.name]


def test_a_settled_member_gives_nothing_to_a_member_that_is_not_on_its_tip() -> None:
    settled, newcomer = Side(A), Side(B)
    settled.exchange.on_roster(roster([A]))
    assert settled.exchange.on_hello(B.name, newcomer.exchange.hello().payload, 0) == []
    assert settled.directory.standing(B.name) is Standing.INTRODUCED
    with pytest.raises(PeerFault) as refusal:
        settled.exchange.on_key_request(B.name, request_of(newcomer, settled), 0)
    assert refusal.value.code is Code.MEMBER_UNKNOWN


def test_a_newcomer_gets_the_key_as_soon_as_it_is_on_the_settled_members_tip() -> None:
    network = Network(Side(A), Side(B))
    network.roster(A, at=(A.name,))
    network.hello()
    network.run()
    assert not network.complete()
    network.roster(A, B, at=(A.name,))
    network.run()
    assert network.complete()


def test_a_revoked_member_is_not_heard_and_gets_no_key() -> None:
    settled, revoked = Side(A), Side(B)
    hello, request = revoked.exchange.hello().payload, request_of(revoked, settled)
    settled.exchange.on_roster(roster([A], [B]))
    for handle, payload in ((settled.exchange.on_hello, hello), (settled.exchange.on_key_request, request)):
        with pytest.raises(PeerFault) as refusal:
            handle(B.name, payload, 0)
        assert refusal.value.code is Code.MEMBER_REVOKED
    assert settled.exchange.given_to == set()


def test_whoever_is_revoked_itself_gives_its_key_to_nobody() -> None:
    revoked, other = Side(A), Side(B)
    revoked.exchange.on_roster(roster([B], [A]))
    assert revoked.exchange.on_hello(B.name, other.exchange.hello().payload, 0) == []


def test_losing_a_member_starts_a_new_epoch_that_the_lost_member_does_not_get() -> None:
    network = Network(Side(A), Side(B), Side(C))
    network.roster(A, B, C)
    network.hello()
    network.run()
    assert network.complete()
    changing = network.roster(A, B, revoked=(C,), at=(A.name, B.name))
    assert changing == [A.name, B.name]
    assert network.queue == []
    messages = network.sides[A.name].exchange.change_key(A.sender_key(NOW_MS + 9))
    assert [message.recipient for message in messages] == ["", B.name]
    assert network.sides[A.name].exchange.keys.announcers() == [B.name]


def test_a_member_that_disappears_from_the_roster_in_a_reorganisation_starts_a_new_epoch_too() -> None:
    side = Side(A)
    side.exchange.on_roster(roster([A, B]))
    assert side.exchange.on_roster(roster([A]))[1]


def test_a_newcomer_that_settles_starts_a_new_epoch_if_a_stranger_holds_its_key() -> None:
    alone, accompanied = Side(A), Side(A)
    other = Side(B)
    for side in (alone, accompanied):
        key_message(side, other)
    assert alone.exchange.on_roster(roster([A, B]))[1] is False
    assert accompanied.exchange.on_roster(roster([A]))[1] is True


def test_a_revoked_member_that_a_newcomer_had_given_its_key_to_starts_a_new_epoch() -> None:
    newcomer, other = Side(A), Side(B)
    key_message(newcomer, other)
    assert newcomer.exchange.on_roster(roster([C], [B]))[1]


# what is refused


def test_a_hello_on_a_topic_of_somebody_else_is_refused() -> None:
    with pytest.raises(PeerFault) as refusal:
        Side(A).exchange.on_hello(C.name, Side(B).exchange.hello().payload, 0)
    assert refusal.value.code is Code.FRAME_FOREIGN_SENDER


def test_a_hello_whose_admission_another_authority_signed_is_refused() -> None:
    forger = CONSORTIUM.member("anna").wallet
    stranger = Side(CONSORTIUM.member("eve", authority=forger))
    with pytest.raises(PeerFault) as refusal:
        Side(A).exchange.on_hello("eve", stranger.exchange.hello().payload, 0)
    assert refusal.value.code is Code.TX_WRONG_SENDER


def test_a_hello_with_the_admission_of_somebody_else_is_refused() -> None:
    hello = hello_of(Side(B))
    body = msgspec.structs.replace(hello.body, membership=[msgspec.Raw(C.admit.raw)])
    forged = Hello(body=body, signature=B.wallet.sign("hello", body.network, encode(body)))
    with pytest.raises(PeerFault) as refusal:
        Side(A).exchange.on_hello(B.name, encode(forged), 0)
    assert refusal.value.code is Code.TX_WRONG_SENDER


def test_a_hello_that_shows_a_revocation_is_refused() -> None:
    hello = hello_of(Side(B))
    shown = [*hello.body.membership, msgspec.Raw(CONSORTIUM.revoke(B.name).raw)]
    body = msgspec.structs.replace(hello.body, membership=shown)
    with pytest.raises(PeerFault) as refusal:
        Side(A).exchange.on_hello(
            B.name, encode(Hello(body=body, signature=B.wallet.sign("hello", body.network, encode(body)))), 0
        )
    assert refusal.value.code is Code.MEMBER_REVOKED


def test_a_hello_that_the_registered_wallet_did_not_sign_is_refused() -> None:
    hello = hello_of(Side(B))
    forged = Hello(body=hello.body, signature=C.wallet.sign("hello", hello.body.network, encode(hello.body)))
    with pytest.raises(PeerFault) as refusal:
        Side(A).exchange.on_hello(B.name, encode(forged), 0)
    assert refusal.value.code is Code.BAD_SIGNATURE


def test_a_replayed_hello_of_an_earlier_epoch_is_stale() -> None:
    side = Side(A)
    old, new = Side(B, epoch=NOW_MS), Side(B, epoch=NOW_MS + 1)
    side.exchange.on_hello(B.name, new.exchange.hello().payload, 0)
    with pytest.raises(PeerFault) as refusal:
        side.exchange.on_hello(B.name, old.exchange.hello().payload, 0)
    assert refusal.value.code is Code.SENDER_KEY_STALE


def test_a_sender_key_of_an_earlier_epoch_is_stale() -> None:
    taker = Side(A)
    old, new = Side(B, epoch=NOW_MS), Side(B, epoch=NOW_MS + 1)
    stale = key_message(old, taker)
    taker.exchange.on_sender_key(B.name, key_message(new, taker), 0)
    with pytest.raises(PeerFault) as refusal:
        taker.exchange.on_sender_key(B.name, stale, 0)
    assert refusal.value.code is Code.SENDER_KEY_STALE
    assert taker.exchange.keys.find(B.name, old.exchange.own_key.key_id) is None


def test_a_sender_key_for_somebody_else_is_refused() -> None:
    giver, taker, thief = Side(A), Side(B), Side(C)
    with pytest.raises(PeerFault) as refusal:
        thief.exchange.on_sender_key(A.name, key_message(giver, taker), 0)
    assert refusal.value.code is Code.FRAME_FOREIGN_SENDER


def test_a_sender_key_under_another_hello_is_refused() -> None:
    taker = Side(A)
    message = msgspec.json.decode(key_message(Side(B), taker), type=SenderKeyMessage)
    mixed = msgspec.structs.replace(message, hello=hello_of(Side(B, epoch=NOW_MS + 1)))
    with pytest.raises(PeerFault) as refusal:
        taker.exchange.on_sender_key(B.name, encode(mixed), 0)
    assert refusal.value.code is Code.BAD_FRAME


def test_a_changed_sender_key_is_refused_even_if_it_still_has_the_right_shape() -> None:
    taker = Side(A)
    message = msgspec.json.decode(key_message(Side(B), taker), type=SenderKeyMessage)
    body = msgspec.structs.replace(message.body, sealed="00" + message.body.sealed[2:])
    changed = msgspec.structs.replace(message, body=body)
    with pytest.raises(PeerFault) as refusal:
        taker.exchange.on_sender_key(B.name, encode(changed), 0)
    assert refusal.value.code is Code.BAD_SIGNATURE
    resigned = msgspec.structs.replace(changed, signature=B.wallet.sign("sender_key", body.network, encode(body)))
    with pytest.raises(PeerFault) as refusal:
        taker.exchange.on_sender_key(B.name, encode(resigned), 0)
    assert refusal.value.code is Code.FRAME_UNSEALABLE


def test_a_key_request_that_its_sender_did_not_sign_is_refused() -> None:
    owner, asker = Side(A), Side(B)
    request = msgspec.json.decode(request_of(asker, owner), type=KeyRequest)
    body = msgspec.structs.replace(request.body, key_id="00" * 16)
    with pytest.raises(PeerFault) as refusal:
        owner.exchange.on_key_request(B.name, encode(msgspec.structs.replace(request, body=body)), 0)
    assert refusal.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("kind", ["hello", "sender_key", "key_request"])
@pytest.mark.parametrize("payload", [b"", b"{", b"\xff" * 100, b'{"a":1}', b" " * 200_000])
def test_garbage_is_refused_as_bad_encoding(kind: str, payload: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        getattr(Side(A).exchange, f"on_{kind}")(B.name, payload, 0)


# rates


def test_an_unknown_key_is_asked_for_once_and_again_only_after_a_while() -> None:
    side = Side(A)
    assert len(side.exchange.ask(B.name, "11" * 16, 0)) == 1
    assert side.exchange.ask(B.name, "11" * 16, 9_999) == []
    assert len(side.exchange.ask(B.name, "11" * 16, 10_000)) == 1


def test_a_member_that_invents_key_ids_makes_us_ask_at_a_bounded_rate() -> None:
    side = Side(A)
    asked = [side.exchange.ask(B.name, f"{number:032x}", 0) for number in range(100)]
    assert sum(map(len, asked)) == ASK_BURST
    assert len(side.exchange.ask(C.name, "11" * 16, 0)) == 1


def test_questions_for_our_key_are_answered_at_a_bounded_rate() -> None:
    owner, asker = Side(A), Side(B)
    request = request_of(asker, owner)
    for _ in range(ANSWER_BURST):
        assert [message.kind for message in owner.exchange.on_key_request(B.name, request, 0)] == ["sender_key"]
    with pytest.raises(PeerFault) as refusal:
        owner.exchange.on_key_request(B.name, request, 0)
    assert refusal.value.code is Code.RATE_LIMITED


def test_a_flood_of_hellos_of_one_member_is_refused_and_does_not_hinder_another() -> None:
    side, loud, quiet = Side(A), Side(B), Side(C)
    hello = loud.exchange.hello().payload
    for _ in range(MESSAGE_BURST):
        side.exchange.on_hello(B.name, hello, 0)
    with pytest.raises(PeerFault) as refusal:
        side.exchange.on_hello(B.name, hello, 0)
    assert refusal.value.code is Code.RATE_LIMITED
    assert side.exchange.on_hello(C.name, quiet.exchange.hello().payload, 0)
