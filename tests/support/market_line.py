"""A state and the blocks under it, for the rules of the market: without headers' rules, work and signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest

from minervas_core.blocks import Block, Header
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.genesis import Parameters
from minervas_core.market.records import Lot, Order, Trade
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.state import AppliedBlock, ChainState, StateSnapshot, apply_block, undo_block
from minervas_core.transactions import Transaction, block_order
from tests.support.builders import GENESIS_TIME_MS, MARKET, NETWORK, admit, make_genesis, register_meter, statement

STEP_MS = 1_000
"""Time between two blocks, unless a test says otherwise."""


def bare_block(state: ChainState, transactions: Iterable[Transaction], time_ms: int) -> Block:
    """A block upon a state, which nobody mined or signed."""
    ordered = tuple(sorted(transactions, key=block_order))
    header = Header(
        version=1,
        network=NETWORK,
        height=state.height + 1,
        prev=state.tip_hash,
        tx_root=EMPTY_ROOT,
        votes_root=EMPTY_ROOT,
        time_ms=time_ms,
        difficulty=1,
        miner="m",
        nonce="0" * 16,
    )
    named = f"{state.tip_hash} {time_ms} {[each.id for each in ordered]}"
    return Block(hashlib.sha256(named.encode()).hexdigest(), header, "", ordered, (), b"")


class MarketLine:
    """Blocks one upon the other; block 1 admits the members, block 2 registers a meter of each."""

    def __init__(self, *members: str, parameters: Parameters = MARKET) -> None:
        self.genesis = make_genesis(parameters)
        self.state = ChainState.fresh(self.genesis)
        self.blocks: list[tuple[Block, AppliedBlock]] = []
        self.snapshots: list[StateSnapshot] = [self.state.snapshot()]
        if members:
            self.add(*(admit(member) for member in members))
            self.add(*(register_meter(member) for member in members))

    @property
    def now_ms(self) -> int:
        """Milliseconds from genesis to the tip."""
        return self.state.time_ms - GENESIS_TIME_MS

    def add(self, *transactions: Transaction, at_ms: int = 0) -> tuple[Trade, ...]:
        """Append a block, `at_ms` after genesis or one step after the last; returns its trades."""
        time_ms = GENESIS_TIME_MS + at_ms if at_ms else self.state.time_ms + STEP_MS
        block = bare_block(self.state, transactions, time_ms)
        layer = self.state.scratch()
        applied = apply_block(layer, block, self.genesis)
        layer.commit()
        self.blocks.append((block, applied))
        self.snapshots.append(self.state.snapshot())
        return applied.trades

    def refused(self, *transactions: Transaction, at_ms: int = 0) -> Code:
        """The code under which a block with these is refused; the state must stay as it is."""
        with pytest.raises(InvalidTransaction) as caught:
            self.add(*transactions, at_ms=at_ms)
        assert self.state.snapshot() == self.snapshots[-1]
        assert caught.value.values["tx"] in {each.id for each in transactions}
        return caught.value.code

    def undo(self) -> None:
        """Take the last block back; the state must be exactly the one before."""
        block, applied = self.blocks.pop()
        undo_block(self.state, block, applied.undo, self.genesis.parameters)
        self.snapshots.pop()
        assert self.state.snapshot() == self.snapshots[-1]

    def undo_all(self) -> None:
        """Take all blocks back, one after the other."""
        while self.blocks:
            self.undo()

    # looking

    @property
    def lots(self) -> dict[str, Lot]:
        """Unspent lots."""
        return dict(self.state.market.lots.items())

    @property
    def orders(self) -> dict[str, Order]:
        """Open orders."""
        return dict(self.state.market.orders.items())

    def owned_wh(self, member: str) -> int:
        """Energy of a member's lots."""
        return sum(lot.energy_wh for lot in self.lots.values() if lot.owner == member)

    def owed_micro(self, debtor: str, creditor: str) -> int:
        """What one member owes another."""
        return self.state.market.owed(debtor, creditor).amount_micro

    # acting

    def mint(self, member: str, *amounts_wh: int) -> list[str]:
        """Statements that mint a lot of each amount, up to 1,000 Wh, in one block; returns the lots."""
        last = self.state.market.registers.get(f"{member}/roof/dc")
        at_ms, register_wh = (last.time_ms - GENESIS_TIME_MS, last.register_wh) if last else (self.now_ms, 0)
        made: list[Transaction] = []
        for amount_wh in amounts_wh:
            made.append(statement(member, (at_ms, register_wh), (at_ms + 1_000, register_wh + amount_wh)))
            at_ms, register_wh = at_ms + 1_000, register_wh + amount_wh
        self.add(*made, at_ms=max(at_ms, self.now_ms + STEP_MS))
        return [each.id for each in made]
