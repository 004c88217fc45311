"""The live terminal view of the demo, or plain lines where standard output is no terminal."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from minervas_devnet.api_client import BlockSummary
from minervas_devnet.market_api import Reading
from minervas_devnet.progress import say_line
from minervas_devnet.snapshot import NodeSnapshot, Snapshot

LINES_KEPT = 12
REFRESH_PER_SECOND = 4
POWER_EVERY_S = 5.0
"""How often the plain view tells the channels' power."""


class View(Protocol):
    """Where the demo shows what happens."""

    def say(self, line: str) -> None:
        """Show a line of progress."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the state of all nodes."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the terminal back."""


class LiveView:
    """Tables that are drawn again and again, with the last lines below."""

    def __init__(self, console: Console) -> None:
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._snapshot: Snapshot | None = None
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_SECOND, get_renderable=self._render)

    def say(self, line: str) -> None:
        """Append a line; older ones scroll away."""
        self._lines.append(line)

    def show(self, snapshot: Snapshot) -> None:
        """Draw the tables again."""
        self._snapshot = snapshot

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._snapshot is not None and self._snapshot.nodes:
            parts = [
                members_table(self._snapshot),
                channels_table(self._snapshot),
                market_line(self._snapshot),
                blocks_table(self._snapshot),
                abandoned_line(self._snapshot),
                finality_line(self._snapshot),
            ]
        parts.append(Panel(Text("\n".join(self._lines)), title="Minervas demo", title_align="left"))
        return Group(*parts)


class PlainView:
    """One line for each thing that happens, as a log wants it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: set[str] = set()
        self._power_due = 0.0

    def say(self, line: str) -> None:
        """Print a line."""
        say_line(line)

    def show(self, snapshot: Snapshot) -> None:
        """Print the blocks that are new."""
        for block in reversed(snapshot.blocks):
            if block.hash not in self._seen:
                self._seen.add(block.hash)
                speed = f"{snapshot.tries_per_second / 1e6:.1f} M tries/s"
                say_line(f"          {_block_line(block)}, {speed}, {snapshot.abandoned} searches abandoned")
        power = power_line(snapshot)
        if power and time.monotonic() > self._power_due:
            self._power_due = time.monotonic() + POWER_EVERY_S
            say_line(f"          {power}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to give back."""


def make_view() -> View:
    """The live view on a terminal, plain lines elsewhere."""
    console = Console()
    return LiveView(console) if console.is_terminal else PlainView()


def members_table(snapshot: Snapshot) -> Table:
    """Each member with its chain's tip and its miner's search."""
    table = Table(title="Members", title_justify="left", expand=True)
    for name in (
        "member",
        "standing",
        "height",
        "final",
        "tip",
        "others' keys",
        "tries/s",
        "lowest hash of the search",
    ):
        table.add_column(name, no_wrap=True, justify="right" if name in ("height", "final", "tries/s") else "left")
    for node in snapshot.nodes:
        table.add_row(*_member_row(node))
    return table


def channels_table(snapshot: Snapshot) -> Table:
    """Every metered channel with what it delivers now, and its member's energy that is not on sale."""
    table = Table(title="Metered channels", title_justify="left", expand=True)
    for name in ("member", "channel", "power", "register", "sample", "member's free lots"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("member", "channel") else "right")
    for node in snapshot.nodes:
        for number, reading in enumerate(node.channels):
            table.add_row(
                node.member,
                f"{reading.meter}/{reading.channel}",
                _power(reading),
                f"{reading.energy_mwh / 1e6:,.2f} kWh" if reading.energy_mwh is not None else "",
                f"{reading.sequence}",
                "" if number else f"{node.free_wh:,} Wh",
            )
    return table


def market_line(snapshot: Snapshot) -> Text:
    """Open orders, and the newest trade."""
    orders = [
        f"{each.member} {each.side}s {each.energy_wh} Wh at {each.price_micro / 1000:.1f}" for each in snapshot.orders
    ]
    lines = ["Open orders: " + ("; ".join(orders) or "none")]
    lines += [
        f"Trade in block {each.height}: {each.seller} sold {each.buyer} {each.energy_wh} Wh at "
        f"{each.price_micro / 1000:.1f}, metered by {', '.join(each.meters)}"
        for each in snapshot.trades[:2]
    ]
    return Text("\n".join(lines))


def power_line(snapshot: Snapshot) -> str:
    """The power of all channels in one line."""
    return ", ".join(
        f"{node.member}/{reading.channel} {_power(reading)}" for node in snapshot.nodes for reading in node.channels
    )


def _power(reading: Reading) -> str:
    return f"{reading.power_mw / 1000:,.1f} W" if reading.power_mw is not None else f"missing ({reading.fault})"


def blocks_table(snapshot: Snapshot) -> Table:
    """The newest blocks."""
    table = Table(title="Last blocks", title_justify="left", expand=True)
    for name in ("height", "hash", "miner", "nonce", "difficulty", "transactions", "age"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("height", "difficulty", "age") else "left")
    now_ms = time.time_ns() // 1_000_000
    for block in snapshot.blocks:
        header = block.header
        age = f"{max(0, now_ms - header.time_ms) / 1000:.1f} s"
        table.add_row(
            str(header.height),
            block.hash[:20],
            header.miner,
            header.nonce,
            f"{header.difficulty:,}",
            str(block.transactions),
            age,
        )
    return table


def abandoned_line(snapshot: Snapshot) -> Text:
    """How many searches found nothing in time, with the newest of them."""
    newest = [search for node in snapshot.nodes for search in node.abandoned[:1]]
    text = f"Abandoned searches: {snapshot.abandoned}"
    for search in newest:
        text += f"; {search.header.miner} at height {search.header.height} after {search.tries:,} tries"
    return Text(text)


def finality_line(snapshot: Snapshot) -> Text:
    """The last final block, and whom finality waits for."""
    ledgers = [node.ledger for node in snapshot.nodes if node.ledger]
    if not ledgers:
        return Text("")
    newest = max(ledgers, key=lambda ledger: ledger.tip.height)
    waits = f"; waits for votes of {', '.join(newest.missing_voters)}" if newest.missing_voters else ""
    return Text(f"Final up to block {newest.final.height}{waits}")


def _member_row(node: NodeSnapshot) -> tuple[str, ...]:
    status, ledger = node.status, node.ledger
    if status is None:
        return (node.member, "away", "", "", "", "", "", "")
    held = sum(1 for peer in status.peers if peer.their_key == "held")
    search = ledger.search if ledger else None
    return (
        node.member,
        status.standing,
        str(ledger.tip.height) if ledger else "",
        str(ledger.final.height) if ledger else "",
        ledger.tip.hash[:20] if ledger else "",
        str(held),
        f"{search.tries_per_second:,}" if search else "",
        search.lowest_hash[:20] if search else "",
    )


def _block_line(block: BlockSummary) -> str:
    header = block.header
    carried = f", {block.transactions} transactions" if block.transactions else ""
    return f"block {header.height} {block.hash[:16]} by {header.miner}, nonce {header.nonce}{carried}"
