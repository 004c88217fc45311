"""Sealed frames: what travels on the bus between peers and inside a node (design section 4).

A frame is ``length of header (2 bytes, big-endian) || header (canonical JSON) || ciphertext``. The ciphertext is
XChaCha20-Poly1305 under a random 24-byte nonce; the additional data bind the whole header, the topic (and with it
recipient and kind) and, for requests and replies, the correlation data, so a broker can neither change a frame nor
move it elsewhere.

* Gossip frames are sealed under the sender's *sender key* and signed by its wallet.
* Node frames are sealed under the node key, which only the services of one node hold; they carry no signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from Crypto.Cipher import ChaCha20_Poly1305

from minervas_core.encoding import (
    Count,
    Hash,
    NetworkId,
    Record,
    Salt,
    Signature,
    TimeMs,
    decode,
    encode,
    sha256_hex,
)
from minervas_core.errors import Code, InvalidEncoding, InvalidFrame
from minervas_core.identifiers import MemberId
from minervas_core.keys import SigningKey, verify

MAX_FRAME_BYTES = 1_900_000
"""Largest frame: below the broker's packet limit of 2,000,000 with room for MQTT's own fields."""

MAX_HEADER_BYTES = 1_024
KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16

PURPOSE = "frame"
NODE_KEY_ID = "0" * 32
"""Key id of frames that are sealed under the node key."""


class FrameHeader(Record, frozen=True, kw_only=True):
    """Plain head of a frame."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    network: NetworkId
    sender: MemberId
    key_id: Salt
    nonce: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{48}\Z")]
    sent_at_ms: TimeMs
    signature: Signature | msgspec.UnsetType = msgspec.UNSET
    """Wallet signature over a `FrameSignature`; absent in node frames, and only there."""


class FrameBinding(Record, frozen=True, kw_only=True):
    """Additional data: what a ciphertext is bound to. The nonce is bound by the cipher itself."""

    version: int
    network: NetworkId
    topic: str
    correlation: str
    """Correlation data of the request or reply in hex, or empty."""
    key_id: Salt
    sender: MemberId
    sent_at_ms: TimeMs


class FrameSignature(Record, frozen=True, kw_only=True):
    """What a sender signs of a gossip frame."""

    topic: str
    correlation: str
    key_id: Salt
    nonce: str
    sender: MemberId
    sent_at_ms: TimeMs
    digest: Hash
    """SHA-256 of the ciphertext."""


@dataclass(frozen=True, slots=True)
class SenderKey:
    """A symmetric key that one member seals its gossip under."""

    member: str
    epoch: Count
    """Only rises; a key of a lower epoch is never accepted after a higher one."""
    key_id: Salt
    secret: bytes

    def __repr__(self) -> str:
        return f"SenderKey(member={self.member}, epoch={self.epoch}, key_id={self.key_id})"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame taken apart, not yet verified or opened."""

    header: FrameHeader
    ciphertext: bytes


def seal_gossip(
    plaintext: bytes,
    *,
    topic: str,
    correlation: bytes,
    network: str,
    key: SenderKey,
    wallet: SigningKey,
    nonce: bytes,
    sent_at_ms: int,
) -> bytes:
    """Seal and sign a frame for all holders of our sender key.

    Args:
        plaintext: canonical bytes of the content.
        topic: where it will be published.
        correlation: correlation data of the request or reply, or nothing.
        network: network id.
        key: our current sender key.
        wallet: our wallet key.
        nonce: 24 random bytes, never used before.
        sent_at_ms: our clock.
    """
    header = _header(network, key.member, key.key_id, nonce, sent_at_ms)
    ciphertext = _encrypt(plaintext, key.secret, nonce, _bound(header, topic, correlation))
    claim = _claim(header, ciphertext, topic, correlation)
    signed = msgspec.structs.replace(header, signature=wallet.sign(PURPOSE, network, encode(claim)))
    return _join(signed, ciphertext)


def seal_node(
    plaintext: bytes,
    *,
    topic: str,
    correlation: bytes,
    network: str,
    member: str,
    node_key: bytes,
    nonce: bytes,
    sent_at_ms: int,
) -> bytes:
    """Seal a frame for the other services of our node."""
    header = _header(network, member, NODE_KEY_ID, nonce, sent_at_ms)
    return _join(header, _encrypt(plaintext, node_key, nonce, _bound(header, topic, correlation)))


def parse_frame(data: bytes, network: str) -> Frame:
    """Take a frame apart.

    Raises:
        InvalidFrame: ``too_large``, ``bad_frame`` or ``wrong_network``.
    """
    if len(data) > MAX_FRAME_BYTES:
        raise InvalidFrame(Code.TOO_LARGE, "Frame too large", size_bytes=len(data), max_bytes=MAX_FRAME_BYTES)
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) < end + TAG_BYTES:
        raise InvalidFrame(Code.BAD_FRAME, "Frame is cut short", size_bytes=len(data))
    try:
        header = decode(data[2:end], FrameHeader, max_bytes=MAX_HEADER_BYTES)
    except InvalidEncoding as error:
        raise InvalidFrame(Code.BAD_FRAME, "Frame has a malformed header", reason=str(error)) from error
    if header.network != network:
        raise InvalidFrame(Code.WRONG_NETWORK, "Frame of another network", network=header.network)
    if isinstance(header.signature, msgspec.UnsetType) != (header.key_id == NODE_KEY_ID):
        raise InvalidFrame(
            Code.BAD_FRAME, "Gossip frames are signed, node frames are not", sender=header.sender, key_id=header.key_id
        )
    return Frame(header, data[end:])


def check_frame_signature(frame: Frame, *, topic: str, correlation: bytes, wallet: str) -> None:
    """Check that the holder of `wallet` (public, hex) sent this frame to this topic.

    Raises:
        InvalidFrame: ``bad_signature``.
    """
    header = frame.header
    claim = _claim(header, frame.ciphertext, topic, correlation)
    signature = header.signature
    if isinstance(signature, msgspec.UnsetType) or not verify(
        wallet, PURPOSE, header.network, encode(claim), signature
    ):
        raise InvalidFrame(Code.BAD_SIGNATURE, "Frame not signed by its sender", sender=header.sender)


def open_frame(frame: Frame, *, topic: str, correlation: bytes, secret: bytes) -> bytes:
    """Decrypt a frame.

    Raises:
        InvalidFrame: ``frame_unsealable`` if key, header, topic, correlation or ciphertext is not what was
            sealed.
    """
    header = frame.header
    try:
        cipher = ChaCha20_Poly1305.new(key=secret, nonce=bytes.fromhex(header.nonce))
        cipher.update(_bound(header, topic, correlation))
        return cipher.decrypt_and_verify(frame.ciphertext[:-TAG_BYTES], frame.ciphertext[-TAG_BYTES:])
    except ValueError as error:
        raise InvalidFrame(
            Code.FRAME_UNSEALABLE, "Frame does not open under its key", sender=header.sender, topic=topic
        ) from error


def _header(network: str, sender: str, key_id: str, nonce: bytes, sent_at_ms: int) -> FrameHeader:
    """A header that is not signed (yet)."""
    return FrameHeader(
        version=1, network=network, sender=sender, key_id=key_id, nonce=nonce.hex(), sent_at_ms=sent_at_ms
    )


def _bound(header: FrameHeader, topic: str, correlation: bytes) -> bytes:
    """Additional data of the ciphertext under this header."""
    return encode(
        FrameBinding(
            version=header.version,
            network=header.network,
            topic=topic,
            correlation=correlation.hex(),
            key_id=header.key_id,
            sender=header.sender,
            sent_at_ms=header.sent_at_ms,
        )
    )


def _claim(header: FrameHeader, ciphertext: bytes, topic: str, correlation: bytes) -> FrameSignature:
    """What the sender of this frame signs."""
    return FrameSignature(
        topic=topic,
        correlation=correlation.hex(),
        key_id=header.key_id,
        nonce=header.nonce,
        sender=header.sender,
        sent_at_ms=header.sent_at_ms,
        digest=sha256_hex(ciphertext),
    )


def _encrypt(plaintext: bytes, secret: bytes, nonce: bytes, bound: bytes) -> bytes:
    if len(secret) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError("XChaCha20-Poly1305 takes a 32-byte key and a 24-byte nonce")
    cipher = ChaCha20_Poly1305.new(key=secret, nonce=nonce)
    cipher.update(bound)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    return ciphertext + tag


def _join(header: FrameHeader, ciphertext: bytes) -> bytes:
    head = encode(header)
    return len(head).to_bytes(2, "big") + head + ciphertext
