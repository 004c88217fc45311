"""Frames that wait for their key: bounded by number, bytes and age, in all and for each sender.

When a sender exceeds its share, its own oldest frames go; when all together exceed the whole, the oldest of all go.
So a member that floods us with unreadable frames displaces little but its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from minervas_runtime.bus import Message


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """Bounds of the buffer."""

    frames: int = 256
    size_bytes: int = 16_000_000
    frames_per_sender: int = 32
    size_bytes_per_sender: int = 4_000_000
    age_ms: int = 60_000
    """As long as the broker itself keeps gossip."""


@dataclass(frozen=True, slots=True)
class PendingFrame:
    """A frame under a key that we do not have."""

    sender: str
    key_id: str
    message: Message
    since_ms: int

    @property
    def size_bytes(self) -> int:
        """What the frame counts for."""
        return len(self.message.payload)


class PendingFrames:
    """The buffer. Times are monotonic milliseconds."""

    def __init__(self, limits: PendingLimits | None = None) -> None:
        self._limits = limits or PendingLimits()
        self._frames: OrderedDict[int, PendingFrame] = OrderedDict()
        self._next = 0
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        """Bytes in the buffer."""
        return self._size_bytes

    def add(self, sender: str, key_id: str, message: Message, now_ms: int) -> list[PendingFrame]:
        """Keep a frame; returns those that had to go for it (or for their age), which are lost."""
        limits = self._limits
        frame = PendingFrame(sender, key_id, message, now_ms)
        dropped = self.expire(now_ms)
        if frame.size_bytes > min(limits.size_bytes, limits.size_bytes_per_sender):
            return [*dropped, frame]
        self._frames[self._next] = frame
        self._next += 1
        self._size_bytes += frame.size_bytes
        dropped += self._shrink(
            [number for number, kept in self._frames.items() if kept.sender == sender],
            limits.frames_per_sender,
            limits.size_bytes_per_sender,
        )
        return dropped + self._shrink(list(self._frames), limits.frames, limits.size_bytes)

    def take(self, sender: str, has_key: Callable[[str], bool]) -> list[PendingFrame]:
        """Remove and return a sender's frames whose key (by id) has come, oldest first."""
        numbers = [n for n, frame in self._frames.items() if frame.sender == sender and has_key(frame.key_id)]
        return [self._remove(number) for number in numbers]

    def expire(self, now_ms: int) -> list[PendingFrame]:
        """Remove and return the frames that have waited too long."""
        limit_ms = now_ms - self._limits.age_ms
        return [self._remove(number) for number in [n for n, f in self._frames.items() if f.since_ms <= limit_ms]]

    def _shrink(self, numbers: list[int], max_frames: int, max_bytes: int) -> list[PendingFrame]:
        """Drop the oldest of these until they fit."""
        count = len(numbers)
        size_bytes = sum(self._frames[number].size_bytes for number in numbers)
        dropped: list[PendingFrame] = []
        for number in numbers:
            if count <= max_frames and size_bytes <= max_bytes:
                break
            frame = self._remove(number)
            dropped.append(frame)
            count -= 1
            size_bytes -= frame.size_bytes
        return dropped

    def _remove(self, number: int) -> PendingFrame:
        frame = self._frames.pop(number)
        self._size_bytes -= frame.size_bytes
        return frame
