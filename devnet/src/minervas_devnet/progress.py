"""What a devnet tells while it works: steps with the seconds they took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]
"""Takes one line for a person."""


def say_nothing(line: str) -> None:
    """Keep quiet, as tests want."""


def say_line(line: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Progress:
    """Steps that were done, with their seconds.

    Args:
        say: where a line for each step goes.
    """

    def __init__(self, say: Say = say_nothing) -> None:
        self.say = say
        self.steps: dict[str, float] = {}
        """Seconds by step, in order."""
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Time the block, and say so when it is done."""
        began = time.monotonic()
        yield
        self.steps[text] = time.monotonic() - began
        self.say(f"{self.elapsed_s:6.1f} s  {text} ({self.steps[text]:.1f} s)")
