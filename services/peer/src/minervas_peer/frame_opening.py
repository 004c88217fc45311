"""Verify and open frames of other members: topic owner, membership, wallet signature, replay, sender key."""

from __future__ import annotations

from collections import OrderedDict

from minervas_core.errors import Code, InvalidFrame, TransientFault
from minervas_core.frames import Frame, FrameHeader, check_frame_signature, open_frame, parse_frame
from minervas_peer.member_directory import MemberDirectory, Standing
from minervas_peer.sender_keys import MemberKeys
from minervas_runtime.bus import Message

MAX_REMEMBERED = 16_384
"""Opened frames remembered against replay. An older one may come again: everything in frames is idempotent."""


class KeyMissing(TransientFault):
    """A frame that may open once its sender has introduced itself and sent its key."""

    def __init__(self, header: FrameHeader) -> None:
        super().__init__(
            Code.FRAME_UNKNOWN_KEY, "The frame's key is not known", member=header.sender, key_id=header.key_id
        )
        self.sender = header.sender
        self.key_id = header.key_id


class FrameOpener:
    """Opens frames under the keys that other members gave us."""

    def __init__(self, network: str, directory: MemberDirectory, keys: MemberKeys) -> None:
        self._network = network
        self._directory = directory
        self._keys = keys
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def open(self, message: Message, sender: str) -> bytes:
        """Content of a frame that came over a topic of `sender`.

        Raises:
            KeyMissing: if our own roster, the sender's admission or the key is not known (yet).
            InvalidFrame: ``too_large``, ``bad_frame``, ``wrong_network``, ``frame_foreign_sender``, ``bad_signature``,
                ``frame_replayed`` or ``frame_unsealable``.
            PeerFault: ``member_revoked``.
        """
        frame = parse_frame(message.payload, self._network)
        header = frame.header
        if header.sender != sender:
            raise InvalidFrame(
                Code.FRAME_FOREIGN_SENDER,
                "A frame on a topic of somebody else",
                sender=header.sender,
                topic_member=sender,
            )
        if (header.sender, header.nonce) in self._seen:
            raise InvalidFrame(Code.FRAME_REPLAYED, "This frame was opened before", sender=sender)
        content = self._verify_and_open(frame, message)
        self._remember(header)
        return content

    def _verify_and_open(self, frame: Frame, message: Message) -> bytes:
        """Check the signature as soon as the wallet is known, so that nobody fills the buffer in another's name."""
        header, correlation = frame.header, message.correlation or b""
        if not self._directory.is_known or self._directory.standing(header.sender) is Standing.UNKNOWN:
            raise KeyMissing(header)
        wallet = self._directory.keys(header.sender).wallet
        check_frame_signature(frame, topic=message.topic, correlation=correlation, wallet=wallet)
        key = self._keys.find(header.sender, header.key_id)
        if key is None:
            raise KeyMissing(header)
        return open_frame(frame, topic=message.topic, correlation=correlation, secret=key.secret)

    def _remember(self, header: FrameHeader) -> None:
        self._seen[header.sender, header.nonce] = None
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
