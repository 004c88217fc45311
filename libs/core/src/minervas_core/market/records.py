"""What the market keeps in the chain state: meters, channel registers, lots and open orders (design section 5)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from minervas_core.encoding import Count, Hash, LeanHash, LeanKey, LeanNetworkId, LeanSalt, PublicKey, Record, TimeMs
from minervas_core.genesis import MarketMode
from minervas_core.identifiers import MemberId
from minervas_core.metering import Name

EnergyWh = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""A positive amount of energy in Wh."""
PriceMicro = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Price in millionths of the currency per Wh (thousandths per kWh)."""
RatedW = Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]
RegisterStep = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
"""Resolution of a meter's energy register, rounded up to Wh."""


class Channel(Record, frozen=True, kw_only=True):
    """One measured panel or string of a meter."""

    name: Name
    rated_w: RatedW


class MeterDeclaration(Record, frozen=True, kw_only=True):
    """What an applicant says of a meter and the authority registers."""

    meter: Name
    model: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}\Z")]
    """Name of the register map."""
    channels: Annotated[list[Channel], msgspec.Meta(min_length=1, max_length=32)]
    register_step_wh: RegisterStep


class Meter(Record, frozen=True, kw_only=True):
    """A registered meter. Its gateway key may state energy for its channels, within their rated power."""

    member: MemberId
    meter: Name
    model: str
    gateway: PublicKey
    channels: Annotated[list[Channel], msgspec.Meta(min_length=1, max_length=32)]
    register_step_wh: RegisterStep
    registered_ms: TimeMs = 0
    """Time of the predecessor of the block that registered it; nothing metered earlier is minted."""


class Register(Record, frozen=True, kw_only=True):
    """Where a channel's last statement ended."""

    time_ms: TimeMs
    register_wh: Count
    statement: Hash
    """Transaction id of that statement."""
    since_ms: TimeMs
    """Where the channel's first statement started."""
    minted_wh: Count
    """All that the channel has minted since."""


MAX_LOTS_PER_MERGE = 100
"""As many as an offer may have; so is a retirement's number of lots."""

MAX_ORIGINS = 100
"""Statements that the energy of one lot may come from: as many fresh lots as one merge joins. A lot's row in the state
stays below 11 kB, and so does what a certificate has to name for it."""


class Origin(Record, frozen=True, kw_only=True):
    """Energy of a lot that one statement minted."""

    statement: Hash
    """Id of the generation statement: meter, channel and time."""
    energy_wh: EnergyWh


class Lot(Record, frozen=True, kw_only=True):
    """An amount of metered energy with its origins and owner: an unspent transaction output."""

    owner: MemberId
    energy_wh: EnergyWh
    """The sum of its origins' energy."""
    parent: Hash
    """Lot from which it was split off; or its own id, that of the transaction that made it: a statement, or a merge,
    which names the lots that it joined."""
    origins: Annotated[list[Origin], msgspec.Meta(min_length=1, max_length=MAX_ORIGINS)]
    """Where the energy comes from, by statement id, each once."""
    offer: str = ""
    """Offer that holds it, or empty."""


class Order(Record, frozen=True, kw_only=True):
    """An open offer or bid. Its id is its transaction's."""

    side: Literal["offer", "bid"]
    member: MemberId
    price_micro: PriceMicro
    """Asked price of an offer, limit of a bid."""
    energy_wh: Count
    """What is still open; 0 only for a repeating bid that has got all that it wanted of this slot."""
    smallest_wh: EnergyWh = 1
    """Smallest fill of an offer; its last remainder may be smaller."""
    valid_until_ms: TimeMs
    height: Count
    index: Count
    """Position of its transaction in the chain: earlier ones go first at equal price."""
    buyer: str = ""
    """Only this member may buy (personal deal), or empty."""
    lots: list[str]
    """Lots of an offer that are not used up, in the order in which they are sold."""
    waiting: bool = False
    """Matching was cut short by the limit of fills per block; it goes on at the start of the next block."""
    events: Count = 0
    """How many lots this offer has derived so far: names the next one."""
    repeat_wh: Count = 0
    """Energy that a repeating bid wants of each slot; 0 for any other order."""


class Slot(Record, frozen=True, kw_only=True):
    """The market slot that goes on, or whose auction is being carried out."""

    mode: MarketMode
    """How orders are matched until its end."""
    ends_ms: TimeMs
    """First moment after it."""
    cleared: bool = False
    """Its auction is decided, but not all of its fills are carried out."""


class Clearing(Record, frozen=True, kw_only=True):
    """What the auction of a slot decided."""

    height: Count
    """Block that decided it and carried out its first fills."""
    slot_ends_ms: TimeMs
    """First moment after the slot."""
    price_micro: PriceMicro | msgspec.UnsetType = msgspec.UNSET
    """The one price of its fills; absent if no offer met a bid."""
    lowest_micro: PriceMicro | msgspec.UnsetType = msgspec.UNSET
    """The least price that would have done, too."""
    highest_micro: PriceMicro | msgspec.UnsetType = msgspec.UNSET
    """The highest such price."""
    energy_wh: Count
    """Energy sold at that price."""
    offers: Count
    """Offers that sold."""
    bids: Count
    """Bids that bought."""
    offered_wh: Count
    """Energy of all offers that took part (2^53 - 1 if more)."""
    wanted_wh: Count
    """Energy of all bids that took part (2^53 - 1 if more)."""
    deals: Count
    """Fills of personal deals, which are no part of the auction."""
    deals_wh: Count
    """Their energy."""


class Trade(Record, frozen=True, kw_only=True):
    """A fill, numbered within its block: energy from a seller to a buyer, and what the buyer owes."""

    height: Count
    position: Count
    """Number of the fill within the block, from 0."""
    offer: Hash
    bid: Hash
    seller: MemberId
    buyer: MemberId
    energy_wh: EnergyWh
    price_micro: PriceMicro
    amount_micro: Count
    lots: list[str]
    """Lots that the buyer received."""


class Retirement(Record, frozen=True, kw_only=True):
    """A lot that its owner claimed as used, numbered within its block: what a certificate of origin rests on."""

    height: Count
    position: Count
    """Number of the retired lot within the block, from 0."""
    transaction: Hash
    owner: MemberId
    lot: Hash
    energy_wh: EnergyWh
    origins: list[Origin]
    """Where the energy came from, as the lot said."""


class Obligation(Record, frozen=True, kw_only=True):
    """What one member owes another in all, before payments."""

    amount_micro: Count
    energy_wh: Count


class MarketBody(Record, frozen=True, kw_only=True):
    """Fields of every transaction that a wallet signs."""

    network: LeanNetworkId
    sender: LeanKey
    salt: LeanSalt
    expires_height: Count


class Offer(MarketBody, frozen=True, kw_only=True, tag_field="type", tag="offer"):
    """Puts lots on sale."""

    lots: Annotated[list[LeanHash], msgspec.Meta(min_length=1, max_length=100)]
    price_micro: PriceMicro
    """At least this, in millionths of the currency per Wh."""
    smallest_wh: EnergyWh
    """No fill is smaller, but for the last remainder."""
    valid_until_ms: TimeMs
    buyer: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?\Z")] = ""
    """Only this member may buy (personal deal), or empty."""


class Bid(MarketBody, frozen=True, kw_only=True, tag_field="type", tag="bid"):
    """Wants energy."""

    energy_wh: EnergyWh
    price_micro: PriceMicro
    """At most this, in millionths of the currency per Wh."""
    valid_until_ms: TimeMs
    repeats: bool = False
    """Wants that energy of every slot until its validity ends."""


class Cancel(MarketBody, frozen=True, kw_only=True, tag_field="type", tag="cancel"):
    """Takes an own offer or bid back."""

    order: LeanHash


class Merge(MarketBody, frozen=True, kw_only=True, tag_field="type", tag="merge"):
    """Joins own free lots into one, whose id is the transaction's."""

    lots: Annotated[list[LeanHash], msgspec.Meta(min_length=2, max_length=MAX_LOTS_PER_MERGE)]


class Retire(MarketBody, frozen=True, kw_only=True, tag_field="type", tag="retire"):
    """Claims own free lots as used: nobody can trade them any more."""

    lots: Annotated[list[LeanHash], msgspec.Meta(min_length=1, max_length=MAX_LOTS_PER_MERGE)]
    origins_root: Hash | msgspec.UnsetType = msgspec.UNSET
    """What is in the lots, as their owner understands it (`lots.origins_root`): a block in which it is otherwise is
    invalid. So the chain itself carries what a certificate of origin says; without it there is no certificate."""
