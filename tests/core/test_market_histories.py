"""Random histories of metering and trading on a chain with branches: energy and money are conserved.

`make soak` tries twenty times as many histories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minervas_core.audit import replay
from minervas_core.blocks import decode_block
from minervas_core.errors import InvalidTransaction
from minervas_core.market.credit import open_bids_micro, owed_micro
from minervas_core.market.records import Clearing, Lot, Order, Retirement, Trade
from minervas_core.market.state import Market
from minervas_core.metering import Generation
from minervas_core.rules import begin_block
from minervas_core.state import ChainState, apply_block, apply_transaction, check_transaction
from minervas_core.transactions import Transaction, block_order
from minervas_core.tree import HeaderNode
from tests.support.builders import (
    GENESIS_TIME_MS,
    MARKET,
    LocalChain,
    admit,
    bid,
    cancel,
    mine_block,
    offer,
    register_meter,
    revoke,
    statement,
)
from tests.support.examples import examples
from tests.support.lot_builders import merge, retire

MEMBERS = ("a", "b", "c", "d")
CLOSE = msgspec.structs.replace(
    MARKET, max_open_orders=4, max_fills_per_block=2, max_lots_per_offer=3, slot_ms=10_000, credit_limit_micro=20_000
)
"""So close that every limit is met."""

CLOSE_AUCTION = msgspec.structs.replace(CLOSE, market_mode="auction", slot_ms=4_000)

members = st.sampled_from(MEMBERS)
prices = st.integers(8, 12)
wishes = st.one_of(
    st.tuples(st.just("state"), members, st.integers(0, 1_101), st.integers(0, 1)),
    st.tuples(st.just("offer"), members, prices, st.integers(1, 100)),
    st.tuples(st.just("offer"), members, prices, st.integers(1, 400)),
    st.tuples(st.just("personal"), members, prices, st.integers(1, 400)),
    st.tuples(st.just("bid"), members, prices, st.integers(10, 900)),
    st.tuples(st.just("brief"), members, prices, st.integers(10, 900)),
    st.tuples(st.just("repeating"), members, prices, st.integers(10, 300)),
    st.tuples(st.just("cancel"), members, st.integers(0, 3), st.just(0)),
    st.tuples(st.just("merge"), members, st.integers(2, 4), st.integers(0, 3)),
    st.tuples(st.just("retire"), members, st.integers(1, 2), st.integers(0, 3)),
)
"""What a member wants to do, and two numbers."""


class Trading(RuleBasedStateMachine):
    """One node; blocks of trades upon its tip or a few below it."""

    parameters = CLOSE

    def __init__(self) -> None:
        super().__init__()
        self.local = LocalChain(self.parameters)
        self.genesis = self.local.genesis
        self.salt = 0
        self.personal: set[str] = set()
        """Offers for a single buyer."""
        self.revoked: set[str] = set()
        """Members that may be revoked."""
        self.trades: dict[int, tuple[Trade, ...]] = {}
        """By height, as the chain told them."""
        self.retired: dict[int, tuple[Retirement, ...]] = {}
        """Likewise."""
        self.clearings: dict[int, tuple[Clearing, ...]] = {}
        """Likewise."""

    # what the machine does

    @initialize()
    def found(self) -> None:
        self.grow(self.local.tip, [admit(each, expires=900) for each in MEMBERS], 1_000)
        self.grow(self.local.tip, [register_meter(each) for each in MEMBERS], 1_000)
        points = [(1_000 + 200 * n, 150 * n) for n in range(4)]
        first = [statement(each, *span) for each in MEMBERS for span in pairwise(points)]
        self.grow(self.local.tip, first, 1_000)

    @rule(
        wanted=st.lists(wishes, min_size=2, max_size=8),
        depth=st.sampled_from([0, 0, 0, 1, 2]),
        blocks=st.integers(1, 3),
        pause_ms=st.sampled_from([500, 1_000, 3_000]),
    )
    def trade(self, wanted: list[tuple[str, str, int, int]], depth: int, blocks: int, pause_ms: int) -> None:
        """A block upon the tip or below it, and some empty ones, so that branches overtake."""
        node = self.below_tip(depth)
        state = self.state_at(node)
        made = [each for wish in wanted if (each := self.transaction(state, *wish)) is not None]
        for n in range(blocks):
            node = self.grow(node, made if n == 0 else [], pause_ms)

    @precondition(lambda self: self.local.tip.height > 15)
    @rule(member=st.sampled_from("cd"), depth=st.integers(0, 1))
    def revoke_somebody(self, member: str, depth: int) -> None:
        node = self.below_tip(depth)
        self.revoked.add(member)
        for _ in range(depth + 1):
            node = self.grow(node, [revoke(member, expires=900)], 1_000)

    # what must always hold, at the tip

    @invariant()
    def energy_in_lots_and_retired_is_what_was_minted_for_every_statement(self) -> None:
        minted = Counter({each.id: body.end.register_wh - body.start.register_wh for each, body in self.statements()})
        found: Counter[str] = Counter()
        for lot in self.lots().values():
            found.update({origin.statement: origin.energy_wh for origin in lot.origins})
            assert lot.energy_wh == sum(origin.energy_wh for origin in lot.origins)
            assert [origin.statement for origin in lot.origins] == sorted({each.statement for each in lot.origins})
        for retired in self.main_retirements():
            found.update({origin.statement: origin.energy_wh for origin in retired.origins})
            assert retired.energy_wh == sum(origin.energy_wh for origin in retired.origins)
        assert +minted == +found

    @invariant()
    def members_own_what_they_minted_and_bought_less_what_they_sold_and_retired(self) -> None:
        balance: Counter[str] = Counter()
        for _, body in self.statements():
            balance[body.member] += body.end.register_wh - body.start.register_wh
        for trade in self.main_trades():
            balance[trade.buyer] += trade.energy_wh
            balance[trade.seller] -= trade.energy_wh
        for retired in self.main_retirements():
            balance[retired.owner] -= retired.energy_wh
        owned: Counter[str] = Counter()
        for lot in self.lots().values():
            owned[lot.owner] += lot.energy_wh
        assert +balance == +owned

    @invariant()
    def offers_hold_exactly_their_lots(self) -> None:
        lots = self.lots()
        held: Counter[str] = Counter()
        for order_id, order in self.orders().items():
            held.update(order.lots)
            if order.side == "offer":
                assert order.energy_wh == sum(lots[lot].energy_wh for lot in order.lots)
                assert {(lots[lot].owner, lots[lot].offer) for lot in order.lots} == {(order.member, order_id)}
                assert len(order.lots) <= self.parameters.max_lots_per_offer
            else:
                assert order.lots == []
        assert set(held) == {lot_id for lot_id, lot in lots.items() if lot.offer}
        assert set(held.values()) <= {1}

    @invariant()
    def debts_are_the_sum_of_trades(self) -> None:
        owed: Counter[str] = Counter()
        energy: Counter[str] = Counter()
        for trade in self.main_trades():
            assert trade.amount_micro == trade.energy_wh * trade.price_micro
            assert trade.seller != trade.buyer
            owed[f"{trade.buyer}/{trade.seller}"] += trade.amount_micro
            energy[f"{trade.buyer}/{trade.seller}"] += trade.energy_wh
        kept = dict(self.market.obligations.items())
        assert {pair: debt.amount_micro for pair, debt in kept.items()} == dict(owed)
        assert {pair: debt.energy_wh for pair, debt in kept.items()} == dict(energy)

    @invariant()
    def only_live_orders_of_active_members_within_limits_are_open(self) -> None:
        counts = Counter(order.member for order in self.orders().values())
        before_ms = self.local.tip.parent.time_ms if self.local.tip.parent else 0
        for order_id, order in self.orders().items():
            assert order.valid_until_ms > before_ms or self.market.waits_for_fills(order_id)
            assert order.energy_wh or order.repeat_wh
            assert self.local.chain.state.roster.active(order.member) is not None
        assert max(counts.values(), default=0) <= self.parameters.max_open_orders
        assert all(len(trades) <= self.parameters.max_fills_per_block for trades in self.trades.values())

    @invariant()
    def no_trade_is_missed(self) -> None:
        """Two orders that could trade are both open only if one waits or the smallest fill keeps them apart."""
        orders = [order for order in self.orders().values() if order.energy_wh]
        if self.parameters.market_mode == "auction" or any(order.waiting for order in orders):
            return
        for sale in (order for order in orders if order.side == "offer"):
            for wish in (order for order in orders if order.side == "bid" and order.member != sale.member):
                if sale.price_micro <= wish.price_micro and sale.buyer in ("", wish.member):
                    assert min(sale.energy_wh, wish.energy_wh) < sale.smallest_wh

    @invariant()
    def all_trades_of_an_auction_have_its_price(self) -> None:
        """But for personal deals, which have that of their offer; and they sum up to what the auction decided."""
        if self.parameters.market_mode != "auction":
            return
        cleared = {height: each for height, told in self.clearings.items() for each in told}
        for height, decided in cleared.items():
            later = [other for other in cleared if other > height]
            until = min(later, default=self.local.tip.height + 1)
            trades = [each for n in range(height, until) for each in self.trades.get(n, ())]
            public = [each for each in trades if each.offer not in self.personal]
            assert {each.price_micro for each in public} <= {decided.price_micro}
            assert sum(each.energy_wh for each in public) <= decided.energy_wh
            if not later and self.market.pending_fills.listed("all"):
                continue
            if not self.revoked:  # fills of a revoked member's orders lapse
                assert sum(each.energy_wh for each in public) == decided.energy_wh
                assert sum(each.energy_wh for each in trades) == decided.energy_wh + decided.deals_wh

    @invariant()
    def nobody_owes_and_bids_for_more_than_its_credit(self) -> None:
        for member in MEMBERS:
            used = owed_micro(self.market, member) + open_bids_micro(self.market, member)
            assert used <= self.parameters.credit_limit_micro

    @invariant()
    def fills_that_wait_have_their_energy(self) -> None:
        need: Counter[str] = Counter()
        for fill in dict(self.market.pending_fills.items()).values():
            need.update({fill.offer: fill.energy_wh, fill.bid: fill.energy_wh})
        for order_id, order in self.orders().items():
            assert need[order_id] <= order.energy_wh

    @invariant()
    def sorted_lists_are_those_of_the_rows(self) -> None:
        orders = self.orders()
        sales = [(o.price_micro, o.height, o.index, k) for k, o in orders.items() if o.side == "offer" and o.energy_wh]
        wished = [(-o.price_micro, o.height, o.index, k) for k, o in orders.items() if o.side == "bid" and o.energy_wh]
        assert list(self.market.orders.listed("offer")) == sorted(sales)
        assert list(self.market.orders.listed("bid")) == sorted(wished)
        assert list(self.market.orders.listed("end")) == sorted((o.valid_until_ms, k) for k, o in orders.items())
        assert {str(e[-1]) for e in self.market.orders.listed("waiting")} == {k for k, o in orders.items() if o.waiting}
        for member in MEMBERS:
            assert {k for k, _ in self.market.orders_of(member)} == {k for k, o in orders.items() if o.member == member}

    @invariant()
    def the_state_is_that_of_a_replay(self) -> None:
        assert self.local.chain.state.snapshot() == self.state_at(self.local.tip).snapshot()

    def teardown(self) -> None:
        """In the end the whole chain is audited, and every trade and all undo data with it."""
        raws = [self.local.store.blocks[node.hash] for node in self.local.tip.blocks()][::-1]
        for each in replay(self.genesis, raws):
            assert each.trades == self.trades.get(each.height, ())
            assert each.retirements == self.retired.get(each.height, ())
            assert each.clearings == self.clearings.get(each.height, ())
            assert each.undo == self.local.store.undo[each.block.hash]
            assert {trade_lot for trade in each.trades for trade_lot in trade.lots} <= set(each.lots)

    # helpers

    @property
    def market(self) -> Market:
        return self.local.chain.state.market

    def lots(self) -> dict[str, Lot]:
        return dict(self.market.lots.items())

    def orders(self) -> dict[str, Order]:
        return dict(self.market.orders.items())

    def statements(self) -> Iterator[tuple[Transaction, Generation]]:
        for node in self.local.tip.blocks():
            for each in decode_block(self.local.store.blocks[node.hash]).transactions:
                if isinstance(each.body, Generation):
                    yield each, each.body

    def main_trades(self) -> list[Trade]:
        return [trade for trades in self.trades.values() for trade in trades]

    def main_retirements(self) -> list[Retirement]:
        return [retired for lots in self.retired.values() for retired in lots]

    def below_tip(self, depth: int) -> HeaderNode:
        node = self.local.tip
        for _ in range(min(depth, node.height - 3)):
            assert node.parent is not None
            node = node.parent
        return node

    def state_at(self, node: HeaderNode) -> ChainState:
        """The state after a block, built from genesis by itself."""
        state = ChainState.fresh(self.genesis)
        for each in [*node.blocks()][::-1]:
            layer = state.scratch()
            apply_block(layer, decode_block(self.local.store.blocks[each.hash]), self.genesis)
            layer.commit()
        return state

    def grow(self, parent: HeaderNode, wanted: list[Transaction], pause_ms: int) -> HeaderNode:
        """A block of those that apply, handed in."""
        layer, time_ms = self.state_at(parent).scratch(), parent.time_ms + pause_ms
        context = begin_block(layer, parent.height + 1, self.genesis)
        chosen: list[Transaction] = []
        for each in sorted({one.id: one for one in wanted}.values(), key=block_order):
            try:
                check_transaction(layer, each, parent.height + 1, time_ms, self.genesis)
            except InvalidTransaction:
                continue
            apply_transaction(layer, each, context)
            chosen.append(each)
        miner = "ab"[parent.height % 2]
        block = mine_block(parent, chosen, miner, self.genesis, time_ms=time_ms)
        outcome = self.local.receive(block)
        assert outcome.status in {"connected", "side_branch", "known"}, outcome.error
        if outcome.change is not None:
            for gone in outcome.change.disconnected:
                self.trades.pop(gone.header.height, None)
                self.retired.pop(gone.header.height, None)
                self.clearings.pop(gone.header.height, None)
            for joined in outcome.change.connected:
                self.trades[joined.block.header.height] = joined.trades
                self.retired[joined.block.header.height] = joined.retirements
                self.clearings[joined.block.header.height] = joined.clearings
        return self.local.node(block)

    def transaction(self, state: ChainState, kind: str, member: str, first: int, second: int) -> Transaction | None:
        """A wish as a transaction that mostly applies."""
        self.salt += 1
        salt, market = str(self.salt), state.market
        match kind:
            case "state":
                return self.statement(state, member, first, reset=second == 1, salt=salt)
            case "offer" | "personal":
                lots = self.free_lots(state, member)[: 1 + second % 4]
                buyer = MEMBERS[second % 4] if kind == "personal" else ""
                made = offer(member, lots or ["0" * 64], first, smallest_wh=second, buyer=buyer, salt=salt)
                self.personal |= {made.id} if buyer else set()
                return made if lots else None
            case "merge" | "retire":
                return self.use_of_lots(kind, member, self.free_lots(state, member)[second : second + first], salt)
            case "bid" | "repeating":
                return bid(member, second, first, repeats=kind == "repeating", salt=salt)
            case "brief":
                return bid(member, second, first, until_ms=state.time_ms + 1_500, salt=salt)
            case _:
                own = [order_id for order_id, _ in market.orders_of(member)]
                return cancel(member, own[first % len(own)], salt=salt) if own else None

    def use_of_lots(self, kind: str, member: str, lots: list[str], salt: str) -> Transaction | None:
        if kind == "merge":
            return merge(member, lots, salt=salt) if len(lots) > 1 else None
        return retire(member, lots, salt=salt) if lots else None

    def free_lots(self, state: ChainState, member: str) -> list[str]:
        lots = state.market.lots.items()
        return sorted(lot_id for lot_id, lot in lots if lot.owner == member and not lot.offer)

    def statement(self, state: ChainState, member: str, energy_wh: int, *, reset: bool, salt: str) -> Transaction:
        last = state.market.registers.get(f"{member}/roof/dc")
        start_ms = last.time_ms - GENESIS_TIME_MS if last else 1_000
        start_wh = 0 if last is None or reset else last.register_wh
        end = (state.time_ms - GENESIS_TIME_MS + 400, start_wh + energy_wh)
        return statement(member, (start_ms, start_wh), end, reset=reset, salt=salt)


class Auctions(Trading):
    """The same with auctions."""

    parameters = CLOSE_AUCTION


Trading.TestCase.settings = Auctions.TestCase.settings = settings(
    max_examples=examples(15),
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTrading = Trading.TestCase
TestAuctions = Auctions.TestCase
