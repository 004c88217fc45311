"""One line of a bill: its trade, the block that carries it, both orders, and the lots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from minervas_core.billing.records import Bill, BillLine
from minervas_core.blocks import Block, decode_block
from minervas_core.errors import Code, InvalidBlock, InvalidProof
from minervas_core.evidence.finality import check_block_shown, check_final, shown_members
from minervas_core.evidence.known_keys import KnownKeys
from minervas_core.evidence.records import ShownTrade
from minervas_core.evidence.steps import Check, NotChecked
from minervas_core.genesis import Genesis
from minervas_core.market.fills import derived_lot_id
from minervas_core.market.records import Bid, Lot, Offer, Origin, Trade
from minervas_core.signature_cache import SignatureCache
from minervas_core.transactions import check_signature, decode_transaction
from minervas_core.validation import check_block_body

MOST_EVENTS = 100_000
"""Lots that one offer derives: the search for a lot's number ends there."""


@dataclass(frozen=True, slots=True)
class ReplayedMarket:
    """What a replay of the whole chain says of a bill's pair."""

    trades: Mapping[tuple[int, int], Trade]
    """By height and position."""
    lots: Mapping[str, Lot]
    """Lots of these trades, as they came into being."""
    blocks: Mapping[int, str]
    """Hashes of the blocks of these trades, by height."""
    final_height: int
    """As far as the chain's own votes make it final."""


@dataclass(slots=True)
class TradeCheck:
    """Checks of one line, to run in turn."""

    genesis: Genesis
    bill: Bill
    line: BillLine
    shown: ShownTrade
    replayed: ReplayedMarket | None = None
    """Result of a replay, if there was one: then the trade is not only plausible but computed again."""
    keys: KnownKeys | None = None
    """Known once the step ``members`` is done."""
    origins: dict[str, Origin] = field(default_factory=dict)
    """Energy of the line by statement, once the step ``lots`` is done."""

    def checks(self) -> Iterator[tuple[str, Check]]:
        """The steps."""
        yield "line", self._line
        yield "members", self._members
        yield "block", self._block
        yield "finality", self._final
        yield "trade", self._trade
        yield "matching", self._matching
        yield "lots", self._lots

    def _line(self) -> str:
        trade, line = self.shown.trade, self.line
        if (trade.seller, trade.buyer) != (self.bill.seller, self.bill.buyer):
            raise _wrong("A trade of other members", seller=trade.seller, buyer=trade.buyer)
        for name in ("height", "position", "energy_wh", "price_micro", "amount_micro"):
            if getattr(trade, name) != getattr(line, name):
                raise _wrong("The line is not that of the trade", field=name)
        if trade.amount_micro != trade.energy_wh * trade.price_micro:
            raise _wrong("The amount is not energy times price", amount_micro=trade.amount_micro)
        return f"{line.energy_wh} Wh at {line.price_micro} micro per Wh, trade {line.position} of block {line.height}"

    def _members(self) -> str:
        self.keys = KnownKeys(self.genesis, shown_members(self.shown.finality))
        return f"members with a vote, admitted by the authority: {', '.join(sorted(self.keys.voters))}"

    def _block(self) -> str:
        block = decode_block(bytes(self.shown.block))
        header = block.header
        if header != self.shown.finality.headers[0] or header.height != self.line.height:
            raise InvalidBlock(Code.BLOCK_HEIGHT, "Not the block of the trade", height=header.height)
        if header.time_ms != self.line.time_ms:
            raise InvalidBlock(Code.BLOCK_HEIGHT, "Not the time that the line says", time_ms=header.time_ms)
        block_hash = check_block_shown(self.genesis, self.shown.finality, self._keys())
        check_block_body(block, SignatureCache(self.genesis))
        return f"{block_hash}: work {header.difficulty}, {_content(block)}, signed by {header.miner}"

    def _final(self) -> str:
        checkpoint, voted = check_final(self.genesis, self.shown.finality, self._keys())
        return f"final since checkpoint {checkpoint.height}, {checkpoint.hash()}; votes of {', '.join(voted)}"

    def _trade(self) -> str:
        trade = self.shown.trade
        offer, bid = (decode_transaction(bytes(raw)) for raw in (self.shown.offer, self.shown.bid))
        if (offer.id, bid.id) != (trade.offer, trade.bid):
            raise _wrong("Other orders than the trade names", offer=offer.id, bid=bid.id)
        if not isinstance(offer.body, Offer) or not isinstance(bid.body, Bid):
            raise _wrong("Not an offer and a bid", offer=offer.kind, bid=bid.kind)
        for order, member in ((offer, trade.seller), (bid, trade.buyer)):
            check_signature(order, self.genesis.network)
            if not self._keys().is_key_of("wallet", order.body.sender, member):
                raise _wrong("An order that its member did not sign", member=member, order=order.id)
        if not offer.body.price_micro <= trade.price_micro <= bid.body.price_micro:
            raise _wrong("A price that an order does not allow", price_micro=trade.price_micro)
        if offer.body.buyer not in ("", trade.buyer):
            raise _wrong("An offer for another buyer", buyer=offer.body.buyer)
        return f"offer {offer.id} signed by {trade.seller}, bid {bid.id} signed by {trade.buyer}; the price is in both"

    def _matching(self) -> str:
        if self.replayed is None:
            raise NotChecked("that the market's rules led to just this trade, the whole chain shows: give it, too")
        place = self.line.height, self.line.position
        if self.replayed.trades.get(place) != self.shown.trade:
            raise _wrong("The chain has another trade there, or none", height=place[0], position=place[1])
        if self.replayed.blocks[place[0]] != self.shown.finality.headers[0].hash():
            raise _wrong("The chain has another block there", height=place[0])
        if self.replayed.final_height < place[0]:
            raise InvalidProof(Code.PROOF_NOT_FINAL, "Not final by the chain's own votes", height=place[0])
        return f"the whole chain, played again, makes this trade; final up to block {self.replayed.final_height}"

    def _lots(self) -> str:
        trade, lots = self.shown.trade, self.shown.lots
        if [lot.id for lot in lots] != trade.lots:
            raise _lot_wrong("Not the lots that the trade names", lots=len(lots))
        names = iter(derived_lot_id(trade.offer, trade.bid, event) for event in range(MOST_EVENTS))
        for lot in lots:
            if lot.id not in names:
                raise _lot_wrong("A lot that is not derived from the two orders", lot=lot.id)
            if lot.energy_wh != sum(origin.energy_wh for origin in lot.origins):
                raise _lot_wrong("A lot's energy is not that of its origins", lot=lot.id)
            if self.replayed is not None and self.replayed.lots[lot.id].origins != lot.origins:
                raise _lot_wrong("The chain says that the lot has other origins", lot=lot.id)
            for origin in lot.origins:
                before = self.origins.get(origin.statement)
                energy_wh = origin.energy_wh + (before.energy_wh if before else 0)
                self.origins[origin.statement] = Origin(statement=origin.statement, energy_wh=energy_wh)
        if sum(lot.energy_wh for lot in lots) != trade.energy_wh:
            raise _lot_wrong("The lots have another energy than the trade", energy_wh=trade.energy_wh)
        return f"{len(lots)} lots from {len(self.origins)} metering statements"

    def _keys(self) -> KnownKeys:
        if self.keys is None:
            raise InvalidProof(Code.PROOF_INCOMPLETE, "The members are not known")
        return self.keys


def _content(block: Block) -> str:
    return f"{len(block.transactions)} signed transactions under its root"


def _wrong(message: str, **values: str | int) -> InvalidProof:
    return InvalidProof(Code.TRADE_WRONG, message, **values)


def _lot_wrong(message: str, **values: str | int) -> InvalidProof:
    return InvalidProof(Code.LOT_WRONG, message, **values)
