"""The demo's view shows what the nodes say, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from minervas_core.messages import ChainTip
from minervas_devnet.api_client import (
    AbandonedSearch,
    BlockHeader,
    BlockSummary,
    Checkpoint,
    LedgerState,
    PeerView,
    Search,
    SenderKey,
    Status,
)
from minervas_devnet.snapshot import NodeSnapshot, Snapshot
from minervas_devnet.view import LiveView, PlainView, make_view

HEADER = BlockHeader(
    height=7, time_ms=1_800_000_000_000, difficulty=5_000, miner="mokpo-univ", nonce="00000000deadbeef"
)
BLOCK = BlockSummary(hash="ab" * 32, header=HEADER, transactions=3)


def snapshot() -> Snapshot:
    ledger = LedgerState(
        tip=ChainTip(height=7, hash="ab" * 32, work="ff"),
        difficulty=5_000,
        roster_hash="cd" * 32,
        active_members=2,
        mempool_transactions=0,
        abandoned_searches=1,
        reorganisations=0,
        side_branches=0,
        justified=Checkpoint(height=4, hash="aa" * 32),
        final=Checkpoint(height=3, hash="bb" * 32),
        missing_voters=["sinan-coop"],
        syncing=False,
        refusals={},
        search=Search(height=8, tries=100, tries_per_second=1_234_567, lowest_hash="00ef" + "0" * 60),
    )
    peer = PeerView(member="haenam-farm", standing="active", presence="online", their_key="held", our_key_given=True)
    status = Status(
        member="mokpo-univ",
        node_id="ab" * 32,
        sender_key=SenderKey(epoch=1),
        standing="active",
        connected=True,
        bus_refusal="",
        refusals={},
        peers=[peer],
        ledger=ledger,
    )
    abandoned = AbandonedSearch(header=HEADER, tries=42_000, elapsed_ms=8_000, lowest_hash="0" * 64)
    first = NodeSnapshot("mokpo-univ", status, (abandoned,))
    return Snapshot((first, NodeSnapshot("haenam-farm", None, ())), (BLOCK,))


def test_live_view_shows_members_blocks_searches_and_the_last_lines() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, height=60)
    with LiveView(console) as view:
        view.say("   1.0 s  PostgreSQL runs")
        view.show(snapshot())
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in ("mokpo-univ", "1,234,567", "00000000deadbeef", "abababababab", "PostgreSQL runs", "42,000 tries"):
        assert text in shown
    assert "Final up to block 3; waits for votes of sinan-coop" in shown
    assert "away" in shown  # the node that does not answer


def test_plain_view_prints_each_block_once(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainView() as view:
        view.say("a line")
        view.show(snapshot())
        view.show(snapshot())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a line"
    assert len(lines) == 2
    assert "block 7 abababababababab by mokpo-univ, nonce 00000000deadbeef, 3 transactions" in lines[1]
    assert "1.2 M tries/s, 1 searches abandoned" in lines[1]


def test_view_is_plain_where_standard_output_is_no_terminal() -> None:
    assert isinstance(make_view(), PlainView)
