"""Who may mine: every admitted member in turn, as far as others are there (design section 5).

A member may mine unless it mined one of the last ``ceil(diversity x miners) - 1`` blocks. `miners` is the number of
active members with a block key in the state that judges the block: the parent's state after the block's own membership
transactions. So a block that admits a member already counts it, and one that revokes a member no longer does.

Headers alone do not tell the roster: while syncing headers first, this rule is checked only when the body connects.
"""

from __future__ import annotations

from collections.abc import Iterable

from minervas_core.errors import Code, InvalidBlock
from minervas_core.genesis import Parameters


def excluded_blocks(miner_count: int, parameters: Parameters) -> int:
    """Over how many of the last blocks a miner must not have mined: ``ceil(diversity x miners) - 1``, at least 0."""
    needed = -(-parameters.diversity_per_mille * miner_count // 1000)
    return max(needed - 1, 0)


def idle_from_ms(parent_time_ms: int, parameters: Parameters) -> int:
    """Block time from which anybody may mine, so that absent miners never stop the chain."""
    return parent_time_ms + parameters.idle_intervals * parameters.block_interval_ms


def check_turn(
    miner: str, time_ms: int, *, parent_time_ms: int, last_miners: Iterable[str], parameters: Parameters
) -> None:
    """Check that `miner` may make a block of this time.

    Args:
        miner: member id.
        time_ms: the block's time.
        parent_time_ms: its predecessor's time.
        last_miners: miners of the last `excluded_blocks` blocks, or of all if there are fewer.
        parameters: the consortium's numbers.

    Raises:
        InvalidBlock: ``block_miner_too_soon``; ``idle_from_ms`` says when the miner may in any case.
    """
    free_from_ms = idle_from_ms(parent_time_ms, parameters)
    if time_ms < free_from_ms and miner in last_miners:
        raise InvalidBlock(
            Code.BLOCK_MINER_TOO_SOON,
            "The miner made one of the last blocks; others are first",
            miner=miner,
            time_ms=time_ms,
            idle_from_ms=free_from_ms,
        )
