"""Registering meters (design section 5, membership)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.governance.key_owners import check_gateway
from minervas_core.market.records import Meter
from minervas_core.market.state import Market
from minervas_core.transactions import RegisterMeter

if TYPE_CHECKING:
    from minervas_core.state import ChainState


def check_registration(state: ChainState, tx_id: str, change: RegisterMeter) -> None:
    """Check the registration of a meter.

    Raises:
        InvalidTransaction: ``member_unknown``, ``channel_twice``, ``meter_exists``, or ``key_reused`` if the gateway
            key is or was registered for anything but this member's meters as they are.
    """
    if state.roster.active(change.member) is None:
        raise InvalidTransaction(Code.MEMBER_UNKNOWN, "Not an active member", tx=tx_id, member=change.member)
    if len({channel.name for channel in change.meter.channels}) != len(change.meter.channels):
        raise InvalidTransaction(Code.CHANNEL_TWICE, "Two channels share a name", tx=tx_id, meter=change.meter.meter)
    if f"{change.member}/{change.meter.meter}" in state.market.meters:
        raise InvalidTransaction(
            Code.METER_EXISTS, "The member has a meter of this id", tx=tx_id, meter=change.meter.meter
        )
    check_gateway(state, change.gateway, change.member, tx_id)


def register_meter(market: Market, change: RegisterMeter, parent_time_ms: int) -> None:
    """Register a checked meter: nothing metered before the predecessor's time is minted."""
    meter = change.meter
    record = Meter(
        member=change.member,
        meter=meter.meter,
        model=meter.model,
        gateway=change.gateway,
        channels=meter.channels,
        register_step_wh=meter.register_step_wh,
        registered_ms=parent_time_ms,
    )
    market.meters.put(f"{change.member}/{meter.meter}", record)
