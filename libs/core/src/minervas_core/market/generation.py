"""Metering statements: the only way energy comes into being (design section 5).

A statement says that a channel's energy register went from one value to another between two sampled times. It is
signed by the gateway key under which the meter is registered, starts exactly where the channel's last one ended, and
may not claim more than the rated power could have produced. (It proves what a gateway key claimed, not that the meter
was honest.)
"""

from __future__ import annotations

from minervas_core.encoding import MAX_INTEGER
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.market.records import Channel, Lot, Meter, Origin, Register
from minervas_core.market.state import Market
from minervas_core.metering import Generation

HOUR_MS = 3_600_000


def check_statement_alone(transaction_id: str, statement: Generation) -> None:
    """Check what needs no state: time rises, and the register does not fall.

    Raises:
        InvalidTransaction: ``statement_order``.
    """
    start, end = statement.start, statement.end
    if end.time_ms <= start.time_ms or end.register_wh < start.register_wh:
        raise InvalidTransaction(
            Code.STATEMENT_ORDER,
            "Time and register only rise within a statement",
            tx=transaction_id,
            elapsed_ms=end.time_ms - start.time_ms,
            energy_wh=end.register_wh - start.register_wh,
        )


def check_statement(market: Market, statement: Generation, latest_ms: int) -> None:
    """Check a statement against the registered meters and registers.

    Args:
        market: the state before it.
        statement: the statement.
        latest_ms: time of the block that carries it (or, in the queue, the latest that a block could have).

    Raises:
        InvalidTransaction: ``meter_unknown``, ``tx_wrong_sender``, ``channel_unknown``, ``statement_gap``,
            ``statement_overlap``, ``statement_future`` or ``statement_rated_power``.
    """
    meter, channel = _registered(market, statement)
    last = market.registers.get(channel_key(statement))
    _check_start(statement, last, meter)
    if statement.end.time_ms > latest_ms:
        raise InvalidTransaction(
            Code.STATEMENT_FUTURE, "Ends after the block's time", end_ms=statement.end.time_ms, time_ms=latest_ms
        )
    _check_energy(statement, last, channel, meter)


def apply_statement(market: Market, statement_id: str, statement: Generation) -> Lot | None:
    """Advance the channel's register and mint a lot of exactly the stated energy; returns the lot, if there is any."""
    end = statement.end
    energy_wh = end.register_wh - statement.start.register_wh
    last = market.registers.get(channel_key(statement))
    register = Register(
        time_ms=end.time_ms,
        register_wh=end.register_wh,
        statement=statement_id,
        since_ms=last.since_ms if last else statement.start.time_ms,
        minted_wh=(last.minted_wh if last else 0) + energy_wh,
    )
    market.registers.put(channel_key(statement), register)
    if energy_wh == 0:
        return None
    origin = Origin(statement=statement_id, energy_wh=energy_wh)
    lot = Lot(owner=statement.member, energy_wh=energy_wh, parent=statement_id, origins=[origin])
    market.lots.put(statement_id, lot)
    return lot


def channel_key(statement: Generation) -> str:
    """The channel of a statement as the state keys it: ``member/meter/channel``."""
    return f"{statement.member}/{statement.meter}/{statement.channel}"


def most_energy_wh(rated_w: int, elapsed_ms: int, register_step_wh: int) -> int:
    """Most that a channel may have metered: rated power for the time, a tenth more, and one register step."""
    return rated_w * elapsed_ms * 11 // (10 * HOUR_MS) + register_step_wh


def _registered(market: Market, statement: Generation) -> tuple[Meter, Channel]:
    meter = market.meters.get(f"{statement.member}/{statement.meter}")
    if meter is None:
        raise InvalidTransaction(
            Code.METER_UNKNOWN, "No such registered meter", member=statement.member, meter=statement.meter
        )
    if statement.sender != meter.gateway:
        raise InvalidTransaction(
            Code.TX_WRONG_SENDER, "Not the gateway key of this meter", meter=statement.meter, sender=statement.sender
        )
    for channel in meter.channels:
        if channel.name == statement.channel:
            return meter, channel
    raise InvalidTransaction(Code.CHANNEL_UNKNOWN, "The meter has no such channel", channel=statement.channel)


def _check_start(statement: Generation, last: Register | None, meter: Meter) -> None:
    start = statement.start
    earliest_ms = last.time_ms if last else meter.registered_ms
    if start.time_ms < earliest_ms:
        raise InvalidTransaction(
            Code.STATEMENT_OVERLAP,
            "Starts before the channel's last statement ended, or before registration",
            start_ms=start.time_ms,
            earliest_ms=earliest_ms,
        )
    if last is None or statement.reset:
        return
    if (start.time_ms, start.register_wh) != (last.time_ms, last.register_wh):
        raise InvalidTransaction(
            Code.STATEMENT_GAP,
            "Does not start where the channel's last statement ended",
            start_ms=start.time_ms,
            last_ms=last.time_ms,
            start_wh=start.register_wh,
            last_wh=last.register_wh,
        )


def _check_energy(statement: Generation, last: Register | None, channel: Channel, meter: Meter) -> None:
    """Check the energy against the rated power, over the statement and over all statements of the channel.

    One register step is allowed for rounding, and only once in all: many short statements, or many resets, would
    otherwise mint a step each.
    """
    start, end = statement.start, statement.end
    energy_wh, step_wh = end.register_wh - start.register_wh, meter.register_step_wh
    since_ms, minted_wh = (last.since_ms, last.minted_wh) if last else (start.time_ms, 0)
    in_all_wh = min(most_energy_wh(channel.rated_w, end.time_ms - since_ms, step_wh), MAX_INTEGER)
    most_wh = min(most_energy_wh(channel.rated_w, end.time_ms - start.time_ms, step_wh), in_all_wh - minted_wh)
    if energy_wh > most_wh:
        raise InvalidTransaction(
            Code.STATEMENT_RATED_POWER,
            "More than the channel's rated power can produce",
            energy_wh=energy_wh,
            most_wh=most_wh,
            rated_w=channel.rated_w,
            elapsed_ms=end.time_ms - start.time_ms,
        )
