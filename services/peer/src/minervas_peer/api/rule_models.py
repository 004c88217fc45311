"""Shapes of what the API says about standing rules. Energy in Wh, prices in millionths of the currency per Wh."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from minervas_core.encoding import MAX_INTEGER

RuleName = Literal["sell", "buy"]


class _NewRule(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    price_micro: int = Field(ge=0, le=MAX_INTEGER, description="Millionths of the currency per Wh.")
    paused: bool = Field(default=False, description="Places nothing for the time being.")


class NewSellRule(_NewRule):
    """Offer all own free lots in every slot, at this price or above."""

    keep_wh: int = Field(default=0, ge=0, le=MAX_INTEGER, description="So much of the free energy is never offered.")


class NewBuyRule(_NewRule):
    """Bid once in every slot, at this price or below."""

    energy_wh: int = Field(ge=1, le=MAX_INTEGER, description="So much in a slot at most.")

    @model_validator(mode="after")
    def _fits(self) -> NewBuyRule:
        if self.energy_wh * self.price_micro > MAX_INTEGER:
            raise ValueError("energy times price reaches 2^53")
        return self


class NewPause(BaseModel):
    """Whether a rule places orders."""

    model_config = ConfigDict(extra="forbid", strict=True)

    paused: bool
    cancel_open: bool = Field(default=False, description="Take its open orders back; else they end with their slot.")


class Decision(BaseModel):
    """What a rule decided at a tip."""

    height: int
    at_ms: int
    outcome: str = Field(description="`place`, or why nothing was placed.")
    order: str = Field(description="The order that it placed or sent again, or empty.")


class RuleError(BaseModel):
    """Why a rule could not do what it wanted."""

    at_ms: int
    code: str
    message: str


class RuleOrder(BaseModel):
    """An order of a rule that may still have an effect, or lately had."""

    id: str
    energy_wh: int
    valid_until_ms: int = Field(description="End of its slot.")
    answered: bool = Field(description="Whether our ledger has answered; else the same order is sent again.")
    cancelling: bool


class Rule(BaseModel):
    """A standing rule, and what it did."""

    rule: RuleName
    price_micro: int
    keep_wh: int | None = Field(default=None, description="Of the rule that sells.")
    energy_wh: int | None = Field(default=None, description="Per slot, of the rule that buys.")
    paused: bool
    orders: int = Field(description="Placed since the rule was made.")
    ordered_wh: int = Field(description="Their energy; what was not sold is counted again in the next slot.")
    cancellations: int
    refusals: int
    placed: list[RuleOrder]
    last_decision: Decision | None = Field(default=None, description="Since the peer started.")
    last_error: RuleError | None = Field(default=None, description="Since the peer started, or the rule was set.")


class Rules(BaseModel):
    """All standing rules."""

    rules: list[Rule]
