"""Takes the files of the expected-output job in: whatever is new in a directory, looked at now and then."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, LocalFault, MinervasError, PeerFault
from minervas_core.expected_output import MAX_EXPECTED_BYTES, ExpectedOutput, decode_expected_output
from minervas_ledger import refusals
from minervas_ledger.store.expected_rows import write_expected
from minervas_ledger.store.reader import DutyConnection

log = logging.getLogger(__name__)

KIND = "expected_output"
LOOK_S = 60.0


class ExpectedIntake:
    """Stores what the files in a directory expect.

    Args:
        directory: with one ``*.json`` for each member; the job replaces a file whole.
        member: whose ledger this is.
        has_all: whether files of other members are welcome, too: the operator's ledger.
        database: to write to.
    """

    def __init__(self, directory: Path, member: str, *, has_all: bool, database: DutyConnection) -> None:
        self._directory = directory
        self._member = member
        self._has_all = has_all
        self._database = database
        self._taken: dict[Path, str] = {}
        """Hash of each file that needs no other look."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Take in what is new. A file that is no good is counted and holds up no other."""
        for file in sorted(self._directory.glob("*.json")):
            try:
                await self._take(file)
            except MinervasError as error:
                refusals.record(KIND, error, origin=str(file))
                log.warning("expected_output_refused", extra={"fields": {"file": str(file), "reason": str(error)}})

    async def _take(self, file: Path) -> None:
        raw = await asyncio.to_thread(_read, file)
        digest = sha256_hex(raw)
        if self._taken.get(file) == digest:
            return
        try:
            expected = self._checked(raw)
        except PeerFault:
            self._taken[file] = digest  # it will not become better by itself
            raise
        await self._database.ask(lambda connection: write_expected(connection, expected))
        self._taken[file] = digest
        fields = {"file": str(file), "of": expected.member, "channels": len(expected.channels)}
        log.info("expected_output_stored", extra={"fields": fields})

    def _checked(self, raw: bytes) -> ExpectedOutput:
        """Decode a file.

        Raises:
            PeerFault: if it is damaged, or of a member whose readings we do not have.
        """
        expected = decode_expected_output(raw)
        if not self._has_all and expected.member != self._member:
            raise PeerFault(Code.MEMBER_UNKNOWN, "An expectation of another member's panels", member=expected.member)
        return expected


def _read(file: Path) -> bytes:
    """Content of a file, no more of it than one may have.

    Raises:
        LocalFault: ``bad_settings`` if it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_EXPECTED_BYTES + 1)
    except OSError as error:
        raise LocalFault(
            Code.BAD_SETTINGS, "The file cannot be read", file=str(file), reason=error.strerror or str(error)
        ) from error
