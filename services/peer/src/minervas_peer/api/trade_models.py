"""Shapes of what the API says about metering and trading.

Energy is in Wh, prices in millionths of the consortium's currency per Wh (thousandths per kWh), amounts in millionths
of the currency; power in mW, voltage in mV, current in mA, energy registers of readings in mWh.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from minervas_core.encoding import MAX_INTEGER
from minervas_core.market.records import MAX_LOTS_PER_MERGE

DAY_MS = 86_400_000
HASH_PATTERN = r"^[0-9a-f]{64}$"
LotId = Annotated[str, Field(pattern=HASH_PATTERN)]


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    price_micro: int = Field(ge=0, le=MAX_INTEGER, description="Millionths of the currency per Wh.")
    valid_ms: int = Field(default=DAY_MS, ge=1_000, le=400 * DAY_MS, description="How long it may rest in the book.")


class NewOffer(_Order):
    """Energy to sell: name lots, or an amount and let the peer choose."""

    energy_wh: int = Field(default=0, ge=0, le=MAX_INTEGER, description="At least so much; 0 if lots are named.")
    lots: list[str] = Field(default_factory=list, max_length=100, description="Lots to sell; empty: free ones.")
    smallest_wh: int = Field(default=1, ge=1, le=MAX_INTEGER, description="No fill is smaller.")
    buyer: str = Field(default="", max_length=32, description="Only this member may buy.")


class NewBid(_Order):
    """Energy to buy."""

    energy_wh: int = Field(ge=1, le=MAX_INTEGER)
    repeats: bool = Field(default=False, description="Wants that energy of every slot until its validity ends.")


class Cancellation(BaseModel):
    """An own order to take back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    order: str = Field(pattern=HASH_PATTERN)


class NewMerge(BaseModel):
    """Own free lots to join into one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lots: list[LotId] = Field(min_length=2, max_length=MAX_LOTS_PER_MERGE)


class NewRetirement(BaseModel):
    """Own free lots to claim as used, for ever."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lots: list[LotId] = Field(min_length=1, max_length=MAX_LOTS_PER_MERGE)


class NewVeto(BaseModel):
    """A waiting recovery of our own wallet to object to."""

    model_config = ConfigDict(extra="forbid", strict=True)

    recovery: str = Field(pattern=HASH_PATTERN, description="Id of the transaction that asked for it.")


class Placed(BaseModel):
    """What was signed and queued; `/v1/transactions/{id}` tells what becomes of it."""

    id: str
    type: str


class Origin(BaseModel):
    """Energy that one statement minted."""

    statement: str
    energy_wh: int


class Lot(BaseModel):
    """An unspent lot."""

    id: str
    owner: str
    energy_wh: int
    parent: str = Field(description="Lot that it was split from; or its own id, a statement's or a merge's.")
    origins: list[Origin] = Field(description="Statements at the root: meter, channel and time of the energy.")
    offer: str = Field(description="Offer that holds it, or empty.")


class Lots(BaseModel):
    """A page of the unspent lots, by id."""

    lots: list[Lot]
    more: bool = Field(description="Whether there are more; ask again with `after` the last one's id.")


class TracedOrigin(Origin):
    """Energy, and where and when it was metered."""

    member: str
    meter: str
    channel: str
    start_ms: int
    end_ms: int


class LotDetail(BaseModel):
    """A lot, also one that is used up: where it came from, and what became of it."""

    id: str
    owner: str
    energy_wh: int
    parent: str
    offer: str
    joined: list[str] = Field(description="Lots that a merge joined into it.")
    origins: list[TracedOrigin]
    created_height: int
    spent_height: int | None = Field(description="Block that sold, split, merged or retired it.")
    retired_by: str = Field(description="Transaction that retired it, or empty.")


class Retirement(BaseModel):
    """A lot that its owner claimed as used."""

    height: int
    position: int
    transaction: str
    owner: str
    lot: str
    energy_wh: int
    origins: list[TracedOrigin]


class Retirements(BaseModel):
    """A page of the retirements, newest first."""

    retirements: list[Retirement]
    more: bool = Field(description="Whether there are older ones; ask again before the last one's height and position.")


class Order(BaseModel):
    """An open offer or bid."""

    id: str
    side: Literal["offer", "bid"]
    member: str
    price_micro: int
    energy_wh: int = Field(description="Still open; 0 for a repeating bid that has all of this slot.")
    smallest_wh: int
    valid_until_ms: int
    height: int
    buyer: str
    lots: list[str]
    repeat_wh: int = Field(description="Energy that a repeating bid wants of each slot; 0 for any other order.")


class Orders(BaseModel):
    """Open orders: offers first, best price first."""

    orders: list[Order]


class Trade(BaseModel):
    """A fill, and the channels that its energy came from."""

    height: int
    position: int
    seller: str
    buyer: str
    energy_wh: int
    price_micro: int
    amount_micro: int
    offer: str
    bid: str
    lots: list[str]
    meters: list[str] = Field(description="member/meter/channel of the statements at the root.")


class Trades(BaseModel):
    """Trades, newest first."""

    trades: list[Trade]


class Slot(BaseModel):
    """The market slot that goes on."""

    mode: Literal["auction", "continuous"]
    ends_ms: int
    cleared: bool = Field(description="Its auction is decided, but not all of its fills are carried out.")


class PriceLevel(BaseModel):
    """All open orders of one side at one price."""

    price_micro: int
    energy_wh: int
    orders: int


class Market(BaseModel):
    """The order book by price, without offers for a single buyer, and what was paid last."""

    slot: Slot
    offers: list[PriceLevel]
    bids: list[PriceLevel]
    spread_micro: int | None = Field(description="Lowest ask less highest limit; null if one side is empty.")
    last: dict[str, Any] | None = Field(description="The newest trade, if there is any.")


class Clearing(BaseModel):
    """What the auction of a slot decided; without a price if no offer met a bid."""

    height: int
    slot_ends_ms: int
    price_micro: int | None = None
    lowest_micro: int | None = None
    highest_micro: int | None = None
    energy_wh: int
    offers: int
    bids: int
    offered_wh: int
    wanted_wh: int
    deals: int = Field(description="Fills of personal deals, which are no part of the auction.")
    deals_wh: int


class Clearings(BaseModel):
    """Auctions, newest first."""

    clearings: list[Clearing]


class SlotVolume(BaseModel):
    """What was traded in a slot."""

    start_ms: int
    trades: int
    energy_wh: int
    amount_micro: int
    lowest_micro: int
    highest_micro: int
    last_micro: int


class Volumes(BaseModel):
    """Slots with trades, newest first."""

    slot_ms: int
    volumes: list[SlotVolume]


class Obligation(BaseModel):
    """What one member owes another."""

    debtor: str
    creditor: str
    amount_micro: int
    energy_wh: int


class Obligations(BaseModel):
    """Who owes whom."""

    obligations: list[Obligation]


class Meters(BaseModel):
    """Registered meters, and what their channels have minted."""

    meters: list[dict[str, Any]]
    energy: list[dict[str, Any]]


class Readings(BaseModel):
    """The newest readings of our own channels."""

    readings: list[dict[str, Any]]
    stored: int
    conflicts: int
