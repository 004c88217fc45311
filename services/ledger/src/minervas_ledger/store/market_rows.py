"""Records of the market as rows of the database, and back. Writing, restoring and the audit share these."""

from __future__ import annotations

from typing import cast

from minervas_core.encoding import Record
from minervas_core.market.records import Channel, Meter, Obligation, Order, Register, Trade
from minervas_core.metering import Generation
from minervas_ledger.store.auction_rows import PENDING_FILLS, SLOTS
from minervas_ledger.store.columns import as_bytes, as_int, binary
from minervas_ledger.store.settlement_rows import SETTLEMENTS
from minervas_ledger.store.table_forms import Row, StateForm, TableForm

# the state


def _meter_row(key: str, record: Record) -> Row:
    meter = cast("Meter", record)
    return (
        *key.split("/"),
        meter.model,
        bytes.fromhex(meter.gateway),
        [channel.name for channel in meter.channels],
        [channel.rated_w for channel in meter.channels],
        meter.register_step_wh,
        meter.registered_ms,
    )


def meter_of(row: Row) -> tuple[str, Meter]:
    """A row of `meters` as key and record."""
    member, meter, model, gateway, names, rated_w, register_step_wh, registered_ms = row
    channels = zip(cast("list[str]", names), cast("list[int]", rated_w), strict=True)
    record = Meter(
        member=str(member),
        meter=str(meter),
        model=str(model),
        gateway=as_bytes(gateway).hex(),
        channels=[Channel(name=name, rated_w=rated) for name, rated in channels],
        register_step_wh=as_int(register_step_wh),
        registered_ms=as_int(registered_ms),
    )
    return f"{member}/{meter}", record


def _register_row(key: str, record: Record) -> Row:
    register = cast("Register", record)
    return (
        *key.split("/"),
        register.time_ms,
        register.register_wh,
        bytes.fromhex(register.statement),
        register.since_ms,
        register.minted_wh,
    )


def _register_of(row: Row) -> tuple[str, Register]:
    member, meter, channel, time_ms, register_wh, statement, since_ms, minted_wh = row
    record = Register(
        time_ms=as_int(time_ms),
        register_wh=as_int(register_wh),
        statement=as_bytes(statement).hex(),
        since_ms=as_int(since_ms),
        minted_wh=as_int(minted_wh),
    )
    return f"{member}/{meter}/{channel}", record


def _order_row(key: str, record: Record) -> Row:
    order = cast("Order", record)
    return (
        bytes.fromhex(key),
        order.side,
        order.member,
        order.price_micro,
        order.energy_wh,
        order.smallest_wh,
        order.valid_until_ms,
        order.height,
        order.index,
        order.buyer or None,
        binary(order.lots),
        order.waiting,
        order.events,
        order.repeat_wh,
    )


def order_of(row: Row) -> tuple[str, Order]:
    """A row of `orders` as id and record."""
    order_id, side, member, price_micro, energy_wh, smallest_wh, valid_until_ms = row[:7]
    height, index, buyer, lots, waiting, events, repeat_wh = row[7:]
    record = Order(
        side="offer" if side == "offer" else "bid",
        member=str(member),
        price_micro=as_int(price_micro),
        energy_wh=as_int(energy_wh),
        smallest_wh=as_int(smallest_wh),
        valid_until_ms=as_int(valid_until_ms),
        height=as_int(height),
        index=as_int(index),
        buyer=str(buyer or ""),
        lots=hexes(lots),
        waiting=bool(waiting),
        events=as_int(events),
        repeat_wh=as_int(repeat_wh),
    )
    return as_bytes(order_id).hex(), record


def _obligation_row(key: str, record: Record) -> Row:
    owed = cast("Obligation", record)
    return (*key.split("/"), owed.amount_micro, owed.energy_wh)


def _obligation_of(row: Row) -> tuple[str, Obligation]:
    debtor, creditor, amount_micro, energy_wh = row
    return f"{debtor}/{creditor}", Obligation(amount_micro=as_int(amount_micro), energy_wh=as_int(energy_wh))


METERS = StateForm(
    "meters",
    TableForm(
        "meters",
        {
            "member": "text",
            "meter": "text",
            "model": "text",
            "gateway": "bytea",
            "channels": "text[]",
            "rated_w": "int4[]",
            "register_step_wh": "int4",
            "registered_ms": "int8",
        },
        key_columns=2,
    ),
    _meter_row,
    meter_of,
)
REGISTERS = StateForm(
    "registers",
    TableForm(
        "channel_registers",
        {
            "member": "text",
            "meter": "text",
            "channel": "text",
            "time_ms": "int8",
            "register_wh": "int8",
            "statement": "bytea",
            "since_ms": "int8",
            "minted_wh": "int8",
        },
        key_columns=3,
    ),
    _register_row,
    _register_of,
)
ORDERS = StateForm(
    "orders",
    TableForm(
        "orders",
        {
            "id": "bytea",
            "side": "text",
            "member": "text",
            "price_micro": "int8",
            "energy_wh": "int8",
            "smallest_wh": "int8",
            "valid_until_ms": "int8",
            "height": "int8",
            "index": "int8",
            "buyer": "text",
            "lots": "bytea[]",
            "waiting": "bool",
            "events": "int8",
            "repeat_wh": "int8",
        },
        key_columns=1,
    ),
    _order_row,
    order_of,
)
OBLIGATIONS = StateForm(
    "obligations",
    TableForm(
        "obligations",
        {"debtor": "text", "creditor": "text", "amount_micro": "int8", "energy_wh": "int8"},
        key_columns=2,
    ),
    _obligation_row,
    _obligation_of,
)

STATE_FORMS = (METERS, REGISTERS, ORDERS, OBLIGATIONS, SLOTS, PENDING_FILLS, SETTLEMENTS)
"""All tables that mirror one of the state's; lots are kept with their history instead."""


# history


STATEMENTS = TableForm(
    "statements",
    {
        "height": "int8",
        "position": "int4",
        "id": "bytea",
        "member": "text",
        "meter": "text",
        "channel": "text",
        "start_ms": "int8",
        "start_wh": "int8",
        "end_ms": "int8",
        "end_wh": "int8",
        "measured": "int8",
        "substituted": "int8",
        "missing": "int8",
        "reset": "bool",
        "readings_root": "bytea",
    },
    key_columns=2,
)

TRADES = TableForm(
    "trades",
    {
        "height": "int8",
        "position": "int4",
        "block": "bytea",
        "offer": "bytea",
        "bid": "bytea",
        "seller": "text",
        "buyer": "text",
        "energy_wh": "int8",
        "price_micro": "int8",
        "amount_micro": "int8",
        "lots": "bytea[]",
    },
    key_columns=2,
)


def statement_row(statement_id: str, statement: Generation, *, height: int, position: int) -> Row:
    """The row of a metering statement at a position of a block."""
    return (
        height,
        position,
        bytes.fromhex(statement_id),
        statement.member,
        statement.meter,
        statement.channel,
        statement.start.time_ms,
        statement.start.register_wh,
        statement.end.time_ms,
        statement.end.register_wh,
        statement.measured,
        statement.substituted,
        statement.missing,
        statement.reset,
        bytes.fromhex(statement.readings_root),
    )


def trade_row(trade: Trade, block_hash: str) -> Row:
    """The row of a trade in a block."""
    return (
        trade.height,
        trade.position,
        bytes.fromhex(block_hash),
        bytes.fromhex(trade.offer),
        bytes.fromhex(trade.bid),
        trade.seller,
        trade.buyer,
        trade.energy_wh,
        trade.price_micro,
        trade.amount_micro,
        binary(trade.lots),
    )


def trade_of(row: Row) -> Trade:
    """A row of `trades` as a record."""
    height, position, _, offer, bid, seller, buyer, energy_wh, price_micro, amount_micro, lots = row
    return Trade(
        height=as_int(height),
        position=as_int(position),
        offer=as_bytes(offer).hex(),
        bid=as_bytes(bid).hex(),
        seller=str(seller),
        buyer=str(buyer),
        energy_wh=as_int(energy_wh),
        price_micro=as_int(price_micro),
        amount_micro=as_int(amount_micro),
        lots=hexes(lots),
    )


def hexes(column: object) -> list[str]:
    """A bytea[] column as hex."""
    return [as_bytes(item).hex() for item in cast("list[object]", column)]
