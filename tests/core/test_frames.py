"""Sealed frames: they open only whole, only for their topic and request, and only from their sender."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minervas_core.errors import Code, InvalidFrame
from minervas_core.frames import (
    KEY_BYTES,
    MAX_FRAME_BYTES,
    NODE_KEY_ID,
    NONCE_BYTES,
    FrameHeader,
    SenderKey,
    check_frame_signature,
    open_frame,
    parse_frame,
    seal_gossip,
    seal_node,
)
from minervas_core.messages import MAX_CONTENT_BYTES
from tests.support.examples import examples
from tools.vectors.fixtures import HAENAM, MOKPO, NETWORK, OTHER_NETWORK, sender_key
from tools.vectors.frame_cases import (
    CONTENT,
    CORRELATION,
    NODE_KEY,
    NODE_TOPIC,
    NONCE,
    REQUEST_TOPIC,
    SENT_AT_MS,
    gossip,
    judge,
    node,
)

GOSSIP_FRAME = gossip(REQUEST_TOPIC, CORRELATION)
NODE_FRAME = node(NODE_TOPIC, CORRELATION)
SECRET = sender_key(MOKPO).secret
WALLET = MOKPO.wallet.public


def open_gossip(data: bytes, *, topic: str = REQUEST_TOPIC, correlation: bytes = CORRELATION) -> bytes:
    return judge(data, topic=topic, correlation=correlation, secret=SECRET, wallet=WALLET)


def open_own(data: bytes, *, topic: str = NODE_TOPIC, correlation: bytes = CORRELATION) -> bytes:
    return judge(data, topic=topic, correlation=correlation, secret=NODE_KEY, wallet=None)


@given(content=st.binary(max_size=300), correlation=st.binary(max_size=20), sent_at_ms=st.integers(0, 2**53 - 1))
@settings(max_examples=examples(50))
def test_a_gossip_frame_opens_to_what_was_sealed(content: bytes, correlation: bytes, sent_at_ms: int) -> None:
    data = seal_gossip(
        content,
        topic=REQUEST_TOPIC,
        correlation=correlation,
        network=NETWORK,
        key=sender_key(MOKPO),
        wallet=MOKPO.wallet,
        nonce=NONCE,
        sent_at_ms=sent_at_ms,
    )
    assert open_gossip(data, correlation=correlation) == content
    assert parse_frame(data, NETWORK).header.sent_at_ms == sent_at_ms


@given(content=st.binary(max_size=300))
@settings(max_examples=examples(30))
def test_a_node_frame_opens_to_what_was_sealed(content: bytes) -> None:
    data = seal_node(
        content,
        topic=NODE_TOPIC,
        correlation=b"",
        network=NETWORK,
        member=MOKPO.member,
        node_key=NODE_KEY,
        nonce=NONCE,
        sent_at_ms=SENT_AT_MS,
    )
    assert open_own(data, correlation=b"") == content
    assert parse_frame(data, NETWORK).header.key_id == NODE_KEY_ID


@pytest.mark.parametrize("byte", range(len(GOSSIP_FRAME)))
def test_any_changed_byte_of_a_gossip_frame_is_refused(byte: int) -> None:
    for bit in (0, 3, 7):
        bad = bytearray(GOSSIP_FRAME)
        bad[byte] ^= 1 << bit
        with pytest.raises(InvalidFrame):
            open_gossip(bytes(bad))


def test_any_flipped_bit_of_a_node_frame_is_refused() -> None:
    """A node frame has no signature: the cipher alone must bind its whole header."""
    for position in range(len(NODE_FRAME) * 8):
        bad = bytearray(NODE_FRAME)
        bad[position // 8] ^= 1 << position % 8
        with pytest.raises(InvalidFrame):
            open_own(bytes(bad))


@given(start=st.integers(0, len(GOSSIP_FRAME)), length=st.integers(0, 60), inserted=st.binary(max_size=60))
@settings(max_examples=examples(200))
def test_any_damage_to_a_frame_is_refused(start: int, length: int, inserted: bytes) -> None:
    bad = GOSSIP_FRAME[:start] + inserted + GOSSIP_FRAME[start + length :]
    if bad == GOSSIP_FRAME:
        return
    with pytest.raises(InvalidFrame):
        open_gossip(bad)


@given(st.binary(max_size=400))
@settings(max_examples=examples(200))
def test_any_bytes_are_refused_as_a_frame(data: bytes) -> None:
    with pytest.raises(InvalidFrame):
        open_gossip(data)


@pytest.mark.parametrize(
    "topic",
    [
        "inbox/v1/kim-house/peer/mokpo-univ/peer/get_bodies",
        "inbox/v1/haenam-farm/peer/mokpo-univ/peer/get_headers",
        "inbox/v1/haenam-farm/peer/kim-house/peer/get_bodies",
        "mesh/v1/mokpo-univ/peer/tx",
        "",
    ],
)
def test_a_frame_moved_to_another_topic_is_refused(topic: str) -> None:
    with pytest.raises(InvalidFrame) as refused:
        open_gossip(GOSSIP_FRAME, topic=topic)
    assert refused.value.code is Code.BAD_SIGNATURE


def test_topic_and_correlation_are_bound_by_the_cipher_too() -> None:
    """Not only by the signature: who skips the check of the signature still can not be led astray."""
    for topic, correlation in ((REQUEST_TOPIC + "x", CORRELATION), (REQUEST_TOPIC, b"")):
        with pytest.raises(InvalidFrame) as refused:
            judge(GOSSIP_FRAME, topic=topic, correlation=correlation, secret=SECRET, wallet=None)
        assert refused.value.code is Code.FRAME_UNSEALABLE


def test_an_answer_can_not_be_given_to_another_request() -> None:
    with pytest.raises(InvalidFrame):
        open_gossip(GOSSIP_FRAME, correlation=bytes(16))
    with pytest.raises(InvalidFrame):
        open_own(NODE_FRAME, correlation=bytes(16))


def test_another_member_that_holds_the_sender_key_can_not_speak_for_its_owner() -> None:
    """Every member holds every sender key: only the wallet's signature says who sent a frame."""
    forged = seal_gossip(
        CONTENT,
        topic=REQUEST_TOPIC,
        correlation=CORRELATION,
        network=NETWORK,
        key=sender_key(MOKPO),
        wallet=HAENAM.wallet,
        nonce=NONCE,
        sent_at_ms=SENT_AT_MS,
    )
    with pytest.raises(InvalidFrame) as refused:
        open_gossip(forged)
    assert refused.value.code is Code.BAD_SIGNATURE


def test_the_key_id_is_bound() -> None:
    """Two keys of one sender: a frame claimed under the other id is refused."""
    other = sender_key(MOKPO, epoch=2)
    data = _reheaded(GOSSIP_FRAME, key_id=other.key_id)
    with pytest.raises(InvalidFrame) as refused:
        open_gossip(data)
    assert refused.value.code is Code.BAD_SIGNATURE
    with pytest.raises(InvalidFrame) as unopened:
        judge(data, topic=REQUEST_TOPIC, correlation=CORRELATION, secret=SECRET, wallet=None)
    assert unopened.value.code is Code.FRAME_UNSEALABLE


def test_a_frame_of_another_network_is_refused() -> None:
    with pytest.raises(InvalidFrame) as refused:
        parse_frame(GOSSIP_FRAME, OTHER_NETWORK)
    assert refused.value.code is Code.WRONG_NETWORK


def test_a_gossip_frame_needs_a_signature_and_a_node_frame_has_none() -> None:
    head = json.loads(_head(GOSSIP_FRAME))
    del head["signature"]
    with pytest.raises(InvalidFrame) as unsigned:
        parse_frame(_with_head(GOSSIP_FRAME, head), NETWORK)
    assert unsigned.value.code is Code.BAD_FRAME
    with pytest.raises(InvalidFrame) as signed:
        parse_frame(_reheaded(NODE_FRAME, signature="00" * 64), NETWORK)
    assert signed.value.code is Code.BAD_FRAME


def test_a_node_frame_is_not_taken_for_signed() -> None:
    frame = parse_frame(NODE_FRAME, NETWORK)
    with pytest.raises(InvalidFrame) as refused:
        check_frame_signature(frame, topic=NODE_TOPIC, correlation=CORRELATION, wallet=WALLET)
    assert refused.value.code is Code.BAD_SIGNATURE


def test_the_largest_content_fits_into_a_frame() -> None:
    data = gossip(content=b"x" * MAX_CONTENT_BYTES)
    assert len(data) <= MAX_FRAME_BYTES
    with pytest.raises(InvalidFrame) as refused:
        parse_frame(bytes(MAX_FRAME_BYTES + 1), NETWORK)
    assert refused.value.code is Code.TOO_LARGE


@pytest.mark.parametrize(("key_size", "nonce_size"), [(31, 24), (33, 24), (32, 12), (32, 8), (0, 24)])
def test_only_keys_and_nonces_of_the_right_length_seal(key_size: int, nonce_size: int) -> None:
    """With a shorter nonce the library would silently use another cipher."""
    with pytest.raises(ValueError, match="32-byte key and a 24-byte nonce"):
        seal_node(
            b"",
            topic=NODE_TOPIC,
            correlation=b"",
            network=NETWORK,
            member="a",
            node_key=bytes(key_size),
            nonce=bytes(nonce_size),
            sent_at_ms=0,
        )


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_the_wrong_length_opens_nothing(size: int) -> None:
    with pytest.raises(InvalidFrame) as refused:
        open_frame(parse_frame(NODE_FRAME, NETWORK), topic=NODE_TOPIC, correlation=CORRELATION, secret=bytes(size))
    assert refused.value.code is Code.FRAME_UNSEALABLE


def test_a_sender_key_does_not_show_its_secret() -> None:
    key = SenderKey("a", 1, "00" * 16, bytes(range(KEY_BYTES)))
    assert key.secret.hex() not in repr(key)
    assert str(key.secret) not in repr(key)


def test_the_same_content_under_another_nonce_is_another_ciphertext() -> None:
    other = seal_node(
        CONTENT,
        topic=NODE_TOPIC,
        correlation=CORRELATION,
        network=NETWORK,
        member=MOKPO.member,
        node_key=NODE_KEY,
        nonce=bytes(NONCE_BYTES),
        sent_at_ms=SENT_AT_MS,
    )
    assert parse_frame(other, NETWORK).ciphertext != parse_frame(NODE_FRAME, NETWORK).ciphertext


def test_every_field_of_the_header_is_bound() -> None:
    """A field added later must be bound as well: this test then names it."""
    changes: dict[str, object] = {
        "network": OTHER_NETWORK,
        "sender": "haenam-farm",
        "key_id": "11" * 16,
        "nonce": "22" * 24,
        "sent_at_ms": SENT_AT_MS + 1,
        "version": 2,
        "signature": "33" * 64,
    }
    assert set(changes) == set(FrameHeader.__struct_fields__)
    for field, value in changes.items():
        with pytest.raises(InvalidFrame):
            open_gossip(_reheaded(GOSSIP_FRAME, **{field: value}))


def _head(data: bytes) -> bytes:
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


def _with_head(data: bytes, head: dict[str, object]) -> bytes:
    raw = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return len(raw).to_bytes(2, "big") + raw + data[2 + len(_head(data)) :]


def _reheaded(data: bytes, **changes: object) -> bytes:
    return _with_head(data, json.loads(_head(data)) | changes)
