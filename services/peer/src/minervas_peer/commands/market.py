"""`minervas orders`, `trades`, `obligations`, `meters` and `readings`."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, when
from minervas_peer.commands.prices import price_per_kwh


def show_orders(client: ApiClient, output: Output, *, member: str, limit: int) -> None:
    """Show the order book."""
    page = client.get("/v1/orders", member=member, limit=limit)
    headings = ("side", "member", "price per kWh", "Wh open", "only for", "valid until (UTC)", "order")
    rows = [
        (
            order["side"],
            order["member"],
            price_per_kwh(order["price_micro"]),
            order["energy_wh"],
            order["buyer"],
            when(order["valid_until_ms"]),
            order["id"],
        )
        for order in page["orders"]
    ]
    _show(output, page, "Open orders", headings, rows)


def show_trades(client: ApiClient, output: Output, *, limit: int) -> None:
    """Show trades with the meters that the energy came from."""
    page = client.get("/v1/trades", limit=limit)
    headings = ("block", "seller", "buyer", "Wh", "price per kWh", "amount", "from meter")
    rows = [
        (
            trade["height"],
            trade["seller"],
            trade["buyer"],
            trade["energy_wh"],
            price_per_kwh(trade["price_micro"]),
            _amount(trade["amount_micro"]),
            ", ".join(trade["meters"]),
        )
        for trade in page["trades"]
    ]
    _show(output, page, "Trades, newest first", headings, rows)


def show_obligations(client: ApiClient, output: Output) -> None:
    """Show who owes whom."""
    page = client.get("/v1/obligations")
    rows = [
        (owed["debtor"], owed["creditor"], owed["energy_wh"], _amount(owed["amount_micro"]))
        for owed in page["obligations"]
    ]
    _show(output, page, "Obligations", ("debtor", "creditor", "Wh", "amount"), rows)


def show_meters(client: ApiClient, output: Output, *, member: str) -> None:
    """Show registered meters and what their channels minted."""
    page = client.get("/v1/meters", member=member)
    minted = {(each["member"], each["meter"], each["channel"]): each for each in page["energy"]}
    rows = [
        (
            meter["member"],
            meter["meter"],
            meter["model"],
            channel["name"],
            channel["rated_w"],
            minted.get((meter["member"], meter["meter"], channel["name"]), {}).get("minted_wh", 0),
        )
        for meter in page["meters"]
        for channel in meter["channels"]
    ]
    _show(output, page, "Meters", ("member", "meter", "model", "channel", "rated W", "minted Wh"), rows)


def show_readings(client: ApiClient, output: Output, *, meter: str, channel: str, limit: int) -> None:
    """Show the newest readings."""
    page = client.get("/v1/readings", meter=meter, channel=channel, limit=limit)
    headings = ("time (UTC)", "meter", "channel", "quality", "W", "V", "A", "register Wh", "sequence")
    rows = [
        (
            when(reading["time_ms"]),
            reading["meter"],
            reading["channel"],
            reading["quality"] + (f" ({reading['fault']})" if "fault" in reading else ""),
            *(_thousandth(reading.get(name)) for name in ("power_mw", "voltage_mv", "current_ma", "energy_mwh")),
            reading["sequence"],
        )
        for reading in page["readings"]
    ]
    _show(output, page, f"Readings, newest first; {page['stored']:,} stored", headings, rows)


def _show(output: Output, page: Json, title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if output.as_json:
        output.json(page)
    else:
        output.table(title, headings, rows)


def _thousandth(value: int | None) -> str:
    """A value in thousandths as a decimal number; a dash if nothing was measured."""
    if value is None:
        return "-"
    whole, rest = divmod(abs(value), 1000)
    return f"{'-' if value < 0 else ''}{whole}.{rest:03d}"


def _amount(amount_micro: int) -> str:
    """An amount in millionths of the currency as a decimal number."""
    whole, rest = divmod(amount_micro, 1_000_000)
    return f"{whole:,}.{rest:06d}".rstrip("0").rstrip(".")
