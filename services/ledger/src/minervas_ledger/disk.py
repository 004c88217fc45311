"""Free space: when it runs out, readings are refused before blocks are, for their gateways' spools keep them.

What happens in PostgreSQL when its disk is full is not pretty, and not only its own affair: so we stop before. The disk
that is watched is that of a directory of ours; whoever runs PostgreSQL on another machine watches that one there.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from minervas_core.errors import Code, TransientFault
from minervas_ledger import metrics
from minervas_ledger.settings import DiskSettings, LedgerSettings

log = logging.getLogger(__name__)

LOOK_S = 5.0
BACK_PER_CENT = 110
"""What was refused is taken again only when there is a tenth more than it needs: no switching back and forth."""

MEGABYTE = 1_000_000

Level = Literal["", "readings", "blocks"]
"""What is no longer stored: nothing, readings, or blocks either."""


def no_check() -> None:
    """There is room for whatever comes."""


def free_bytes(directory: Path) -> int | None:
    """Free space on the disk of a directory; None if that cannot be told."""
    try:
        return shutil.disk_usage(directory).free
    except OSError as error:
        log.warning("disk_not_seen", extra={"fields": {"directory": str(directory), "reason": error.strerror}})
        return None


def watched_disk(settings: LedgerSettings) -> DiskWatch:
    """The watch over the disk that the settings name."""
    directory = settings.disk.directory or settings.paths.data
    return DiskWatch(settings.disk, lambda: free_bytes(directory))


class DiskWatch:
    """Looks at free space now and then.

    Args:
        settings: the thresholds.
        probe: free bytes; None if that cannot be told, and then nothing changes.
    """

    def __init__(self, settings: DiskSettings, probe: Callable[[], int | None]) -> None:
        self._settings = settings
        self._probe = probe
        self._listeners: list[Callable[[Level], None]] = []
        self.level: Level = ""
        """What is no longer stored."""

    def on_change(self, listener: Callable[[Level], None]) -> None:
        """Call `listener` whenever the level changes."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Look now."""
        free = self._probe()
        if free is None:
            return
        metrics.DISK_FREE_BYTES.set(free)
        level = self._judge(free)
        if level == self.level:
            return
        fields = {"refused": level or "nothing", "before": self.level or "nothing", "free_bytes": free}
        log.warning("disk_low" if level else "disk_has_room", extra={"fields": fields})
        self.level = level
        metrics.DISK_REFUSING.set(("", "readings", "blocks").index(level))
        for listener in self._listeners:
            listener(level)

    @property
    def low_disk(self) -> Literal["readings", "blocks"] | msgspec.UnsetType:
        """As the presence tells it."""
        return self.level or msgspec.UNSET

    def check_blocks(self) -> None:
        """Refuse a block if there is no room for it.

        Raises:
            TransientFault: ``disk_low``.
        """
        if self.level == "blocks":
            raise refusal("blocks")

    def _judge(self, free: int) -> Level:
        if self._is_below(free, self._settings.blocks_min_free_mb, is_refused=self.level == "blocks"):
            return "blocks"
        if self._is_below(free, self._settings.readings_min_free_mb, is_refused=bool(self.level)):
            return "readings"
        return ""

    def _is_below(self, free: int, least_mb: int, *, is_refused: bool) -> bool:
        return free < least_mb * MEGABYTE * (BACK_PER_CENT if is_refused else 100) // 100


def refusal(what: str) -> TransientFault:
    """Why something is not stored."""
    return TransientFault(Code.DISK_LOW, "The disk is nearly full; make room, nothing is lost until then", refused=what)
