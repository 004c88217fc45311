"""What the gateway declares when it joins: the meters that admission registers on chain for this gateway's key."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.market.records import Channel, MeterDeclaration
from minervas_meter_gateway.bus_plan import PortPlan


def declared_meters(ports: Sequence[PortPlan]) -> list[MeterDeclaration]:
    """The meters of all ports, as they are to be registered."""
    return [
        MeterDeclaration(
            meter=meter.id,
            model=meter.map.id,
            channels=[Channel(name=channel.name, rated_w=channel.rated_w) for channel in meter.channels],
            register_step_wh=meter.register_step_wh,
        )
        for port in ports
        for meter in port.meters
    ]
