"""What the demo prints at the end about metering and trading."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from minervas_devnet.consortium import Consortium
from minervas_devnet.node import Node
from minervas_devnet.stored_metering import StoredMetering
from minervas_devnet.trading import Placed

MICRO = 1_000_000
MILLI = 1_000


def trades_table(consortium: Consortium) -> Table:
    """Who sold what to whom at which price, and where it came from."""
    first = next(iter(consortium.nodes.values()))
    currency = consortium.options.currency
    table = Table(title="Who sold what to whom", title_justify="left")
    for name in ("block", "seller", "buyer", "energy", f"{currency}/kWh", f"amount {currency}", "metered by"):
        table.add_column(name, justify="left" if name in ("seller", "buyer", "metered by") else "right")
    for trade in reversed(first.market.trades()):
        table.add_row(
            str(trade.height),
            trade.seller,
            trade.buyer,
            f"{trade.energy_wh} Wh",
            f"{trade.price_micro / MILLI:.1f}",
            f"{trade.amount_micro / MICRO:.2f}",
            ", ".join(trade.meters),
        )
    return table


def metering_table(nodes: Sequence[Node]) -> Table:
    """Each channel from its meter to its lots."""
    table = Table(title="From the meters to the lots", title_justify="left")
    for name in ("channel", "rated", "meter answered", "measured", "missing", "by roll-ups", "statements", "minted"):
        table.add_column(name, justify="left" if name in ("channel", "missing") else "right")
    minted = {(each.member, each.meter, each.channel): each for each in nodes[0].market.minted()}
    for node in nodes:
        if not node.meters:
            continue
        stored = StoredMetering(node.member, node.database).channels()
        rolled_up = StoredMetering(node.member, node.database).rolled_up()
        answered = node.meters.answered()
        for each in node.meters.site.channels:
            rows, energy = stored.get(each.key), minted.get((node.member, *each.key))
            missing = ", ".join(f"{count} {fault}" for fault, count in sorted(rows.missing.items())) if rows else ""
            table.add_row(
                f"{node.member}/{each.meter}/{each.channel}",
                f"{each.rated_w} W",
                str(answered[each.key]),
                str(rows.measured) if rows else "0",
                missing or "none",
                f"{rolled_up[each.key].energy_wh} Wh" if each.key in rolled_up else "",
                str(energy.statements) if energy else "0",
                f"{energy.minted_wh} Wh" if energy else "0 Wh",
            )
    return table


def times_text(nodes: Sequence[Node], orders: Sequence[Placed], since_ms: int) -> str:
    """How long readings and orders took."""
    lines = []
    for node in nodes:
        if node.meters:
            delays = StoredMetering(node.member, node.database).delays(since_ms)
            lines.append(
                f"From a sample to its row, {node.member}: median {delays.median_ms / MILLI:.2f} s, "
                f"slowest {delays.slowest_ms / MILLI:.2f} s, over {delays.samples} samples"
            )
    lines += [f"{each.what}: in block {each.height} on all nodes after {each.seconds:.1f} s" for each in orders]
    return "\n".join(lines) + "\n"
