"""Verb ``substitute``: record what a person read on a meter's display because the bus could not (ADR 0049).

The gateway itself never makes up a value: its statements settle on the register, which bridges every gap by itself.
Only when a register cannot be read any more, because the interface is dead or the meter is about to be exchanged, would
the energy since the last sample be lost. What the display shows then becomes a reading of quality ``substituted``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import load_genesis
from minervas_core.metering import Fault, Reading
from minervas_meter_gateway.bus_plan import ChannelPlan, MeterPlan, PortPlan
from minervas_meter_gateway.channel_state import ChannelState, advance
from minervas_meter_gateway.plausible import MAX_ENERGY_MWH
from minervas_meter_gateway.register_watch import RegisterWatch
from minervas_meter_gateway.settings import GatewaySettings
from minervas_meter_gateway.spool import open_spool
from minervas_runtime.clock import Clock
from minervas_runtime.kernel_clock import kernel_clock

FAULTS: tuple[Fault, ...] = typing.get_args(Fault)


@dataclass(frozen=True, slots=True)
class Substitution:
    """What somebody read."""

    meter: str
    channel: str
    energy_wh: int
    """The energy register as the display shows it."""
    fault: Fault
    """Why it could not be measured."""


def add_substitute_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--meter", required=True, help="its id in the settings")
    parser.add_argument("--channel", required=True, help="the channel's name in the settings")
    parser.add_argument(
        "--energy-wh", type=_register, required=True, metavar="WH", help="the energy register as the display shows it"
    )
    parser.add_argument(
        "--because", choices=FAULTS, default="timeout", help="why it could not be measured (timeout if not given)"
    )


def substitute(settings: GatewaySettings, ports: Sequence[PortPlan], wanted: Substitution, clock: Clock) -> Reading:
    """Put a reading taken by hand into the spool, from where the gateway sends and states it when it runs again.

    Raises:
        LocalFault: ``bad_settings`` if the gateway runs or has no such channel; ``bad_enrolment`` before it is
            approved; ``bad_substitution`` if the register cannot show that.
        SpoolFull, SpoolTrouble: if the spool takes nothing.
    """
    meter, channel = _channel(ports, wanted)
    if settings.clock.require_ntp and not kernel_clock().synchronised:
        raise _refused(wanted, "the clock is not synchronised, and the time of a reading decides what it counts for")
    spool = open_spool(settings, _network(settings))
    try:
        state = spool.states().get((wanted.meter, wanted.channel), ChannelState())
        now_ms = clock.now_ms()
        _check(wanted, state, RegisterWatch(channel.rated_w, meter.register_step_wh), now_ms)
        reading = _reading(wanted, spool.next_sequence, now_ms)
        after, _ = advance(state, reading, usable=True, new_baseline=False, slot_ms=0)  # the gateway ends statements
        spool.append([encode(reading)], {(wanted.meter, wanted.channel): after}, ())
    finally:
        spool.close()
    return reading


def _network(settings: GatewaySettings) -> str:
    """The network that the gateway was approved for."""
    file = settings.paths.issued / "genesis.json"
    try:
        return load_genesis(file.read_bytes()).network
    except OSError as error:
        raise LocalFault(Code.BAD_ENROLMENT, "The gateway was not approved yet", file=str(file)) from error


def _register(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MAX_ENERGY_MWH // 1_000:
        raise argparse.ArgumentTypeError(f"not between 0 and {MAX_ENERGY_MWH // 1_000} Wh")
    return value


def _channel(ports: Sequence[PortPlan], wanted: Substitution) -> tuple[MeterPlan, ChannelPlan]:
    known = [(meter, channel) for port in ports for meter in port.meters for channel in meter.channels]
    for meter, channel in known:
        if (meter.id, channel.name) == (wanted.meter, wanted.channel):
            return meter, channel
    names = ", ".join(f"{meter.id} {channel.name}" for meter, channel in known)
    raise LocalFault(
        Code.BAD_SETTINGS,
        "There is no such channel in the settings",
        meter=wanted.meter,
        channel=wanted.channel,
        known=names,
    )


def _check(wanted: Substitution, state: ChannelState, watch: RegisterWatch, now_ms: int) -> None:
    """Check that the register can have got there since its last sample."""
    if state.start is None or state.last_energy_mwh < 0:
        raise _refused(wanted, "nothing was measured that it could go on from; a first value is never substituted")
    elapsed_ms = now_ms - state.last_time_ms
    if elapsed_ms <= 0:
        raise _refused(wanted, "the last sample is not older; is the clock right?")
    if wanted.energy_wh < state.start.register_wh:
        raise _refused(wanted, f"the chain has {state.start.register_wh} Wh already")
    watch.resume(state.last_energy_mwh, 0)
    if watch.judge(wanted.energy_wh * 1_000, elapsed_ms) != "continues":
        last = f"{state.last_energy_mwh // 1_000} Wh at {_moment(state.last_time_ms)}"
        raise _refused(wanted, f"it was {last} and cannot have got there at rated power since; read it again")


def _reading(wanted: Substitution, sequence: int, now_ms: int) -> Reading:
    return Reading(
        meter=wanted.meter,
        channel=wanted.channel,
        sequence=sequence,
        time_ms=now_ms,
        quality="substituted",
        energy_mwh=wanted.energy_wh * 1_000,
        fault=wanted.fault,
        request="",
        reply="",
    )


def _moment(time_ms: int) -> str:
    return dt.datetime.fromtimestamp(time_ms / 1_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _refused(wanted: Substitution, reason: str) -> LocalFault:
    return LocalFault(
        Code.BAD_SUBSTITUTION,
        "That value cannot be substituted",
        meter=wanted.meter,
        channel=wanted.channel,
        energy_wh=wanted.energy_wh,
        reason=reason,
    )
