"""`minervas status`: the node at a glance."""

from __future__ import annotations

from typing import Any

from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, short, when
from minervas_peer.commands.renew import show_certificates


def show_status(client: ApiClient, output: Output) -> None:
    """Show who we are, our chain, the other members' peers, and what was refused."""
    status = client.get("/v1/status")
    if output.as_json:
        output.json(status)
        return
    output.facts(f"{status['member']} in {status['consortium']}", _own(status))
    if status["ledger"]:
        output.facts("Chain", _chain(status["ledger"]))
    output.table(
        "Other members' peers",
        ("member", "standing", "presence", "height", "tip", "their key", "our key"),
        [_peer(peer) for peer in status["peers"]],
    )
    if status["renewal"]:
        show_certificates(status["renewal"], output)
    refusals = [("peer", *item) for item in sorted(status["refusals"].items())]
    refusals += [("ledger", *item) for item in sorted((status["ledger"] or {}).get("refusals", {}).items())]
    if refusals:
        output.table("Refused since start", ("by", "code", "number"), refusals)


def _own(status: Json) -> list[tuple[str, object]]:
    broker = "connected" if status["connected"] else f"not connected {status['bus_refusal']}".strip()
    return [
        ("node id", status["node_id"]),
        ("standing", status["standing"]),
        ("broker", broker),
        ("ledger", "answers" if status["ledger"] else "does not answer"),
        ("sender key epoch", status["sender_key"]["epoch"]),
        ("frames waiting for a key", status["pending_frames"]),
    ]


def _chain(ledger: Json) -> list[tuple[str, object]]:
    tip = ledger["tip"]
    facts: list[tuple[str, object]] = [
        ("tip", f"{tip['height']:,}  {short(tip['hash'])}  {when(ledger['tip_time_ms'])}"),
        ("syncing", "yes" if ledger["syncing"] else "no"),
        ("final", _final(ledger)),
        ("members", ledger["active_members"]),
        ("difficulty", f"{ledger['difficulty']:,}"),
        ("queued transactions", f"{ledger['mempool_transactions']:,} ({ledger['mempool_bytes']:,} bytes)"),
        ("abandoned searches", ledger["abandoned_searches"]),
        ("reorganisations", ledger["reorganisations"]),
    ]
    if height := ledger["unknown_rules_height"]:
        facts.append(("rules", _unknown_rules(height, tip["height"])))
    if search := ledger["search"]:
        facts.append(("search", _search(search)))
    return facts


def _final(ledger: Json) -> str:
    final, tip_height = ledger["final"], ledger["tip"]["height"]
    missing = ", ".join(ledger["missing_voters"])
    waits = f"; waits for votes of {missing}" if missing else ""
    return f"{final['height']:,}  {short(final['hash'])}  {tip_height - final['height']:,} blocks below the tip{waits}"


def _unknown_rules(height: int, tip_height: int) -> str:
    if tip_height + 1 >= height:
        return f"this software is too old: it stops before block {height:,}; install a newer version"
    return f"other rules apply from block {height:,} on, which this software does not have; install a newer version"


def _search(search: Json) -> str:
    seconds = search["elapsed_ms"] / 1000
    speed = f"{search['tries']:,} tries in {seconds:.1f} s, {search['tries_per_second']:,} a second"
    return f"block {search['height']:,}: {speed}, lowest {short(search['lowest_hash'])}"


def _peer(peer: Json) -> tuple[Any, ...]:
    tip = peer["tip"] or {"height": "-", "hash": "-"}
    return (
        peer["member"],
        peer["standing"],
        peer["presence"],
        tip["height"],
        short(tip["hash"]),
        peer["their_key"],
        "given" if peer["our_key_given"] else "not given",
    )
