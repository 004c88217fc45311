"""What sees all nodes at once and says so when a rule is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

from minervas_core.chain import BlockOutcome, Chain
from minervas_core.finality.pool import contradiction
from minervas_core.finality.votes import Vote


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

        self.stormy = False
        """Whether it is the time of upheavals."""
        self.final: dict[int, str] = {}
        """Hash by height of every block that any honest node ever held for final."""
        self.liars: set[str] = set()
        """Members that do not follow the rules."""
        self._retired_wh: dict[str, int] = {}
        """Energy that the chain up to a block has retired, by the block's hash."""
        self._votes: dict[str, list[Vote]] = {}
        """What each honest member ever signed."""
        self._final_height: dict[str, int] = {}
        """How far each honest node's final block was."""

    @property
    def final_height(self) -> int:
        """Height of the highest block that an honest node holds for final."""
        return max(self.final, default=0)

    def saw_vote(self, address: str, vote: Vote, *, honest: bool) -> None:
        """A node has cast a vote."""
        self.counts["votes"] += 1
        if not honest:
            return
        earlier = self._votes.setdefault(vote.body.voter, [])
        kinds = [kind for each in earlier if (kind := contradiction(each, vote)) is not None]
        require(not kinds, "an honest member contradicts itself", node=address, kinds=kinds, vote=vote.body)
        earlier.append(vote)

    def saw_equivocation(self, address: str, voter: str, kind: str) -> None:
        """A node has found out that a voter contradicts itself."""
        self.counts[f"equivocation_{kind}"] += 1
        require(voter in self.liars, "an honest member contradicts itself", voter=voter, kind=kind, seen_by=address)

    def forget(self, address: str, member: str, known: Container[bytes]) -> None:
        """A node was set back to an old backup.

        Args:
            address: of the node.
            member: whose it is.
            known: votes that others have. One that never reached anybody is as if it had never been signed.
        """
        self._final_height.pop(address, None)
        self._votes[member] = [vote for vote in self._votes.get(member, []) if vote.raw in known]

    def saw_final(self, address: str, chain: Chain, outcome: BlockOutcome) -> None:
        """Check that nothing final was undone, and that no two honest nodes hold conflicting blocks for final."""
        before = self._final_height.get(address, 0)
        for block in outcome.change.disconnected if outcome.change else ():
            require(block.header.height > before, "a final block is undone", node=address, height=block.header.height)
        if chain.final.height <= before:
            return
        self._final_height[address] = chain.final.height
        for node in chain.final.blocks():
            if node.height <= before:
                break
            known = self.final.setdefault(node.height, node.hash)
            require(known == node.hash, "conflicting final blocks", node=address, height=node.height)

    def saw_outcome(self, address: str, chain: Chain, outcome: BlockOutcome, *, honest: bool) -> None:
        """A node has taken in a block."""
        if honest:
            self.saw_final(address, chain, outcome)
        self.counts[f"block_{outcome.status}"] += 1
        if outcome.change is None:
            return
        depth = len(outcome.change.disconnected)
        if depth:
            self.counts["reorganisations"] += 1
            self.deepest = max(self.deepest, depth)
        for joined in outcome.change.connected:
            before_wh = self._retired_wh.get(joined.block.header.prev, 0)
            self._retired_wh[joined.block.hash] = before_wh + sum(lot.energy_wh for lot in joined.retirements)
        check_energy(chain, self._retired_wh.get(chain.tip.hash, 0), address)


def check_energy(chain: Chain, retired_wh: int, address: str) -> None:
    """Energy in lots and retired is what the registers have minted: none appears, none vanishes."""
    market = chain.state.market
    minted_wh = sum(register.minted_wh for _, register in market.registers.items())
    unspent_wh = sum(lot.energy_wh for _, lot in market.lots.items())
    found_wh = unspent_wh + retired_wh
    require(minted_wh == found_wh, "energy appears or vanishes", node=address, minted=minted_wh, found=found_wh)
