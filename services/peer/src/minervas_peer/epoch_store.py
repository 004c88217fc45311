"""The epoch of our sender key on disk: it only rises, also across restarts and clocks that go back."""

from __future__ import annotations

from pathlib import Path

import msgspec

from minervas_core.encoding import MAX_INTEGER, Count, Record, decode, encode
from minervas_core.errors import Code, InvalidEncoding, LocalFault
from minervas_runtime.key_files import write_atomic

MAX_STATE_BYTES = 4_096


class PeerState(Record, frozen=True, kw_only=True):
    """Content of ``state.json``."""

    sender_key_epoch: Count = 0
    """Highest epoch that may have been used."""


class EpochStore:
    """Hands out epochs, each on disk before it is returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = self._read().sender_key_epoch

    def next_epoch(self, now_ms: int) -> int:
        """Return the next epoch: the time in ms, or one above the last if the clock does not reach it.

        Raises:
            LocalFault: ``bad_key_file`` if it can not be written; ``internal`` if there are no epochs left.
        """
        epoch = max(self._last + 1, now_ms)
        if epoch > MAX_INTEGER:
            raise LocalFault(Code.INTERNAL, "The clock or the stored epoch is far in the future", epoch=str(epoch))
        write_atomic(self._path, encode(PeerState(sender_key_epoch=epoch)))
        self._last = epoch
        return epoch

    def _read(self) -> PeerState:
        try:
            return decode(self._path.read_bytes(), PeerState, max_bytes=MAX_STATE_BYTES)
        except FileNotFoundError:
            return PeerState()
        except (OSError, InvalidEncoding, msgspec.MsgspecError) as error:
            raise LocalFault(
                Code.BAD_KEY_FILE,
                "The peer's state file is damaged; restore it, or delete it if the clock was never ahead",
                file=str(self._path),
                reason=str(error),
            ) from error
