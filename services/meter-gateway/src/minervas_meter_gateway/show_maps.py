"""Verb ``maps``: the known models, with their inputs and where their registers are documented."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minervas_core.meter_maps.meter_map import MeterMap
from minervas_meter_gateway.bus_plan import line_text
from minervas_meter_gateway.tables import as_table

MAP_HEADS = ("map", "model", "line", "energy step", "pause", "from")
INPUT_HEADS = ("map", "input", "quantities", "read with")
SOURCE_HEADS = ("map", "source")


def maps_tables(maps: Iterable[MeterMap]) -> str:
    """Tables of models, of their inputs, and of their sources."""
    known = list(maps)
    inputs = [
        (each.id, name, " ".join(of.fields()), _reads(each, name))
        for each in known
        for name, of in each.content.inputs.items()
    ]
    tables = (
        as_table(MAP_HEADS, [_map_row(each) for each in known]),
        as_table(INPUT_HEADS, inputs),
        as_table(SOURCE_HEADS, [(each.id, each.content.source) for each in known]),
    )
    return "\n\n".join(tables)


def maps_json(maps: Iterable[MeterMap]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "map": each.id,
            "model": each.content.name,
            "source": each.content.source,
            "shipped": each.shipped,
            "line": _line(each),
            "register_step_wh": each.content.register_step_wh,
            "pause_ms": each.content.bus.pause_ms,
            "timeout_ms": each.content.bus.timeout_ms,
            "inputs": {name: list(of.fields()) for name, of in each.content.inputs.items()},
        }
        for each in maps
    ]


def _map_row(each: MeterMap) -> tuple[str, ...]:
    content = each.content
    pause = f"{content.bus.pause_ms} ms" if content.bus.pause_ms else "none"
    origin = "Minervas" if each.shipped else "own file"
    return each.id, content.name, _line(each), f"{content.register_step_wh} Wh", pause, origin


def _reads(each: MeterMap, input_name: str) -> str:
    """The block reads of an input, as function, first register (or model) and number of registers."""
    texts = []
    for name in each.blocks_of(input_name):
        block = each.content.blocks[name]
        place = f"model {'/'.join(map(str, block.models))}" if block.models else f"{block.start:#06x}"
        texts.append(f"{block.function:02d} {place} x{block.count}")
    return ", ".join(texts)


def _line(each: MeterMap) -> str:
    serial = each.content.serial
    return line_text(serial.baud, serial.parity, serial.stop_bits)
