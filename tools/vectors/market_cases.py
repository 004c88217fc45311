"""Blocks that meter and trade, what becomes of each, and the market after it."""

from __future__ import annotations

import json

from msgspec import UnsetType

from minervas_core.blocks import Block
from minervas_core.chain import Chain
from minervas_core.encoding import encode
from minervas_core.genesis import Genesis
from minervas_core.market.fills import derived_lot_id
from minervas_core.market.records import Clearing, Retirement, Trade
from minervas_core.market.state import ROW_TYPES
from minervas_core.state import BlockUndo
from tools.vectors.auction_histories import AUCTION_GENESIS, auction_histories
from tools.vectors.chain_cases import NOW_MS, Blocks, Step
from tools.vectors.fixtures import GENESIS
from tools.vectors.format import Case, Plain
from tools.vectors.market_faults import market_faults
from tools.vectors.market_histories import LOTS, trading_histories


def market_histories() -> dict[str, list[Step]]:
    """Every history by name."""
    return trading_histories() | market_faults()


def market_history_cases() -> tuple[dict[str, Plain], list[Case]]:
    """The blocks by label, and the histories that name them."""
    return told_of(market_histories(), GENESIS)


def auction_history_cases() -> tuple[dict[str, Plain], list[Case]]:
    """Likewise, of a consortium with auctions."""
    return told_of(auction_histories(), AUCTION_GENESIS)


def told_of(histories: dict[str, list[Step]], genesis: Genesis) -> tuple[dict[str, Plain], list[Case]]:
    """Blocks by label, and the histories that name them."""
    blocks = Blocks()
    cases = [play(name, steps, blocks, genesis) for name, steps in histories.items()]
    return {label: raw for raw, label in blocks.labels.items()}, cases


def play(name: str, steps: list[Step], blocks: Blocks, genesis: Genesis) -> Case:
    """Hand the blocks to a fresh node and write down what becomes of each, and the market at the tip, if it changed.

    Raises:
        AssertionError: if that is not what the history is there to show.
    """
    node = MarketNode(genesis)
    told: list[Case] = []
    for step in steps:
        status, code = node.receive(step.block, step.now_ms)
        if (status, code) != (step.status, step.code):
            raise AssertionError(f"{name}: {status} {code} instead of {step.status} {step.code}")
        what: Case = {
            "block": blocks.label(step.block),
            "now_ms": step.now_ms,
            "status": status,
            "code": code,
            "height": node.chain.tip.height,
            "tip": node.chain.tip.hash,
        }
        if step.block.header.height > LOTS.header.height and code is None:
            what |= {"market": node.market(), "trades": node.told_trades(), "retirements": node.told_retirements()}
            what["clearings"] = node.told_clearings()
        told.append(what)
    return {"name": name, "steps": told}


class MarketNode:
    """A chain with what it stores, and the trades, retirements and auctions of its best branch."""

    def __init__(self, genesis: Genesis) -> None:
        raws: dict[str, bytes] = {}
        undo: dict[str, BlockUndo] = {}
        self._raws, self._undo = raws, undo
        self.chain = Chain.fresh(genesis, raws.__getitem__, undo.__getitem__)
        self.trades: dict[int, tuple[Trade, ...]] = {}
        self.retirements: dict[int, tuple[Retirement, ...]] = {}
        self.clearings: dict[int, tuple[Clearing, ...]] = {}

    def receive(self, block: Block, now_ms: int = NOW_MS) -> tuple[str, str | None]:
        """Hand a block in; returns what became of it and the code of a refusal."""
        outcome = self.chain.receive_block(block, now_ms)
        self._raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        if outcome.change is not None:
            for gone in outcome.change.disconnected:
                for told in (self.trades, self.retirements, self.clearings):
                    del told[gone.header.height]
            for joined in outcome.change.connected:
                self._undo[joined.block.hash] = joined.undo
                self.trades[joined.block.header.height] = joined.trades
                self.retirements[joined.block.header.height] = joined.retirements
                self.clearings[joined.block.header.height] = joined.clearings
        return outcome.status, str(outcome.error.code) if outcome.error is not None else None

    def market(self) -> dict[str, Plain]:
        """Every row of the market by table and key, without empty tables."""
        tables: dict[str, dict[str, Plain]] = {name: {} for name in ROW_TYPES}
        for row in self.chain.state.market.rows():
            if not isinstance(row.row, UnsetType):
                tables[row.table][row.key] = json.loads(bytes(row.row))
        return {name: rows for name, rows in tables.items() if rows}

    def told_trades(self) -> list[Plain]:
        """Trades of the best branch, oldest first."""
        return [json.loads(encode(trade)) for height in sorted(self.trades) for trade in self.trades[height]]

    def told_retirements(self) -> list[Plain]:
        """Lots retired on the best branch, oldest first."""
        return [json.loads(encode(each)) for height in sorted(self.retirements) for each in self.retirements[height]]

    def told_clearings(self) -> list[Plain]:
        """Auctions of the best branch, oldest first."""
        return [json.loads(encode(each)) for height in sorted(self.clearings) for each in self.clearings[height]]


def derived_lot_cases() -> list[Case]:
    """Ids of derived lots."""
    offer, bid = "0f" * 32, "b1" * 32
    return [
        {"name": name, "offer": offer, "bid": whose, "event": event, "id": derived_lot_id(offer, whose, event)}
        for name, whose, event in (("delivered", bid, 0), ("left over", "", 1), ("the hundredth", bid, 99))
    ]
