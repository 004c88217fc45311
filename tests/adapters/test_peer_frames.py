"""Opening frames of other members, the buffer for frames under unknown keys, and the stored epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.errors import Code, LocalFault, MinervasError, PeerFault
from minervas_core.frames import MAX_FRAME_BYTES, SenderKey, seal_gossip
from minervas_peer.epoch_store import EpochStore
from minervas_peer.frame_opening import FrameOpener, KeyMissing
from minervas_peer.member_directory import MemberDirectory
from minervas_peer.pending_frames import PendingFrames, PendingLimits
from minervas_peer.rate_limit import RateLimit
from minervas_peer.sender_keys import MemberKeys
from minervas_runtime.bus import Message
from tests.support.peer import NOW_MS, Consortium, Member, roster, seed

CONSORTIUM = Consortium()
A, B, C = (CONSORTIUM.member(name) for name in ("anna", "bert", "cara"))
KEY = B.sender_key(NOW_MS)
TOPIC = "mesh/v1/bert/peer/block"
NETWORK = CONSORTIUM.genesis.network


def frame(
    content: bytes = b"content",
    *,
    sender: Member = B,
    key: SenderKey = KEY,
    topic: str = TOPIC,
    nonce: str = "n",
    network: str = NETWORK,
    correlation: bytes = b"",
) -> bytes:
    return seal_gossip(
        content,
        topic=topic,
        correlation=correlation,
        network=network,
        key=key,
        wallet=sender.wallet,
        nonce=seed(nonce, 24),
        sent_at_ms=NOW_MS,
    )


class Receiver:
    """The receiving end at Anna, who knows Bert's key and, on her tip, Anna and Bert."""

    def __init__(self) -> None:
        self.directory = MemberDirectory(A.name)
        self.directory.apply(roster([A, B]))
        self.keys = MemberKeys()
        self.keys.announce(B.name, KEY.epoch, KEY.key_id, 0)
        self.keys.add(KEY)
        self.opener = FrameOpener(NETWORK, self.directory, self.keys)

    def code(self, message: Message, sender: str = B.name) -> Code:
        with pytest.raises(MinervasError) as refusal:
            self.opener.open(message, sender)
        return refusal.value.code


def test_a_frame_of_a_known_member_under_a_known_key_opens() -> None:
    assert Receiver().opener.open(Message(TOPIC, frame()), B.name) == b"content"


def test_a_frame_on_a_topic_of_another_member_is_refused() -> None:
    topic = "mesh/v1/cara/peer/block"
    assert Receiver().code(Message(topic, frame(topic=topic)), C.name) is Code.FRAME_FOREIGN_SENDER


def test_a_frame_that_was_moved_to_another_topic_or_correlation_is_refused() -> None:
    receiver = Receiver()
    assert receiver.code(Message("mesh/v1/bert/peer/tx", frame())) is Code.BAD_SIGNATURE
    assert receiver.code(Message(TOPIC, frame(), correlation=b"other")) is Code.BAD_SIGNATURE


def test_a_holder_of_the_sender_key_can_not_speak_for_its_owner() -> None:
    assert Receiver().code(Message(TOPIC, frame(sender=C))) is Code.BAD_SIGNATURE


def test_a_frame_that_comes_twice_is_refused_the_second_time() -> None:
    receiver = Receiver()
    receiver.opener.open(Message(TOPIC, frame()), B.name)
    assert receiver.code(Message(TOPIC, frame())) is Code.FRAME_REPLAYED
    assert receiver.opener.open(Message(TOPIC, frame(nonce="other")), B.name)


def test_a_frame_of_another_network_is_refused() -> None:
    assert Receiver().code(Message(TOPIC, frame(network="00" * 16))) is Code.WRONG_NETWORK


def test_an_oversize_frame_is_refused() -> None:
    assert Receiver().code(Message(TOPIC, bytes(MAX_FRAME_BYTES + 1))) is Code.TOO_LARGE


@given(st.binary(max_size=400))
def test_garbage_is_refused_as_a_bad_frame(garbage: bytes) -> None:
    assert Receiver().code(Message(TOPIC, garbage)) in (Code.BAD_FRAME, Code.WRONG_NETWORK)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_byte_of_a_frame_can_be_changed(position: int, change: int) -> None:
    changed = bytearray(frame())
    changed[position % len(changed)] ^= change
    with pytest.raises((PeerFault, KeyMissing)):
        Receiver().opener.open(Message(TOPIC, bytes(changed)), B.name)


def test_a_frame_of_a_revoked_member_is_refused_although_its_key_is_known() -> None:
    receiver = Receiver()
    receiver.directory.apply(roster([A], [B]))
    assert receiver.code(Message(TOPIC, frame())) is Code.MEMBER_REVOKED


def test_a_frame_under_an_unknown_key_and_one_of_an_unknown_member_wait_for_their_key() -> None:
    receiver = Receiver()
    with pytest.raises(KeyMissing) as missing:
        receiver.opener.open(Message(TOPIC, frame(key=B.sender_key(NOW_MS + 1))), B.name)
    assert missing.value.key_id == B.sender_key(NOW_MS + 1).key_id
    topic = "mesh/v1/cara/peer/block"
    with pytest.raises(KeyMissing):
        receiver.opener.open(Message(topic, frame(sender=C, key=C.sender_key(1), topic=topic)), C.name)


def test_before_our_ledger_has_told_a_roster_every_frame_waits() -> None:
    receiver = Receiver()
    receiver.opener = FrameOpener(NETWORK, MemberDirectory(A.name), receiver.keys)
    assert receiver.code(Message(TOPIC, frame())) is Code.FRAME_UNKNOWN_KEY


def test_a_frame_under_an_unknown_key_that_its_sender_did_not_sign_does_not_wait() -> None:
    assert Receiver().code(Message(TOPIC, frame(sender=C, key=B.sender_key(NOW_MS + 1)))) is Code.BAD_SIGNATURE


# the buffer

LIMITS = PendingLimits(frames=6, size_bytes=600, frames_per_sender=3, size_bytes_per_sender=300, age_ms=1_000)


def put(buffer: PendingFrames, sender: str, size_bytes: int = 10, *, key_id: str = "k", now_ms: int = 0) -> list[str]:
    dropped = buffer.add(sender, key_id, Message("t", bytes(size_bytes)), now_ms)
    return [frame.sender for frame in dropped]


def test_waiting_frames_come_out_in_order_for_their_key_only() -> None:
    buffer = PendingFrames(LIMITS)
    for key_id, size_bytes in (("one", 1), ("two", 2), ("one", 3)):
        put(buffer, "bert", size_bytes, key_id=key_id)
    assert [frame.size_bytes for frame in buffer.take("bert", "one".__eq__)] == [1, 3]
    assert (len(buffer), buffer.size_bytes) == (1, 2)
    assert buffer.take("cara", "two".__eq__) == []


def test_a_sender_that_exceeds_its_share_loses_its_own_oldest_frames() -> None:
    buffer = PendingFrames(LIMITS)
    put(buffer, "bert")
    for _ in range(3):
        assert put(buffer, "cara") == []
    assert put(buffer, "cara") == ["cara"]
    assert put(buffer, "cara", 295) == ["cara"] * 3
    assert [frame.sender for frame in buffer.take("bert", "k".__eq__)] == ["bert"]


def test_beyond_all_bounds_the_oldest_frames_go() -> None:
    buffer = PendingFrames(LIMITS)
    for name in "abcdef":
        assert put(buffer, name) == []
    assert put(buffer, "g") == ["a"]
    assert len(buffer) == 6
    assert put(buffer, "h", 300) == ["b"]
    assert put(buffer, "i", 300) == ["c", "d", "e", "f", "g"]


def test_a_frame_larger_than_the_share_is_not_kept_and_displaces_nothing() -> None:
    buffer = PendingFrames(LIMITS)
    put(buffer, "bert")
    assert put(buffer, "bert", 301) == ["bert"]
    assert buffer.size_bytes == 10


def test_frames_wait_no_longer_than_the_age_limit() -> None:
    buffer = PendingFrames(LIMITS)
    put(buffer, "bert", now_ms=0)
    put(buffer, "cara", now_ms=500)
    assert [frame.sender for frame in buffer.expire(999)] == []
    assert [frame.sender for frame in buffer.expire(1_000)] == ["bert"]
    assert put(buffer, "dora", now_ms=1_500) == ["cara"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 350), st.integers(0, 300)), max_size=60))
def test_the_buffer_never_exceeds_its_bounds_and_loses_nothing_silently(
    steps: list[tuple[str, int, int]],
) -> None:
    buffer, now_ms, lost = PendingFrames(LIMITS), 0, 0
    for sender, size_bytes, pause_ms in steps:
        now_ms += pause_ms
        lost += len(buffer.add(sender, "k", Message("t", bytes(size_bytes)), now_ms))
        assert len(buffer) <= LIMITS.frames
        assert buffer.size_bytes <= LIMITS.size_bytes
    left = {sender: buffer.take(sender, "k".__eq__) for sender in "abcd"}
    for frames in left.values():
        assert len(frames) <= LIMITS.frames_per_sender
        assert sum(frame.size_bytes for frame in frames) <= LIMITS.size_bytes_per_sender
        assert all(now_ms - frame.since_ms < LIMITS.age_ms for frame in frames)
    assert lost + sum(map(len, left.values())) == len(steps)
    assert (len(buffer), buffer.size_bytes) == (0, 0)


# rate limits


def test_a_rate_limit_allows_a_burst_then_one_per_interval_for_each_name() -> None:
    limit = RateLimit(burst=2, refill_ms=100)
    assert [limit.allow("bert", 0) for _ in range(3)] == [True, True, False]
    assert limit.allow("cara", 0)
    assert not limit.allow("bert", 99)
    assert limit.allow("bert", 100)
    assert [limit.allow("bert", 10_000) for _ in range(3)] == [True, True, False]


def test_a_rate_limit_remembers_a_bounded_number_of_names_and_forgets_the_longest_unused() -> None:
    limit = RateLimit(burst=1, refill_ms=100, max_names=2)
    for name in "ab":
        assert limit.allow(name, 0)
    assert not limit.allow("a", 1)
    assert limit.allow("c", 2)
    assert not limit.allow("a", 3)
    assert limit.allow("b", 4)


# the epoch on disk


def test_epochs_rise_across_restarts_also_when_the_clock_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "peer" / "state.json"
    first = EpochStore(path)
    assert first.next_epoch(NOW_MS) == NOW_MS
    assert first.next_epoch(NOW_MS) == NOW_MS + 1
    again = EpochStore(path)
    assert again.next_epoch(5) == NOW_MS + 2
    assert again.next_epoch(NOW_MS + 100) == NOW_MS + 100
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_epoch_file_stops_the_peer_with_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"sender_key_epoch":')
    with pytest.raises(LocalFault) as refusal:
        EpochStore(path)
    assert refusal.value.code is Code.BAD_KEY_FILE
    assert str(path) in str(refusal.value)
