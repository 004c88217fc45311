"""Paths of the API about standing rules."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import Depends, FastAPI

from minervas_peer.api import models
from minervas_peer.api import rule_models as rules
from minervas_peer.api.access_token import TokenCheck
from minervas_peer.api.errors import READ_ERRORS
from minervas_peer.standing_rules.keeper import RulesKeeper
from minervas_peer.standing_rules.records import SIDES, BuyRule, SellRule, Side, rule_of

_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": models.Error, "description": "There is no such standing rule."},
}
_READS = {**READ_ERRORS, **_MISSING}
_WRITES: dict[int | str, dict[str, Any]] = {
    **READ_ERRORS,
    401: {"model": models.Error, "description": "The token of the peer's data directory is missing or wrong."},
}


def add_rule_paths(app: FastAPI, keeper: RulesKeeper, token: str) -> None:
    """Add the paths to an application; changing a rule needs `token`."""
    _add_readable(app, keeper)
    _add_writable(app, keeper, TokenCheck(token))


def _add_readable(app: FastAPI, keeper: RulesKeeper) -> None:
    @app.get("/v1/rules", responses=READ_ERRORS, summary="Standing rules, and what they did")
    async def all_rules() -> rules.Rules:
        return rules.Rules(rules=[_shown(keeper, side) for side in SIDES if rule_of(keeper.state, side) is not None])

    @app.get("/v1/rules/{rule}", responses=_READS, summary="One standing rule")
    async def one_rule(rule: rules.RuleName) -> rules.Rule:
        return _shown(keeper, rule)


def _add_writable(app: FastAPI, keeper: RulesKeeper, check: TokenCheck) -> None:
    guard = [Depends(check)]

    @app.put("/v1/rules/sell", responses=_WRITES, dependencies=guard, summary="Sell in every slot")
    async def sell(wanted: rules.NewSellRule) -> rules.Rule:
        rule = SellRule(price_micro=wanted.price_micro, keep_wh=wanted.keep_wh, paused=wanted.paused)
        keeper.set_rule("sell", rule)
        return _shown(keeper, "sell")

    @app.put("/v1/rules/buy", responses=_WRITES, dependencies=guard, summary="Buy in every slot")
    async def buy(wanted: rules.NewBuyRule) -> rules.Rule:
        rule = BuyRule(price_micro=wanted.price_micro, energy_wh=wanted.energy_wh, paused=wanted.paused)
        keeper.set_rule("buy", rule)
        return _shown(keeper, "buy")

    writes = {**_WRITES, **_MISSING}

    @app.put("/v1/rules/{rule}/pause", responses=writes, dependencies=guard, summary="Pause a rule, or go on")
    async def pause(rule: rules.RuleName, wanted: rules.NewPause) -> rules.Rule:
        keeper.pause(rule, paused=wanted.paused, cancel_open=wanted.cancel_open)
        return _shown(keeper, rule)

    @app.delete("/v1/rules/{rule}", responses=writes, dependencies=guard, summary="Remove a rule; shows what it was")
    async def remove(*, rule: rules.RuleName, cancel_open: bool = False) -> rules.Rule:
        shown = _shown(keeper, rule)
        keeper.remove(rule, cancel_open=cancel_open)
        return shown


def _shown(keeper: RulesKeeper, side: Side) -> rules.Rule:
    """A rule as the API shows it.

    Raises:
        PeerFault: ``not_found``.
    """
    rule = keeper.find(side)
    decision, error = keeper.decisions.get(side), keeper.errors.get(side)
    return rules.Rule(
        rule=side,
        price_micro=rule.price_micro,
        keep_wh=rule.keep_wh if isinstance(rule, SellRule) else None,
        energy_wh=rule.energy_wh if isinstance(rule, BuyRule) else None,
        paused=rule.paused,
        orders=rule.tally.orders,
        ordered_wh=rule.tally.energy_wh,
        cancellations=rule.tally.cancellations,
        refusals=rule.tally.refusals,
        placed=[
            rules.RuleOrder(
                id=each.id,
                energy_wh=each.energy_wh,
                valid_until_ms=each.valid_until_ms,
                answered=not each.raw,
                cancelling=each.cancel,
            )
            for each in keeper.state.placed
            if each.side == side
        ],
        last_decision=rules.Decision(**asdict(decision)) if decision else None,
        last_error=rules.RuleError(**asdict(error)) if error else None,
    )
