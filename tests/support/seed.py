"""The seed of this test run: random, shown in the header, and set with MINERVAS_SEED to repeat a run."""

from __future__ import annotations

import os
import random
import secrets

SEED = int(os.environ.get("MINERVAS_SEED") or secrets.randbelow(2**32))
os.environ["MINERVAS_SEED"] = str(SEED)  # for the processes that share the tests of `make test`: one run has one seed


def seeded_random(purpose: str) -> random.Random:
    """Return a source of randomness that depends only on the seed and on the purpose, not on the order of tests."""
    return random.Random(f"{SEED}/{purpose}")  # noqa: S311 - test data, not keys
