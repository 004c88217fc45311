"""Where a SunSpec meter keeps a model: behind a signature stands a chain of models, each with its number and length.

Sources: SunSpec Device Information Model Specification; pysunspec2 (bases and their order). The chain is always walked:
what comes before a model, and so its address, differs between makers (model 1 alone is 65 or 66 registers long).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from minervas_core.meter_maps.meter_map import Block
from minervas_meter_gateway.block_read import BlockRead

BASES = (40_000, 0, 50_000)
"""Where the signature can be, in the order in which it is looked for."""
SIGNATURE = (0x5375, 0x6E53)
"""``SunS``."""
END_MODEL = 0xFFFF
MAX_MODELS = 64
"""More make no chain but a circle or noise."""

Reader = Callable[[Block], BlockRead]


def find_model(read: Reader, wanted: Collection[int]) -> tuple[int | None, BlockRead]:
    """Find the first model of the chain that is one of `wanted`.

    Args:
        read: reads a block of the meter.
        wanted: numbers of models.

    Returns:
        Wire address of the model's number, or None; and the last read, whose fault says why there is none:
        ``implausible`` for good replies that are no SunSpec chain, or one without such a model.
    """
    found = _implausible(BlockRead(b"", b"", None))
    for base in BASES:
        found = read(_pair_at(base))
        if found.fault is None and found.registers == SIGNATURE:
            return _walk(read, base + len(SIGNATURE), wanted)
    return None, _implausible(found)


def _walk(read: Reader, address: int, wanted: Collection[int]) -> tuple[int | None, BlockRead]:
    for _ in range(MAX_MODELS):
        head = read(_pair_at(address))
        if head.fault is not None:
            return None, head
        model, length = head.registers
        if model in wanted:
            return address, head
        address += len(head.registers) + length
        if model == END_MODEL or address > 0xFFFE:
            break
    return None, _implausible(head)


def _pair_at(address: int) -> Block:
    return Block(function=3, start=address, count=2)


def _implausible(read: BlockRead) -> BlockRead:
    return read if read.fault else replace(read, fault="implausible")
