"""How far a long command is, said now and then to a person who waits."""

from __future__ import annotations

from collections.abc import Callable

from minervas_runtime.clock import monotonic_ms

EVERY_MS = 2_000


class Progress:
    """Counts blocks and says how far it is, how fast, and how long it may still take.

    Args:
        say: prints a line.
        what: the command.
    """

    def __init__(self, say: Callable[[str], None], what: str) -> None:
        self._say = say
        self._what = what
        self._began_ms = self._said_ms = monotonic_ms()

    @property
    def elapsed_ms(self) -> int:
        """Time since the beginning."""
        return monotonic_ms() - self._began_ms

    def __call__(self, height: int, target_height: int = 0) -> None:
        """Called after every block or so; a target of 0 is unknown."""
        now_ms = monotonic_ms()
        if now_ms - self._said_ms < EVERY_MS:
            return
        self._said_ms = now_ms
        elapsed_ms = max(now_ms - self._began_ms, 1)
        line = f"{self._what}: height {height}"
        if target_height:
            line += f" of {target_height}"
        line += f", {height * 1_000 // elapsed_ms} blocks/s"
        if target_height and height:
            left_s = max(target_height - height, 0) * elapsed_ms // height // 1_000
            line += f", about {left_s // 60}:{left_s % 60:02d} min left"
        self._say(line)
