"""Time rules of blocks (design section 5). Without them one fast clock drags the block interval down."""

from __future__ import annotations

from minervas_core.blocks import Header
from minervas_core.errors import BlockFromTheFuture, Code, InvalidBlock
from minervas_core.genesis import Parameters


def latest_acceptable_ms(now_ms: int, parameters: Parameters) -> int:
    """The latest block time that a node whose clock shows `now_ms` accepts."""
    return now_ms + parameters.max_ahead_intervals * parameters.block_interval_ms


def is_from_future(header: Header, now_ms: int, parameters: Parameters) -> bool:
    """Whether a block is too far ahead of our clock: it is kept aside and judged again later."""
    return header.time_ms > latest_acceptable_ms(now_ms, parameters)


def check_not_from_future(header: Header, now_ms: int, parameters: Parameters) -> None:
    """As `is_from_future`.

    Raises:
        BlockFromTheFuture: ``block_time_too_new``.
    """
    if is_from_future(header, now_ms, parameters):
        raise BlockFromTheFuture(
            Code.BLOCK_TIME_TOO_NEW,
            "The block's time is too far ahead of our clock",
            time_ms=header.time_ms,
            now_ms=now_ms,
            latest_ms=latest_acceptable_ms(now_ms, parameters),
        )


def check_after_parent(header: Header, parent_time_ms: int) -> None:
    """Check that a block's time lies strictly above its predecessor's (for block 1: the genesis' creation).

    Raises:
        InvalidBlock: ``block_time_too_old``.
    """
    if header.time_ms <= parent_time_ms:
        raise InvalidBlock(
            Code.BLOCK_TIME_TOO_OLD,
            "The block's time is not above its predecessor's",
            time_ms=header.time_ms,
            parent_time_ms=parent_time_ms,
        )


def earliest_time_ms(now_ms: int, parent_time_ms: int) -> int:
    """The time that a block made now carries: our clock, but above the predecessor."""
    return max(now_ms, parent_time_ms + 1)
