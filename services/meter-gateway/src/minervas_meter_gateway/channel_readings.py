"""From what came over the wire to readings: decoded, checked for plausibility, never a missing value as 0. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from minervas_core.meter_maps.decoding import NoValue, Values, decode_input
from minervas_core.metering import Fault, Reading
from minervas_meter_gateway.block_read import BlockRead
from minervas_meter_gateway.bus_plan import ChannelPlan
from minervas_meter_gateway.port_worker import MeterSample
from minervas_meter_gateway.register_watch import RegisterWatch

PLAUSIBLE_TENTHS = 15
"""Power beyond rated power x 1.5, in either direction, was not measured but garbled (cold clear days reach 1.2)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One sample of one channel, before it has a number."""

    meter: str
    channel: str
    time_ms: int
    block: BlockRead
    """The read whose raw bytes stand for the sample: that of the energy register, or the one that failed."""
    values: Values | None
    """None if the sample is missing."""
    fault: Fault | None
    new_baseline: bool
    """Whether the energy register starts anew here."""

    def reading(self, sequence: int) -> Reading:
        """The reading with its number."""
        values, fault = self.values, self.fault
        return Reading(
            meter=self.meter,
            channel=self.channel,
            sequence=sequence,
            time_ms=self.time_ms,
            quality="missing" if values is None else "measured",
            power_mw=msgspec.UNSET if values is None else values.power_mw,
            voltage_mv=_present(None if values is None else values.voltage_mv),
            current_ma=_present(None if values is None else values.current_ma),
            energy_mwh=msgspec.UNSET if values is None else values.energy_mwh,
            fault=msgspec.UNSET if fault is None else fault,
            request=self.block.request.hex(),
            reply=self.block.reply.hex(),
        )


def judge_channel(sample: MeterSample, channel: ChannelPlan, watch: RegisterWatch) -> Judged:
    """Decode one channel of a sample and check that it can be."""
    reads = [sample.blocks[name] for name in channel.blocks]
    failed = next((read for read in reads if read.fault), None)
    if failed is not None:
        return _judged(sample, channel, failed, fault=failed.fault)
    registers: dict[int, int] = {}
    for name, read in zip(channel.blocks, reads, strict=True):
        registers.update(enumerate(read.registers, start=sample.meter.blocks[name].start))
    try:
        values = decode_input(
            channel.values,
            registers,
            sign=channel.sign,
            register_end_wh=sample.meter.map.content.register_end_wh,
        )
    except NoValue as error:
        return _judged(sample, channel, reads[0], fault=error.fault)
    if abs(values.power_mw) > channel.rated_w * 1000 * PLAUSIBLE_TENTHS // 10:
        return _judged(sample, channel, reads[0], fault="implausible")
    verdict = watch.judge(values.energy_mwh, sample.monotonic_ms)
    if verdict == "doubtful":
        return _judged(sample, channel, reads[0], fault="implausible")
    return _judged(sample, channel, reads[0], values=values, new_baseline=verdict == "new_baseline")


def _judged(
    sample: MeterSample,
    channel: ChannelPlan,
    block: BlockRead,
    *,
    values: Values | None = None,
    fault: Fault | None = None,
    new_baseline: bool = False,
) -> Judged:
    return Judged(sample.meter.id, channel.name, sample.time_ms, block, values, fault, new_baseline)


def _present(value: int | None) -> int | msgspec.UnsetType:
    return msgspec.UNSET if value is None else value
