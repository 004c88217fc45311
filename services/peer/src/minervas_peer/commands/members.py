"""`minervas members`: everybody who is or was a member on our tip."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output, short


def show_members(client: ApiClient, output: Output) -> None:
    """Show the roster."""
    page = client.get("/v1/members")
    if output.as_json:
        output.json(page)
        return
    rows = [
        (
            member["member"],
            member["status"],
            member["admitted_height"],
            member["revoked_height"] or "-",
            short(member["node_id"]),
        )
        for member in page["members"]
    ]
    output.table(
        f"Members at height {page['height']:,}", ("member", "status", "admitted in", "revoked in", "node id"), rows
    )
