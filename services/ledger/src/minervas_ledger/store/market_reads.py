"""Questions about the committed market. Every function is one statement, so its answer is of one moment."""

from __future__ import annotations

from typing import cast

from minervas_core.market.records import Meter, Obligation
from minervas_core.node_market_messages import (
    ChannelEnergy,
    Meters,
    ObligationEntry,
    OrderEntry,
    TradeEntry,
)
from minervas_ledger.store.columns import as_int
from minervas_ledger.store.connection import Connection
from minervas_ledger.store.market_rows import ORDERS, TRADES, meter_of, order_of, trade_of


def open_orders(connection: Connection, member: str, limit: int) -> list[OrderEntry]:
    """Open orders, offers first, best price first, of one member or (for an empty name) of all."""
    query = f"""
        {ORDERS.form.select_statement} WHERE %(member)s = '' OR member = %(member)s
        ORDER BY side DESC, CASE side WHEN 'offer' THEN price_micro ELSE -price_micro END, height, index
        LIMIT %(limit)s
        """
    rows = connection.execute(query.encode(), {"member": member, "limit": limit}, binary=True).fetchall()
    return [OrderEntry(id=order_id, order=order) for order_id, order in map(order_of, rows)]


def newest_trades(connection: Connection, limit: int) -> list[TradeEntry]:
    """Trades of the best chain, newest first, each with the channels that its energy came from."""
    query = f"""
        SELECT {", ".join(f"t.{column}" for column in TRADES.columns)}, ARRAY(
            SELECT DISTINCT concat_ws('/', s.member, s.meter, s.channel)
            FROM lots l CROSS JOIN unnest(l.origins) AS o (statement) JOIN statements s ON s.id = o.statement
            WHERE l.id = ANY(t.lots) ORDER BY 1
        )
        FROM trades t ORDER BY height DESC, position DESC LIMIT %s
        """  # noqa: S608 - names are constants
    rows = connection.execute(query.encode(), (limit,), binary=True).fetchall()
    return [TradeEntry(trade=trade_of(row[:-1]), meters=cast("list[str]", row[-1])) for row in rows]


def obligations(connection: Connection) -> list[ObligationEntry]:
    """What members owe each other, by debtor and creditor."""
    rows = connection.execute(
        """
        SELECT debtor, creditor, amount_micro, energy_wh FROM obligations
        ORDER BY debtor COLLATE "C", creditor COLLATE "C"
        """,
        binary=True,
    ).fetchall()
    return [
        ObligationEntry(
            debtor=str(debtor),
            creditor=str(creditor),
            owed=Obligation(amount_micro=as_int(amount_micro), energy_wh=as_int(energy_wh)),
        )
        for debtor, creditor, amount_micro, energy_wh in rows
    ]


def meters(connection: Connection, member: str) -> Meters:
    """Registered meters with what each channel has minted, of one member or (for an empty name) of all."""
    rows = connection.execute(
        """
        SELECT m.member, m.meter, m.model, m.gateway, m.channels, m.rated_w, m.register_step_wh, m.registered_ms,
            c.name, minted.energy_wh, minted.statements
        FROM meters m
        CROSS JOIN LATERAL unnest(m.channels) WITH ORDINALITY AS c (name, place)
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(end_wh - start_wh), 0)::bigint AS energy_wh, count(*) AS statements FROM statements s
            WHERE s.member = m.member AND s.meter = m.meter AND s.channel = c.name
        ) AS minted
        WHERE %(member)s = '' OR m.member = %(member)s
        ORDER BY m.member COLLATE "C", m.meter COLLATE "C", c.place
        """,
        {"member": member},
        binary=True,
    ).fetchall()
    found: dict[str, Meter] = {}
    energy: list[ChannelEnergy] = []
    for *meter_row, channel, minted_wh, statements in rows:
        key, meter = meter_of(tuple(meter_row))
        found[key] = meter
        energy.append(
            ChannelEnergy(
                member=meter.member,
                meter=meter.meter,
                channel=str(channel),
                minted_wh=as_int(minted_wh),
                statements=as_int(statements),
            )
        )
    return Meters(meters=list(found.values()), energy=energy)
