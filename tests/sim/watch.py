"""What sees all nodes at once and says so when a rule is broken."""

from __future__ import annotations

from collections import Counter

from minervas_core.chain import BlockOutcome, Chain


class Violation(AssertionError):
    """A property that must always hold does not."""


def require(condition: bool, message: str, **values: object) -> None:
    """Raise a `Violation` unless the condition holds."""
    if not condition:
        raise Violation(f"{message}: {values}" if values else message)


class Watch:
    """Counts what happens and checks what can be checked at every step."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.deepest = 0
        """Most blocks that a reorganisation took back."""

    def saw_outcome(self, address: str, chain: Chain, outcome: BlockOutcome) -> None:
        """A node has taken in a block."""
        self.counts[f"block_{outcome.status}"] += 1
        if outcome.change is None:
            return
        depth = len(outcome.change.disconnected)
        if depth:
            self.counts["reorganisations"] += 1
            self.deepest = max(self.deepest, depth)
        check_energy(chain, address)


def check_energy(chain: Chain, address: str) -> None:
    """Energy in lots is what the registers have minted: none appears, none vanishes."""
    market = chain.state.market
    minted_wh = sum(register.minted_wh for _, register in market.registers.items())
    unspent_wh = sum(lot.energy_wh for _, lot in market.lots.items())
    require(minted_wh == unspent_wh, "energy appears or vanishes", node=address, minted=minted_wh, unspent=unspent_wh)
