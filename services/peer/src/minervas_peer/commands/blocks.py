"""`minervas blocks` and `minervas block REF`."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, short, when


def show_blocks(client: ApiClient, output: Output, *, below_height: int, limit: int) -> None:
    """Show the newest blocks, or those below a height."""
    page = client.get("/v1/blocks", below_height=below_height, limit=limit)
    if output.as_json:
        output.json(page)
        return
    headings = ("height", "time (UTC)", "miner", "transactions", "bytes", "difficulty", "nonce", "hash", "final")
    output.table("Blocks, newest first", headings, [_row(block) for block in page["blocks"]])


def show_block(client: ApiClient, output: Output, reference: str) -> None:
    """Show one block with its transactions."""
    block = client.get(f"/v1/blocks/{reference}")
    if output.as_json:
        output.json(block)
        return
    header = block["header"]
    final = ", final" if block["final"] else ""
    place = f"best chain, {block['depth']:,} deep{final}" if block["best_chain"] else "side branch"
    output.facts(
        f"Block {header['height']:,}",
        [
            ("hash", block["hash"]),
            ("before", header["prev"]),
            ("place", place),
            ("time (UTC)", when(header["time_ms"])),
            ("miner", header["miner"]),
            ("nonce", header["nonce"]),
            ("difficulty", f"{header['difficulty']:,}"),
            ("bytes", f"{block['size_bytes']:,}"),
        ],
    )
    rows = [(item["type"], _subject(item), item["id"]) for item in block["transactions"]]
    if votes := [(vote["voter"], vote["source"]["height"], vote["target"]["height"]) for vote in block["votes"]]:
        output.table("Votes", ("voter", "from checkpoint", "for checkpoint"), votes)
    if rows:
        output.table("Transactions", ("type", "content", "id"), rows)


def _row(block: Json) -> tuple[object, ...]:
    header = block["header"]
    return (
        header["height"],
        when(header["time_ms"]),
        header["miner"],
        block["transactions"],
        block["size_bytes"],
        header["difficulty"],
        header["nonce"],
        short(block["hash"]),
        "yes" if block["final"] else "",
    )


def _subject(transaction: Json) -> str:
    """What a transaction is about, in a few words."""
    change = transaction["body"].get("change", {})
    return f"{change.get('action', '')} {change.get('member', '')}".strip()
