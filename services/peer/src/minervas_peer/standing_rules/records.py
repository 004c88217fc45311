"""What standing rules say, and what they have placed: the content of ``rules.json``."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from minervas_core.encoding import Count, Hash, Record, TimeMs
from minervas_core.market.records import EnergyWh, PriceMicro

Side = Literal["sell", "buy"]
"""Name of a rule: there is at most one of each."""

SIDES: Final[tuple[Side, ...]] = ("sell", "buy")

FORMAT = 1
"""Version of the file."""

MAX_PLACED = 400
"""Orders that are remembered: those of about two slots, and there is at most one of each rule in a block."""


class Tally(Record, frozen=True, kw_only=True):
    """What a rule has done since it was made."""

    orders: Count = 0
    """Orders that our ledger took."""
    energy_wh: Count = 0
    """Their energy; what did not sell is counted again in the next slot."""
    cancellations: Count = 0
    refusals: Count = 0
    """Orders and cancellations that our ledger refused."""


class SellRule(Record, frozen=True, kw_only=True):
    """Put every own free lot on sale, those that are there and those to come."""

    price_micro: PriceMicro
    """Sell at this price or above."""
    keep_wh: Count = 0
    """So much of the free energy is never offered."""
    paused: bool = False
    tally: Tally = Tally()


class BuyRule(Record, frozen=True, kw_only=True):
    """Bid in every slot."""

    price_micro: PriceMicro
    """Buy at this price or below."""
    energy_wh: EnergyWh
    """So much in a slot at most."""
    paused: bool = False
    tally: Tally = Tally()


Rule = SellRule | BuyRule


class PlacedOrder(Record, frozen=True, kw_only=True):
    """An order of a rule, on disk before it is sent: whatever gets lost, it is never made a second time."""

    id: Hash
    side: Side
    valid_until_ms: TimeMs
    """End of its slot: afterwards it can no longer get into a block."""
    energy_wh: EnergyWh
    lots: Annotated[list[Hash], msgspec.Meta(max_length=100)]
    """Lots of an offer."""
    raw: Annotated[str, msgspec.Meta(max_length=65_536)] = ""
    """The signed transaction as long as our ledger has not answered: the same one is sent again. Then empty."""
    cancel: bool = False
    """Its member wants it back."""
    cancel_height: Count = 0
    """Our tip when that was last sent, or 0."""


class RulesState(Record, frozen=True, kw_only=True):
    """Content of the file."""

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    sell: SellRule | msgspec.UnsetType = msgspec.UNSET
    buy: BuyRule | msgspec.UnsetType = msgspec.UNSET
    placed: Annotated[list[PlacedOrder], msgspec.Meta(max_length=MAX_PLACED)] = msgspec.field(default_factory=list)
    """Orders that may still have an effect, oldest first; they outlive their rule."""


def rule_of(state: RulesState, side: Side) -> Rule | None:
    """The rule of a side, if there is one."""
    rule = state.sell if side == "sell" else state.buy
    return None if isinstance(rule, msgspec.UnsetType) else rule


def with_rule(state: RulesState, side: Side, rule: Rule | None) -> RulesState:
    """The state with another rule of a side, or without one."""
    return msgspec.structs.replace(state, **{side: msgspec.UNSET if rule is None else rule})
