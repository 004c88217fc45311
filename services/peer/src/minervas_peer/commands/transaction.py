"""`minervas tx ID`: one transaction and where it stands."""

from __future__ import annotations

import json

from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output, short


def show_transaction(client: ApiClient, output: Output, transaction_id: str) -> None:
    """Show a transaction."""
    found = client.get(f"/v1/transactions/{transaction_id}")
    if output.as_json:
        output.json(found)
        return
    in_block = f"in block {found['height']:,} ({short(found['block'])}), {found['depth']:,} deep"
    transaction = found["transaction"]
    output.facts(
        f"Transaction {transaction['id']}",
        [("type", transaction["type"]), ("state", in_block if found["state"] == "in_block" else "queued")],
    )
    for line in json.dumps(transaction["body"], indent=2, sort_keys=True).splitlines():
        output.say(line)
