"""Difficulty: LWMA over the last solve times (design section 5).

The linearly weighted moving average (zawy12, LWMA-1) weighs the newest solve time most. Solve times are not clamped:
times rise strictly along a chain, so none is zero or negative, and a long pause lowers the difficulty at once. The
only bound is the floor.
"""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.encoding import MAX_INTEGER
from minervas_core.genesis import Parameters


def next_difficulty(history: Sequence[tuple[int, int]], parameters: Parameters) -> int:
    """Difficulty of the block that follows `history`.

    Args:
        history: ``(time_ms, difficulty)`` of the blocks of this chain from height 1, oldest first. The last
            ``lwma_window + 1`` are enough; genesis is not among them, for its time says nothing about work.
        parameters: the consortium's numbers.
    """
    window = parameters.lwma_window
    if len(history) < window:
        return parameters.initial_difficulty
    recent = history[-(window + 1) :]
    count = len(recent) - 1
    weighted_ms = sum(rank * (recent[rank][0] - recent[rank - 1][0]) for rank in range(1, count + 1))
    total_difficulty = sum(difficulty for _, difficulty in recent[1:])
    raised = total_difficulty * (count + 1) * parameters.block_interval_ms // (2 * weighted_ms)
    return min(max(raised, parameters.min_difficulty), MAX_INTEGER)
