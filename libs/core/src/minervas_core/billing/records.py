"""What bills and statements are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import Count, Hash, NetworkId, PerMille, Record, SignedInteger, TimeMs
from minervas_core.identifiers import MemberId
from minervas_core.market.records import EnergyWh, PriceMicro
from minervas_core.market.settlement_records import Month

MAX_LINES_PER_ANSWER = 500
"""Lines in one answer; a pair that trades in every slot of a month has about 3,000."""

BillNumber = Annotated[
    str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?-[0-9]{4}(0[1-9]|1[0-2])-[0-9]{3,6})?\Z")
]
"""``haenam-farm-202603-001``: seller, month, and the buyer's place among the seller's buyers of the month, by id."""


class BillPeriod(Record, frozen=True, kw_only=True):
    """A month as blocks: those whose time is in it."""

    month: Month
    from_ms: TimeMs
    until_ms: TimeMs
    """End, exclusive: when the next month begins in the consortium's time zone."""
    time_zone: str
    first_height: Count
    """First block of the month; 0 if there is none."""
    last_height: Count
    """Last block of the month so far."""
    is_final: bool
    """Whether every block of the month is final, and the first one after it, too."""


class BillLine(Record, frozen=True, kw_only=True):
    """One trade on a bill."""

    line: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    """Number on the bill, in the order of the chain."""
    height: Count
    position: Count
    """Place of the trade: its id."""
    time_ms: TimeMs
    """Time of the block that traded."""
    energy_wh: EnergyWh
    price_micro: PriceMicro
    amount_micro: Count
    measured: Count
    """Readings behind the energy: of all statements that its lots come from."""
    substituted: Count
    """Readings of these statements whose values stand for others: somebody read them by hand."""
    missing: Count
    """Samples of these statements that brought no values."""


class Bill(Record, frozen=True, kw_only=True):
    """What a buyer owes a seller for a month. It is not a tax invoice."""

    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    network: NetworkId
    genesis: Hash
    number: BillNumber
    """Empty as long as the bill is a preview."""
    seller: MemberId
    buyer: MemberId
    period: BillPeriod
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    lines: Count
    lines_root: Hash
    """Merkle root over the canonical bytes of the lines."""
    energy_wh: Count
    net_micro: Count
    """Sum of the lines' amounts, exact."""
    tax_per_mille: PerMille
    tax_micro: Count
    """Tax on it, a broken millionth cut off."""
    rounding_micro: SignedInteger
    """What rounding added or took; net, tax and this together are the total."""
    total_micro: Count
    """To pay: rounded once to the currency's smallest unit, half to even."""
    measured: Count
    substituted: Count
    missing: Count
    """Sums of the lines'; a trade's readings count in each line that rests on them."""


class RewardShare(Record, frozen=True, kw_only=True):
    """A month's rewards of the miners, and how the members share them."""

    blocks: Count
    """Final blocks that the member mined in the month."""
    earned_micro: Count
    """What the consortium owes the member for them."""
    share_micro: Count
    """The member's part of all members' rewards."""


class MemberStatement(Record, frozen=True, kw_only=True):
    """A member's month at a glance; amounts without tax, and exact."""

    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    network: NetworkId
    member: MemberId
    period: BillPeriod
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    produced_wh: Count
    """Minted by the member's meters in the month."""
    sold_wh: Count
    revenue_micro: Count
    bought_wh: Count
    cost_micro: Count
    retired_wh: Count
    """Claimed as used by the member in the month."""
    own_use_wh: Count
    """Of these, energy that its own meters had minted."""
    unsold_wh: Count
    """What the member's own meters minted, in this month or before, and the member still held at the month's end."""
    fee_micro: Count
    """For what it bought, owed to the consortium."""
    rewards: RewardShare
    consortium_micro: SignedInteger
    """Fee and share of the rewards less rewards earned, rounded as a bill: above 0 the member pays, below it gets."""
    measured: Count
    substituted: Count
    missing: Count
    """Readings behind what it produced in the month."""
