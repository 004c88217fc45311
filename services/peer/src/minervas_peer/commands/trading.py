"""`minervas offer`, `bid` and `cancel`: the peer signs, the chain decides."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output


def place_order(client: ApiClient, output: Output, path: str, order: Json) -> None:
    """Send an order to the peer and say what was signed."""
    placed = client.post(path, order)
    if output.as_json:
        output.json(placed)
        return
    output.facts("Signed and queued", [("type", placed["type"]), ("id", placed["id"])])
    output.say(f"It counts once a block carries it: minervas tx {placed['id']}")
