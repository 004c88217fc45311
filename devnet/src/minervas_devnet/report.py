"""What the demo prints at the end: who mined what, what it cost, and whether everything held."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from minervas_devnet.checks import Check, blocks_by_miner
from minervas_devnet.consortium import Consortium
from minervas_devnet.market_report import metering_table, times_text, trades_table
from minervas_devnet.memory import Memory, group_memory
from minervas_devnet.node import Node
from minervas_devnet.propagation import Propagation, measure
from minervas_devnet.snapshot import take_snapshot
from minervas_devnet.trading import Placed

WIDTH = 120
"""Columns where standard output is no terminal."""


def print_report(
    consortium: Consortium, results: Sequence[Check], *, orders: Sequence[Placed] = (), since_ms: int = 0
) -> None:
    """Print all tables.

    Args:
        consortium: whose.
        results: of the checks.
        orders: that were followed to their blocks.
        since_ms: samples from then on are measured on their way to the database.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    nodes = list(consortium.nodes.values())
    console.print()
    console.print(_mined_table(nodes))
    console.print(metering_table(nodes))
    console.print(trades_table(consortium))
    console.print(_memory_table(nodes))
    console.print(_times(consortium, nodes) + times_text(nodes, orders, since_ms))
    console.print(_checks_table(results))


def _mined_table(nodes: Sequence[Node]) -> Table:
    blocks = nodes[0].api.all_blocks()
    mined = blocks_by_miner(blocks)
    newest = {block.header.miner: block for block in reversed(blocks)}
    snapshot = take_snapshot(nodes)
    table = Table(title=f"Who mined what: {len(blocks)} blocks", title_justify="left")
    for name in ("member", "blocks", "newest", "its nonce", "searches abandoned", "reorganisations"):
        table.add_column(name, no_wrap=True)
    for node in snapshot.nodes:
        last, ledger = newest.get(node.member), node.ledger
        table.add_row(
            node.member,
            str(mined[node.member]),
            f"{last.header.height} {last.hash[:16]}" if last else "",
            last.header.nonce if last else "",
            str(ledger.abandoned_searches) if ledger else "?",
            str(ledger.reorganisations) if ledger else "?",
        )
    return table


def _memory_table(nodes: Sequence[Node]) -> Table:
    table = Table(title="Memory of each member's services in MiB: resident (proportional)", title_justify="left")
    table.add_column("member", no_wrap=True)
    services = list(nodes[0].services)
    for name in (*services, "together"):
        table.add_column(name, no_wrap=True, justify="right")
    for node in nodes:
        used = [group_memory(node.services[service].pid) for service in services]
        table.add_row(node.member, *(_mib(each) for each in (*used, sum(used, Memory()))))
    return table


def _times(consortium: Consortium, nodes: Sequence[Node]) -> str:
    spread: Propagation = measure(
        [node.services["miner"].log_file for node in nodes], [node.services["ledger"].log_file for node in nodes]
    )
    lines = [f"{seconds:7.1f} s  {step}" for step, seconds in consortium.progress.steps.items()]
    lines.append(f"{consortium.progress.elapsed_s:7.1f} s  in all")
    lines.append(
        f"From a found block to the same tip on all nodes: median {spread.median_s * 1000:.0f} ms, "
        f"slowest {spread.slowest_s * 1000:.0f} ms, over {len(spread.seconds)} blocks"
    )
    return "\n".join(lines) + "\n"


def _checks_table(results: Sequence[Check]) -> Table:
    failed = sum(1 for result in results if not result.holds)
    table = Table(title=f"{len(results)} checks, {failed} failed", title_justify="left")
    table.add_column("")
    table.add_column("check")
    table.add_column("seen", overflow="fold")
    for result in results:
        table.add_row("ok" if result.holds else "FAILED", result.name, result.seen)
    return table


def _mib(memory: Memory) -> str:
    return f"{memory.resident / 1024:.0f} ({memory.proportional / 1024:.0f})"
