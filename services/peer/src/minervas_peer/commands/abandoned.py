"""`minervas abandoned`: searches of our miner that found nothing in time."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output, short, when


def show_abandoned(client: ApiClient, output: Output, *, limit: int) -> None:
    """Show abandoned searches."""
    page = client.get("/v1/abandoned", limit=limit)
    if output.as_json:
        output.json(page)
        return
    rows = [
        (
            search["header"]["height"],
            when(search["stored_at_ms"]),
            search["tries"],
            search["elapsed_ms"],
            search["header"]["difficulty"],
            search["header"]["nonce"],
            short(search["lowest_hash"]),
        )
        for search in page["searches"]
    ]
    headings = ("height", "stored (UTC)", "tries", "ms", "difficulty", "nonce of lowest", "lowest hash")
    output.table("Abandoned searches, newest first", headings, rows)
