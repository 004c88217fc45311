"""`minervas market`, `clearings` and `volumes`: what energy costs."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output, when
from minervas_peer.commands.prices import price_per_kwh


def show_market(client: ApiClient, output: Output, *, limit: int) -> None:
    """Show the order book by price, and the last price."""
    page = client.get("/v1/market", levels=limit)
    if output.as_json:
        output.json(page)
        return
    slot, last = page["slot"], page["last"]
    facts: list[tuple[str, object]] = [("mode", slot["mode"]), ("slot ends (UTC)", when(slot["ends_ms"]))]
    facts.append(("last price per kWh", _price(last["price_micro"] if last else None)))
    output.facts("Market", facts)
    rows = [
        (side, price_per_kwh(level["price_micro"]), level["energy_wh"], level["orders"])
        for side, levels in (("offer", page["offers"]), ("bid", page["bids"]))
        for level in levels
    ]
    output.table("Open orders by price", ("side", "price per kWh", "Wh", "orders"), rows)


def show_clearings(client: ApiClient, output: Output, *, limit: int) -> None:
    """Show what auctions decided."""
    page = client.get("/v1/clearings", limit=limit)
    if output.as_json:
        output.json(page)
        return
    headings = ("slot until (UTC)", "block", "price per kWh", "Wh", "offers", "bids", "Wh offered", "Wh wanted")
    names = ("energy_wh", "offers", "bids", "offered_wh", "wanted_wh")
    rows = [
        (when(each["slot_ends_ms"]), each["height"], _price(each["price_micro"]), *(each[name] for name in names))
        for each in page["clearings"]
    ]
    output.table("Auctions, newest first", headings, rows)


def show_volumes(client: ApiClient, output: Output, *, limit: int) -> None:
    """Show what was traded in each slot."""
    page = client.get("/v1/volumes", limit=limit)
    if output.as_json:
        output.json(page)
        return
    prices = ("lowest_micro", "highest_micro", "last_micro")
    rows = [
        (when(each["start_ms"]), each["trades"], each["energy_wh"], *(price_per_kwh(each[name]) for name in prices))
        for each in page["volumes"]
    ]
    output.table("Slots, newest first", ("from (UTC)", "trades", "Wh", "lowest", "highest", "last per kWh"), rows)


def _price(price_micro: int | None) -> str:
    """A price for people; a dash if there is none."""
    return "-" if price_micro is None else price_per_kwh(price_micro)
