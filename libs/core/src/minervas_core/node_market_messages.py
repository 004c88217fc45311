"""What the services of one node say to each other about metering and trading, sealed under the node key.

A statement goes meter-gateway -> ledger (``statement``) -> peer (``relay``) -> other peers; an order goes
peer -> ledger (``submit``) and, once accepted, from the peer to the others.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import MAX_INTEGER, Count, Hash, Record, Salt, SignedInteger, TimeMs
from minervas_core.identifiers import MemberId
from minervas_core.market.records import (
    Clearing,
    EnergyWh,
    Lot,
    Meter,
    Obligation,
    Order,
    PriceMicro,
    Register,
    Retirement,
    Slot,
    Trade,
)
from minervas_core.metering import Name, Reading
from minervas_core.node_messages import PageSize, SubmitResult

MAX_RANGES = 200
"""Ranges in one acknowledgement: a batch of 200 readings has at most that many gaps."""

MAX_ORIGINS_PER_ANSWER = 4_000
"""Origins of lots or retirements in one answer, which ends before the first that would exceed them."""

SequenceRange = Annotated[list[Count], msgspec.Meta(min_length=2, max_length=2)]
"""First and last sequence number of a run without gaps."""


# meter-gateway -> ledger


class Statement(Record, frozen=True, kw_only=True):
    """Request: queue and spread a metering statement. Repeating it is harmless. Answer: `SubmitResult`."""

    transaction: msgspec.Raw


class GetChannelRegisters(Record, frozen=True, kw_only=True):
    """Request: what the chain knows of our node's meters."""


class ChannelRegister(Record, frozen=True, kw_only=True):
    """One registered channel of our node."""

    meter: Name
    channel: Name
    last: Register | msgspec.UnsetType = msgspec.UNSET
    """Where its last statement on the best chain ended; absent before the first."""


class ChannelRegisters(Record, frozen=True, kw_only=True):
    """Answer to `GetChannelRegisters`: as of the ledger's tip."""

    meters: list[Meter]
    channels: list[ChannelRegister]
    slot_ms: Count
    tip_height: Count
    tip_time_ms: TimeMs


# ledger -> meter-gateway


class ReadingsStored(Record, frozen=True, kw_only=True):
    """Event: these readings are committed in PostgreSQL; the spool may forget them."""

    spool: Salt
    ranges: Annotated[list[SequenceRange], msgspec.Meta(max_length=MAX_RANGES)]
    refused: Annotated[list[SequenceRange], msgspec.Meta(max_length=MAX_RANGES)] | msgspec.UnsetType = msgspec.UNSET
    """Committed, too, but put aside as ``clock_offset``: their time is before the consortium or far in the future."""


# ledger -> peer


class Relay(Record, frozen=True, kw_only=True):
    """Event: transactions of our own node that the others should have."""

    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=200)]


# peer -> ledger


class GetLots(Record, frozen=True, kw_only=True):
    """Request: a page of the unspent lots, of one owner or of all."""

    owner: str = ""
    free: bool = False
    """Only those that no offer holds."""
    after: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """Only ids above this one: the last of the page before."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 200


class LotEntry(Record, frozen=True, kw_only=True):
    """An unspent lot."""

    id: Hash
    lot: Lot


class Lots(Record, frozen=True, kw_only=True):
    """Answer to `GetLots`, by id."""

    lots: list[LotEntry]
    more: bool
    """Whether there are more after these."""


class GetLot(Record, frozen=True, kw_only=True):
    """Request: a lot of the best chain, also one that is used up."""

    id: Hash


class TracedOrigin(Record, frozen=True, kw_only=True):
    """Energy, and the metering statement that minted it."""

    statement: Hash
    energy_wh: EnergyWh
    member: MemberId
    meter: Name
    channel: Name
    start_ms: TimeMs
    end_ms: TimeMs


class LotDetail(Record, frozen=True, kw_only=True):
    """Answer to `GetLot`: where a lot came from and what became of it."""

    id: Hash
    lot: Lot
    joined: list[Hash]
    """Lots that a merge joined into it, in its order; empty if no merge made it."""
    origins: list[TracedOrigin]
    created_height: Count
    spent_height: Count | msgspec.UnsetType = msgspec.UNSET
    """Block that used it up; absent as long as it exists."""
    retired_by: str = ""
    """Transaction that retired it, or empty."""


class GetRetirements(Record, frozen=True, kw_only=True):
    """Request: a page of the lots that were claimed as used, of one owner or of all, newest first."""

    owner: str = ""
    before_height: Count = MAX_INTEGER
    before_position: Count = MAX_INTEGER
    """Only those before this place in the chain: that of the last of the page before."""
    limit: PageSize = 50


class RetirementEntry(Record, frozen=True, kw_only=True):
    """A retirement, traced."""

    retirement: Retirement
    origins: list[TracedOrigin]


class Retirements(Record, frozen=True, kw_only=True):
    """Answer to `GetRetirements`, newest first."""

    retirements: list[RetirementEntry]
    more: bool
    """Whether there are older ones."""


class GetOrders(Record, frozen=True, kw_only=True):
    """Request: open orders, of one member or of all."""

    member: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 200


class OrderEntry(Record, frozen=True, kw_only=True):
    """An open order."""

    id: Hash
    order: Order


class Orders(Record, frozen=True, kw_only=True):
    """Answer to `GetOrders`: offers first, best price first."""

    orders: list[OrderEntry]


class GetTrades(Record, frozen=True, kw_only=True):
    """Request: the newest trades on the best chain."""

    limit: PageSize = 50


class TradeEntry(Record, frozen=True, kw_only=True):
    """A trade, and the meters that its energy came from."""

    trade: Trade
    meters: list[str]
    """``member/meter/channel`` of the statements at the root of its lots."""


class Trades(Record, frozen=True, kw_only=True):
    """Answer to `GetTrades`, newest first."""

    trades: list[TradeEntry]


class GetMarket(Record, frozen=True, kw_only=True):
    """Request: the order book by price, and what was paid last."""

    levels: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    """Prices of each side at most."""


class PriceLevel(Record, frozen=True, kw_only=True):
    """All open orders of one side at one price."""

    price_micro: PriceMicro
    energy_wh: Count
    """Still open (2^53 - 1 if more)."""
    orders: Count


class MarketView(Record, frozen=True, kw_only=True):
    """Answer to `GetMarket`, without offers for a single buyer."""

    slot: Slot
    """The slot that goes on at our tip."""
    offers: list[PriceLevel]
    """Cheapest first."""
    bids: list[PriceLevel]
    """Dearest first."""
    spread_micro: SignedInteger | msgspec.UnsetType = msgspec.UNSET
    """Lowest ask less highest limit, below 0 while an auction is to come; absent if one side is empty."""
    last: Trade | msgspec.UnsetType = msgspec.UNSET
    """The newest trade on the best chain."""


class GetClearings(Record, frozen=True, kw_only=True):
    """Request: what auctions decided, newest first."""

    before_height: Count = MAX_INTEGER
    """Only those below this height: that of the last of the page before."""
    limit: PageSize = 50


class Clearings(Record, frozen=True, kw_only=True):
    """Answer to `GetClearings`, newest first."""

    clearings: list[Clearing]


class GetVolumes(Record, frozen=True, kw_only=True):
    """Request: what was traded in each slot, newest first."""

    before_ms: TimeMs = MAX_INTEGER
    """Only slots that began before this time: that of the last of the page before."""
    limit: PageSize = 50


class SlotVolume(Record, frozen=True, kw_only=True):
    """Trades of the blocks whose time lies in a slot."""

    start_ms: TimeMs
    trades: Count
    energy_wh: Count
    amount_micro: Count
    """2^53 - 1 if more."""
    lowest_micro: PriceMicro
    highest_micro: PriceMicro
    last_micro: PriceMicro
    """Price of the last one."""


class Volumes(Record, frozen=True, kw_only=True):
    """Answer to `GetVolumes`, newest first; slots without a trade are left out."""

    slot_ms: Count
    """Length of a slot by the parameters of today; so the slots of the past are counted, too."""
    volumes: list[SlotVolume]


class GetObligations(Record, frozen=True, kw_only=True):
    """Request: who owes whom on the best chain."""


class ObligationEntry(Record, frozen=True, kw_only=True):
    """What one member owes another."""

    debtor: MemberId
    creditor: MemberId
    owed: Obligation


class Obligations(Record, frozen=True, kw_only=True):
    """Answer to `GetObligations`, by debtor and creditor."""

    obligations: list[ObligationEntry]


class GetMeters(Record, frozen=True, kw_only=True):
    """Request: registered meters, of one member or of all."""

    member: str = ""


class ChannelEnergy(Record, frozen=True, kw_only=True):
    """What one channel has minted."""

    member: MemberId
    meter: Name
    channel: Name
    minted_wh: Count
    statements: Count


class Meters(Record, frozen=True, kw_only=True):
    """Answer to `GetMeters`."""

    meters: list[Meter]
    energy: list[ChannelEnergy]


class GetReadings(Record, frozen=True, kw_only=True):
    """Request: the newest readings of our node's channels."""

    meter: str = ""
    channel: str = ""
    limit: PageSize = 60


class ReadingEntry(Record, frozen=True, kw_only=True):
    """A stored reading."""

    spool: Salt
    reading: Reading
    stored_ms: TimeMs


class Readings(Record, frozen=True, kw_only=True):
    """Answer to `GetReadings`, newest first, and counts since the node began."""

    readings: list[ReadingEntry]
    stored: Count
    conflicts: Count
    """Readings of one time and sequence that came with other content."""


NODE_MARKET_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "statement": (Statement, SubmitResult),
    "channel_registers": (GetChannelRegisters, ChannelRegisters),
    "lots": (GetLots, Lots),
    "lot_detail": (GetLot, LotDetail),
    "retirements": (GetRetirements, Retirements),
    "orders": (GetOrders, Orders),
    "trades": (GetTrades, Trades),
    "market": (GetMarket, MarketView),
    "clearings": (GetClearings, Clearings),
    "volumes": (GetVolumes, Volumes),
    "obligations": (GetObligations, Obligations),
    "meters": (GetMeters, Meters),
    "readings": (GetReadings, Readings),
}
"""Request and answer inside a node, by kind."""

NODE_MARKET_EVENT_TYPES: dict[str, type[Record]] = {
    "readings_stored": ReadingsStored,
    "relay": Relay,
}
"""Messages without an answer inside a node, by kind."""
