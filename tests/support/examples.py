"""How many examples Hypothesis tries of a property: a few in every run, many more in `make soak` (MINERVAS_SOAK=1)."""

from __future__ import annotations

import os

SOAK = os.environ.get("MINERVAS_SOAK") == "1"
"""Whether this run may take its time."""

SOAK_FACTOR = 20


def examples(number: int) -> int:
    """What to give as `max_examples` for a property that gets `number` examples in an ordinary run."""
    return number * SOAK_FACTOR if SOAK else number
