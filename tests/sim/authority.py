"""The authority: says who is a member, and says it again until it stands in the chain that it sees."""

from __future__ import annotations

from minervas_core.chain import Chain
from minervas_core.state import ChainState
from minervas_core.transactions import Transaction
from tests.sim.messages import Message, TransactionMessage
from tests.sim.node import Node
from tests.sim.surroundings import INTERVAL_MS, Surroundings
from tests.support.builders import admit, register_meter, revoke
from tests.support.membership import resume, suspend

ADDRESS = "authority"
MOST_AHEAD = 20
"""Blocks within which its transactions are meant to be carried; then it signs new ones."""


class Authority:
    """Admissions, meters and revocations, in the order in which they were decided.

    Args:
        world: its surroundings.
        operator: the node whose chain it looks at.
    """

    def __init__(self, world: Surroundings, operator: Node) -> None:
        self._world = world
        self._operator = operator
        self._decided: list[tuple[str, str]] = []
        """Kind of change and member."""
        self._signed: dict[tuple[str, str], Transaction] = {}
        world.bus.attach(ADDRESS, self._receive)
        self._act()

    @property
    def _chain(self) -> Chain:
        return self._operator.chain

    def admit(self, member: str) -> None:
        """Decide to admit a member and to register its meter."""
        self._decided += [("admit", member), ("meter", member)]

    def revoke(self, member: str) -> None:
        """Decide to end a membership."""
        self._decided.append(("revoke", member))

    def suspend(self, member: str) -> None:
        """Decide to take a member's vote."""
        self._decide_anew(("resume", member), ("suspend", member))

    def resume(self, member: str) -> None:
        """Decide to give it back."""
        self._decide_anew(("suspend", member), ("resume", member))

    def _decide_anew(self, before: tuple[str, str], now: tuple[str, str]) -> None:
        """A decision takes the place of the contrary one."""
        self._decided = [each for each in self._decided if each not in (before, now)] + [now]

    def is_admitted(self, member: str) -> bool:
        """Whether a member was admitted and not revoked, by decision."""
        return ("admit", member) in self._decided and ("revoke", member) not in self._decided

    def all_stand(self, chain: Chain) -> bool:
        """Whether a chain has everything that was decided."""
        return all(_stands(change, chain.state) for change in self._decided)

    def _receive(self, source: str, message: Message) -> None:
        """It only looks at its operator's node."""

    def _act(self) -> None:
        for change in self._decided:
            if not _stands(change, self._chain.state):
                self._world.bus.broadcast(ADDRESS, TransactionMessage(self._transaction(change)))
        self._world.after(self._world.wait_ms(2 * INTERVAL_MS), "authority", ADDRESS, self._act)

    def _transaction(self, change: tuple[str, str]) -> Transaction:
        """The change signed so that the next blocks can carry it."""
        kind, member = change
        height = self._chain.tip.height
        signed = self._signed.get(change)
        if signed is None or not height < signed.body.expires_height <= height + 3 * MOST_AHEAD:
            signed = _sign(kind, member, height + MOST_AHEAD, f"{kind} {self._world.random.getrandbits(64)}")
            self._signed[change] = signed
        return signed


def _sign(kind: str, member: str, expires: int, salt: str) -> Transaction:
    if kind == "admit":
        return admit(member, expires=expires, salt=salt)
    if kind == "meter":
        return register_meter(member, expires=expires, salt=salt)
    if kind == "suspend":
        return suspend(member, expires=expires, salt=salt)
    if kind == "resume":
        return resume(member, expires=expires, salt=salt)
    return revoke(member, expires=expires, salt=salt)


def _stands(change: tuple[str, str], state: ChainState) -> bool:
    """Whether a change of the roster has been made in a state, or is void by now."""
    kind, member = change
    record = state.roster.get(member)
    if kind == "admit":
        return record is not None
    if record is None or record.status == "revoked":
        return record is not None
    if kind in ("suspend", "resume"):
        return (record.suspended_height > 0) == (kind == "suspend")
    return kind == "meter" and f"{member}/roof" in state.market.meters
