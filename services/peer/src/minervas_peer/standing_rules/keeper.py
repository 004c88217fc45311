"""The standing rules of one peer: set by people, read by the worker, and what they did last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from minervas_core.errors import Code, MinervasError, PeerFault
from minervas_peer.standing_rules.decision import Situation, still_matters
from minervas_peer.standing_rules.records import (
    SIDES,
    PlacedOrder,
    Rule,
    RulesState,
    Side,
    Tally,
    rule_of,
    with_rule,
)
from minervas_peer.standing_rules.store import RulesStore


@dataclass(frozen=True, slots=True)
class LastDecision:
    """What a rule decided at a tip."""

    height: int
    at_ms: int
    outcome: str
    order: str = ""
    """The order that it placed or sent again, or empty."""


@dataclass(frozen=True, slots=True)
class LastError:
    """Why a rule could not do what it wanted."""

    at_ms: int
    code: str
    message: str


class RulesKeeper:
    """Changes the state, each change on disk first. Every method that changes raises ``bad_key_file`` if it cannot."""

    def __init__(self, store: RulesStore) -> None:
        self._store = store
        self._on_change: Callable[[], None] = lambda: None
        self.decisions: dict[Side, LastDecision] = {}
        """Since the peer started."""
        self.errors: dict[Side, LastError] = {}
        """Since the peer started, or the rule was set."""

    def on_change(self, call: Callable[[], None]) -> None:
        """Have something called when people changed a rule."""
        self._on_change = call

    @property
    def state(self) -> RulesState:
        """All rules, and what they have placed."""
        return self._store.state

    def find(self, side: Side) -> Rule:
        """A rule.

        Raises:
            PeerFault: ``not_found``.
        """
        rule = rule_of(self.state, side)
        if rule is None:
            raise PeerFault(Code.NOT_FOUND, "There is no such standing rule", rule=side)
        return rule

    # by people

    def set_rule(self, side: Side, rule: Rule) -> None:
        """Make a rule or replace it; what it has done so far is still counted. Open orders stay as they are."""
        before = rule_of(self.state, side)
        if before is not None:
            rule = replace(rule, tally=before.tally)
        self._change(side, rule, cancel_open=False)

    def pause(self, side: Side, *, paused: bool, cancel_open: bool) -> None:
        """Stop placing orders, or go on.

        Args:
            side: which rule.
            paused: whether it stops.
            cancel_open: whether its open orders are taken back; else they stay until their slot ends.

        Raises:
            PeerFault: ``not_found``.
        """
        rule = replace(self.find(side), paused=paused)
        self._change(side, rule, cancel_open=cancel_open)

    def remove(self, side: Side, *, cancel_open: bool) -> None:
        """Forget a rule, not its orders.

        Raises:
            PeerFault: ``not_found``.
        """
        self.find(side)
        self._change(side, None, cancel_open=cancel_open)

    def _change(self, side: Side, rule: Rule | None, *, cancel_open: bool) -> None:
        """Put a rule. An unanswered order under other terms is not sent again; it still counts: it may have come."""
        before = rule_of(self.state, side)
        same_terms = before is not None and rule is not None and _terms(before) == _terms(rule)
        placed = [
            each
            if each.side != side
            else replace(each, raw=each.raw if same_terms else "", cancel=each.cancel or cancel_open)
            for each in self.state.placed
        ]
        self._store.put(replace(with_rule(self.state, side, rule), placed=placed))
        self.errors.pop(side, None)
        if rule is None:
            self.decisions.pop(side, None)
        self._on_change()

    # by the worker

    @property
    def has_work(self) -> bool:
        """Whether any rule may want something of the market."""
        rules = [rule_of(self.state, side) for side in SIDES]
        return any(rule is not None and not rule.paused for rule in rules) or any(
            each.cancel for each in self.state.placed
        )

    def prune(self, now: Situation) -> None:
        """Forget orders that can have no effect any more."""
        self._put_placed([each for each in self.state.placed if still_matters(each, now)])

    def add_placed(self, order: PlacedOrder) -> None:
        """Remember an order, before it is sent."""
        self._put_placed([*self.state.placed, order])

    def drop_placed(self, order_id: str) -> None:
        """Forget an order that the ledger certainly does not have."""
        self._put_placed([each for each in self.state.placed if each.id != order_id])

    def answered(self, order_id: str) -> None:
        """The ledger has spoken about an order: it is not sent again."""
        self._put_placed([replace(each, raw="") if each.id == order_id else each for each in self.state.placed])

    def cancelling(self, order_id: str, height: int) -> None:
        """An order is being taken back at this tip."""
        self._put_placed(
            [replace(each, cancel_height=height) if each.id == order_id else each for each in self.state.placed]
        )

    def count(
        self, side: Side, *, orders: int = 0, energy_wh: int = 0, cancellations: int = 0, refusals: int = 0
    ) -> None:
        """Add to what a rule has done, if it is still there."""
        rule = rule_of(self.state, side)
        if rule is None:
            return
        old = rule.tally
        tally = Tally(
            orders=old.orders + orders,
            energy_wh=old.energy_wh + energy_wh,
            cancellations=old.cancellations + cancellations,
            refusals=old.refusals + refusals,
        )
        self._store.put(with_rule(self.state, side, replace(rule, tally=tally)))

    def failed(self, side: Side, error: MinervasError, at_ms: int) -> None:
        """Remember why a rule could not do what it wanted."""
        self.errors[side] = LastError(at_ms, error.code, error.message)

    def _put_placed(self, placed: list[PlacedOrder]) -> None:
        self._store.put(replace(self.state, placed=placed))


def _terms(rule: Rule) -> Rule:
    """A rule without what may change while an unanswered order stays good."""
    return replace(rule, paused=False, tally=Tally())
