"""Verb ``scan``: find meters on a port, and which maps give plausible values. Only reads, never writes a register.

Every address is asked twice for two registers, once with function 4 and once with function 3; whoever answers, if only
with an exception, is there. Then every map is tried on it. With few maps these are asked at once, which also finds
meters that stay silent about registers that they do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minervas_core.meter_maps.decoding import NoValue, Values, decode_input
from minervas_core.meter_maps.meter_map import Block, MeterMap
from minervas_meter_gateway.block_read import BlockRead
from minervas_meter_gateway.bus_plan import SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.plausible import why_unlikely
from minervas_meter_gateway.tables import as_table, milli

HEADS = ("address", "line", "map", "input", "verdict", "power W", "voltage V", "current A", "energy Wh")

FEW_MAPS = 2
PROBE_TIMEOUT_MS = 200
PROBES = (Block(function=4, start=0, count=2), Block(function=3, start=0, count=2))
NOBODY = ("timeout", "echo")
"""Faults that come when nobody answers."""


class AdapterEchoes(Exception):
    """The adapter hears what it sends, which must be known before anything can be read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one input of one map gives at an address; or that somebody is there whom no map fits."""

    address: int
    line: str
    map_id: str
    """Empty if no map fits."""
    input_name: str
    verdict: str
    """``fits``, or why it is not likely."""
    values: Values | None = None

    @property
    def fits(self) -> bool:
        """Whether the values are plausible."""
        return self.verdict == "fits"


@dataclass(frozen=True, kw_only=True)
class ScanOrder:
    """What is looked for."""

    addresses: Sequence[int]
    maps: Mapping[str, MeterMap]
    timeout_ms: int | None = None
    """How long a meter may take to reply; None: as the maps say, or 200 ms where many are tried."""
    thorough: bool = False
    """Whether every map is tried at silent addresses as well."""

    @property
    def few(self) -> bool:
        """Whether the maps themselves are the probes."""
        return self.thorough or len(self.maps) <= FEW_MAPS

    def timeout_of(self, used: MeterMap) -> int:
        """How long a meter of this model may take."""
        return self.timeout_ms or used.content.bus.timeout_ms


class Scanner:
    """Looks for meters through one open port.

    Args:
        reader: of the port.
        plan: how the port was opened.
        order: what is looked for.
        progress: told how far it has got.
    """

    def __init__(self, reader: BusReader, plan: SerialPlan, order: ScanOrder, progress: Callable[[str], None]) -> None:
        self._reader = reader
        self._line = plan.line
        self._order = order
        self._progress = progress
        self._pause_ms = max(used.content.bus.pause_ms for used in order.maps.values())

    def findings(self) -> Iterator[Finding]:
        """Look through all addresses.

        Raises:
            AdapterEchoes: if the adapter hears what it sends, but was not opened as one that does.
            PortLost: if the port is gone.
        """
        for address in self._order.addresses:
            self._progress(f"{self._line}: address {address}")
            answer = "" if self._order.few else self._probe(address)
            if answer or self._order.few:
                yield from self._at(address, answer)

    def _at(self, address: int, answer: str) -> Iterator[Finding]:
        """What all maps give at an address; `answer` says how somebody answered before."""
        fitting: list[Finding] = []
        others: list[Finding] = []
        for used in self._order.maps.values():
            for each in self._try(address, used):
                (fitting if each.fits else others).append(each)
        unlikely = [each for each in others if each.values is not None]
        if fitting:
            yield from fitting
        elif unlikely:
            yield from unlikely
        elif answer or others:
            reason = answer or others[0].verdict
            yield Finding(address, self._line, "", "", f"somebody answers ({reason}), but no map fits")

    def _probe(self, address: int) -> str:
        """How somebody answers at an address; empty if nobody does."""
        timeout_ms = self._order.timeout_ms or PROBE_TIMEOUT_MS
        for block in PROBES:
            read = self._read(address, block, timeout_ms, self._pause_ms)
            if read.fault not in NOBODY:
                return read.kind or "good reply"
        return ""

    def _try(self, address: int, used: MeterMap) -> Iterator[Finding]:
        """What each input of a map gives; nothing where nobody answers."""
        reads: dict[str, BlockRead] = {}
        for input_name in used.content.inputs:
            failed = self._read_blocks(address, used, input_name, reads)
            if failed is not None and failed.fault in NOBODY:
                return
            if failed is not None:
                yield Finding(address, self._line, used.id, input_name, str(failed.kind))
            else:
                yield self._judged(address, used, input_name, reads)

    def _read_blocks(
        self, address: int, used: MeterMap, input_name: str, reads: dict[str, BlockRead]
    ) -> BlockRead | None:
        """Read what an input needs and is not in `reads` yet; returns the read that failed, if one did."""
        for name in used.blocks_of(input_name):
            if name not in reads:
                block = used.content.blocks[name]
                reads[name] = self._read(address, block, self._order.timeout_of(used), self._pause_ms)
            if reads[name].fault:
                return reads[name]
        return None

    def _judged(self, address: int, used: MeterMap, input_name: str, reads: Mapping[str, BlockRead]) -> Finding:
        content = used.content
        registers = {
            content.blocks[name].start + offset: value
            for name in used.blocks_of(input_name)
            for offset, value in enumerate(reads[name].registers)
        }
        try:
            values = decode_input(content.inputs[input_name], registers, register_end_wh=content.register_end_wh)
        except NoValue as error:
            return Finding(address, self._line, used.id, input_name, str(error))
        return Finding(address, self._line, used.id, input_name, why_unlikely(values) or "fits", values)

    def _read(self, address: int, block: Block, timeout_ms: int, pause_ms: int) -> BlockRead:
        read = self._reader.read(address, block, pause_ms=pause_ms, timeout_ms=timeout_ms)
        if read.fault == "echo":
            raise AdapterEchoes("the adapter hears what it sends; scan with --local-echo")
        return read


def findings_table(findings: Sequence[Finding]) -> str:
    """Findings for people."""
    return as_table(HEADS, [_row(each) for each in findings])


def findings_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "address": each.address,
            "line": each.line,
            "map": each.map_id,
            "input": each.input_name,
            "fits": each.fits,
            "verdict": each.verdict,
            "values": each.values.as_json() if each.values else None,
        }
        for each in findings
    ]


def _row(each: Finding) -> tuple[str, ...]:
    values = each.values
    return (
        str(each.address),
        each.line,
        each.map_id or "-",
        each.input_name or "-",
        each.verdict,
        milli(values.power_mw if values else None, 1),
        milli(values.voltage_mv if values else None, 2),
        milli(values.current_ma if values else None, 2),
        milli(values.energy_mwh if values else None, 0),
    )
