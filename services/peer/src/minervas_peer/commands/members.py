"""`minervas members`: everybody who is or was a member on our tip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output, short, when


def _standing(member: Mapping[str, Any]) -> str:
    """A member's status, and what else everybody should know of it."""
    notes = [member["status"]]
    if member["status"] == "active" and member["suspended_height"]:
        notes.append(f"vote suspended in {member['suspended_height']:,}")
    if member["recovery"]:
        recovery = member["recovery"]
        notes.append(f"new wallet from {when(recovery['effective_ms'])} by {recovery['transaction']}")
    return ", ".join(notes)


def show_members(client: ApiClient, output: Output) -> None:
    """Show the roster."""
    page = client.get("/v1/members")
    if output.as_json:
        output.json(page)
        return
    rows = [
        (
            member["member"],
            _standing(member),
            member["admitted_height"],
            member["ended_height"] or "-",
            short(member["node_id"]),
        )
        for member in page["members"]
    ]
    output.table(
        f"Members at height {page['height']:,}", ("member", "status", "admitted in", "ended in", "node id"), rows
    )
