"""What this machine can mine, to choose an initial difficulty; the chain corrects a wrong guess after some blocks."""

from __future__ import annotations

import hashlib
import os
import time

SAMPLE_S = 0.2
BATCH = 2_000
SHARE_PER_MILLE = 500
"""Part of the cores' time that is left for searching beside the services and servers of a devnet."""


def tries_per_second() -> int:
    """Hashes per second of one core in a loop like the miner's."""
    base = hashlib.sha256(b"minervas".ljust(38)).copy
    endings = [ending.to_bytes(2, "big") for ending in range(BATCH)]
    tries, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SAMPLE_S:
        for ending in endings:
            trial = base()
            trial.update(ending)
            trial.digest()
        tries += BATCH
    return int(tries / elapsed)


def fitting_difficulty(block_interval_ms: int, miners: int, *, rate: int | None = None) -> int:
    """Difficulty at which `miners` search processes on this machine together need about one interval for a block.

    Args:
        block_interval_ms: T.
        miners: how many search at the same time.
        rate: tries per second of one core; measured (in 0.2 s) if not given.
    """
    per_core = tries_per_second() if rate is None else rate
    cores = min(miners, len(os.sched_getaffinity(0)))
    return max(1, per_core * cores * block_interval_ms * SHARE_PER_MILLE // 1_000_000)
