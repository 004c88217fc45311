"""`minervas finality`: how far finality has come, and whom it waits for."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, short


def show_finality(client: ApiClient, output: Output) -> None:
    """Show the last final block, the open checkpoints with their votes, and contradictions."""
    report = client.get("/v1/finality")
    if output.as_json:
        output.json(report)
        return
    output.facts("Finality", _facts(report))
    rows = [_checkpoint(each) for each in report["checkpoints"]]
    output.table("Checkpoints, newest first", ("height", "hash", "state", "votes", "without a vote"), rows)
    lies = [_equivocation(each) for each in report["equivocations"]]
    if lies:
        headings = ("member", "kind", "first vote", "second vote")
        output.table("Votes that contradict each other: their voter lies, or its key was stolen", headings, lies)


def _facts(report: Json) -> list[tuple[str, object]]:
    final, justified, tip_height = report["final"], report["justified"], report["tip_height"]
    missing = ", ".join(report["missing"])
    below = f"{tip_height - final['height']:,} blocks below the tip"
    return [
        (
            "final",
            f"{final['height']:,}  {short(final['hash'])}  {below}",
        ),
        ("justified", f"{justified['height']:,}  {short(justified['hash'])}"),
        ("tip", f"{tip_height:,}"),
        ("missing votes", f"finality waits for {missing}" if missing else "none"),
        ("this node", report["voting"] or "votes"),
    ]


def _checkpoint(entry: Json) -> tuple[object, ...]:
    checkpoint, is_final = entry["checkpoint"], entry["state"] == "final"
    without = [member for member in entry["voters"] if member not in entry["voted"]]
    votes = "" if is_final else f"{len(entry['voted'])} of {len(entry['voters'])}"
    return (
        checkpoint["height"],
        short(checkpoint["hash"]),
        entry["state"],
        votes,
        "" if is_final else ", ".join(without),
    )


def _equivocation(entry: Json) -> tuple[object, ...]:
    return entry["voter"], entry["kind"], _link(entry["first"]), _link(entry["second"])


def _link(vote: Json) -> str:
    source, target = vote["source"], vote["target"]
    return f"{source['height']:,} {short(source['hash'])} to {target['height']:,} {short(target['hash'])}"
