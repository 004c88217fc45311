"""Which gateway keys may send readings, by the state at the tip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from minervas_core.node_market_messages import ChannelRegister, ChannelRegisters
from minervas_core.state import ChainState


@dataclass(frozen=True, slots=True)
class Gateway:
    """A registered gateway key of an active member."""

    member: str
    channels: frozenset[tuple[str, str]]
    """Meter and channel, of every meter that is registered under the key."""

    def has_meter(self, meter: str) -> bool:
        """Whether a meter is registered under the key."""
        return any(meter == registered for registered, _ in self.channels)


Gateways = Mapping[str, Gateway]
"""By public key."""


def registered_gateways(state: ChainState) -> Gateways:
    """All gateway keys whose readings are welcome."""
    channels: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for _, meter in sorted(state.market.meters.items()):
        if state.roster.active(meter.member) is not None:
            own = channels.setdefault((meter.gateway, meter.member), set())
            own.update((meter.meter, channel.name) for channel in meter.channels)
    return {key: Gateway(member, frozenset(own)) for (key, member), own in channels.items()}


def channel_registers(state: ChainState, member: str, slot_ms: int) -> ChannelRegisters:
    """What a member's gateways need to know of the chain to go on stating."""
    meters = [meter for _, meter in sorted(state.market.meters.items()) if meter.member == member]
    channels: list[ChannelRegister] = []
    for meter in meters:
        for channel in meter.channels:
            last = state.market.registers.get(f"{member}/{meter.meter}/{channel.name}")
            known = ChannelRegister(meter=meter.meter, channel=channel.name)
            channels.append(known if last is None else msgspec.structs.replace(known, last=last))
    return ChannelRegisters(
        meters=meters, channels=channels, slot_ms=slot_ms, tip_height=state.height, tip_time_ms=state.time_ms
    )
