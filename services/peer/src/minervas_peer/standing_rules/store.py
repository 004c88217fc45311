"""The rules on disk: what was decided is there before anything is sent."""

from __future__ import annotations

from pathlib import Path

import msgspec

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidEncoding, LocalFault
from minervas_peer.standing_rules.records import FORMAT, RulesState
from minervas_runtime.key_files import write_atomic

RULES_FILE = "rules.json"
MAX_RULES_BYTES = 8_000_000
"""All orders that are remembered, each an offer of 100 lots, have about 3 MB."""


class _Version(msgspec.Struct, frozen=True):
    """What every version of the file has."""

    format: int


class RulesStore:
    """Holds the state and its file together."""

    def __init__(self, path: Path) -> None:
        """Read the file; without one there are no rules.

        Raises:
            LocalFault: ``schema_version`` for one of a newer version, ``bad_key_file`` for a damaged one.
        """
        self._path = path
        self._state = self._read()

    @property
    def state(self) -> RulesState:
        """What the file says."""
        return self._state

    def put(self, state: RulesState) -> None:
        """Replace the content. The state is the new one only when the file is.

        Raises:
            LocalFault: ``bad_key_file`` if it can not be written.
        """
        if state == self._state:
            return
        write_atomic(self._path, encode(state))
        self._state = state

    def _read(self) -> RulesState:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return RulesState()
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        try:
            version = msgspec.json.decode(raw[:MAX_RULES_BYTES], type=_Version).format
            if version > FORMAT:
                raise LocalFault(
                    Code.SCHEMA_VERSION,
                    "The standing rules were written by a newer version of this software; install that one again",
                    file=str(self._path),
                    found=version,
                    known=FORMAT,
                )
            return decode(raw, RulesState, max_bytes=MAX_RULES_BYTES)
        except (InvalidEncoding, msgspec.MsgspecError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> LocalFault:
        return LocalFault(
            Code.BAD_KEY_FILE,
            "The file of the standing rules can not be read; restore it, or delete it and set the rules again after "
            "the slot: what they placed in this slot is forgotten with it",
            file=str(self._path),
            reason=reason,
        )
