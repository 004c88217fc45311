"""`minervas lots`, `lot` and `retirements`."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, short, when


def show_lots(client: ApiClient, output: Output, *, owner: str, free: bool, after: str, limit: int) -> None:
    """Show a page of the unspent lots."""
    page = client.get("/v1/lots", owner=owner, free=str(free).lower(), after=after, limit=limit)
    if output.as_json:
        output.json(page)
        return
    rows = [
        (lot["owner"], lot["energy_wh"], "yes" if lot["offer"] else "", _origins(lot["origins"]), lot["id"])
        for lot in page["lots"]
    ]
    output.table("Lots", ("owner", "Wh", "on sale", "origins (statements)", "lot"), rows)
    if page["more"]:
        output.say(f"There are more: --after {page['lots'][-1]['id']}")


def show_lot(client: ApiClient, output: Output, *, lot_id: str) -> None:
    """Show one lot and where its energy was metered."""
    lot = client.get(f"/v1/lots/{lot_id}")
    if output.as_json:
        output.json(lot)
        return
    facts: list[tuple[str, object]] = [
        ("owner", lot["owner"]),
        ("energy", f"{lot['energy_wh']:,} Wh"),
        ("state", _state(lot)),
        ("made in block", lot["created_height"]),
    ]
    if lot["parent"] != lot["id"]:
        facts.append(("split from lot", lot["parent"]))
    output.facts(f"Lot {lot['id']}", [*facts, *(("joined from lot", each) for each in lot["joined"])])
    output.table("Metered", ("Wh", "meter", "from (UTC)", "to (UTC)", "statement"), _metered(lot["origins"]))


def show_retirements(client: ApiClient, output: Output, *, owner: str, limit: int) -> None:
    """Show lots that were claimed as used."""
    page = client.get("/v1/retirements", owner=owner, limit=limit)
    if output.as_json:
        output.json(page)
        return
    rows = [
        (each["height"], each["owner"], each["energy_wh"], ", ".join(_meters(each["origins"])), each["lot"])
        for each in page["retirements"]
    ]
    output.table("Retired lots, newest first", ("block", "owner", "Wh", "from meter", "lot"), rows)
    if page["more"]:
        output.say("There are older ones.")


def _origins(origins: Sequence[Json]) -> str:
    """The first origin, and how many more."""
    more = f" and {len(origins) - 1} more" if len(origins) > 1 else ""
    return short(origins[0]["statement"]) + more


def _meters(origins: Sequence[Json]) -> list[str]:
    return sorted({f"{each['member']}/{each['meter']}/{each['channel']}" for each in origins})


def _metered(origins: Sequence[Json]) -> list[tuple[object, ...]]:
    return [
        (each["energy_wh"], *_meters([each]), when(each["start_ms"]), when(each["end_ms"]), each["statement"])
        for each in sorted(origins, key=lambda each: (each["start_ms"], each["statement"]))
    ]


def _state(lot: Json) -> str:
    if lot["retired_by"]:
        return f"retired in block {lot['spent_height']} by {lot['retired_by']}"
    if lot["spent_height"] is not None:
        return f"used up in block {lot['spent_height']}"
    return f"on sale in {lot['offer']}" if lot["offer"] else "free"
