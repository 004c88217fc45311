"""`minervas branches`: branches that our node knows and does not follow."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output, short


def show_branches(client: ApiClient, output: Output, *, limit: int) -> None:
    """Show the branches beside the best chain."""
    page = client.get("/v1/side-branches", limit=limit)
    if output.as_json:
        output.json(page)
        return
    rows = [
        (
            branch["height"],
            short(branch["hash"]),
            branch["length"],
            branch["fork_height"],
            branch["status"],
            int(branch["work"], 16),
        )
        for branch in page["branches"]
    ]
    shown = f"{len(rows)} of {page['total']}" if len(rows) < page["total"] else f"{len(rows)}"
    headings = ("height", "head", "blocks", "forks at", "status", "work")
    output.table(f"Branches beside the best chain: {shown}", headings, rows)
