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
    place = f"block {found['height']:,} ({short(found['block'])}), {found['depth']:,} deep"
    states = {"queued": "queued", "in_block": f"in {place}", "final": f"final, in {place}"}
    transaction = found["transaction"]
    output.facts(
        f"Transaction {transaction['id']}",
        [("type", transaction["type"]), ("state", states[found["state"]])],
    )
    for line in json.dumps(transaction["body"], indent=2, sort_keys=True).splitlines():
        output.say(line)
