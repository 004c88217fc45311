"""The bus in memory: messages may be lost, doubled, delayed, reordered, or cut off by a partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.sim.messages import Message
from tests.sim.timeline import Event, Timeline

Receive = Callable[[str, Message], None]
"""Takes a sender's address and a message."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How badly the bus behaves. Chances in per mille, times in ms."""

    lost: int = 0
    doubled: int = 0
    delay_ms: int = 20
    """Mean delay; delays are exponential, so that messages overtake each other."""
    stray: int = 0
    """Chance of a message to come very late."""
    stray_ms: int = 20_000


GOOD = Quality()


class Bus:
    """Delivers messages between addresses; all chance comes from `random`."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.quality = GOOD
        self.sides: dict[str, int] = {}
        """Side of the partition by address; side 0 if not named. Only addresses of one side hear each other."""
        self.everywhere: set[str] = set()
        """Addresses that no partition cuts off."""
        self.outbound_ms: dict[str, int] = {}
        """What an address withholds for so long, on purpose."""
        self.sent = 0
        self.lost = 0
        self._timeline = timeline
        self._random = random
        self._receivers: dict[str, Receive] = {}

    @property
    def addresses(self) -> list[str]:
        """Who is attached, in order of attachment."""
        return list(self._receivers)

    def attach(self, address: str, receive: Receive) -> None:
        """Deliver messages to an address from now on."""
        self._receivers[address] = receive

    def detach(self, address: str) -> None:
        """Deliver nothing more: a process that is down, or that lost its right to connect."""
        self._receivers.pop(address, None)

    def are_joined(self, one: str, other: str) -> bool:
        """Whether two addresses hear each other now."""
        if one in self.everywhere or other in self.everywhere:
            return True
        return self.sides.get(one, 0) == self.sides.get(other, 0)

    def broadcast(self, source: str, message: Message) -> None:
        """Send to everybody else; each copy has its own fate."""
        for address in self._receivers:
            if address != source:
                self.send(source, address, message)

    def send(self, source: str, to: str, message: Message) -> None:
        """Send to one address."""
        quality, random = self.quality, self._random
        self.sent += 1
        if not self.are_joined(source, to) or random.randrange(1_000) < quality.lost:
            self.lost += 1
            return
        copies = 2 if random.randrange(1_000) < quality.doubled else 1
        for _ in range(copies):
            delay_ms = 1 + int(random.expovariate(1 / quality.delay_ms)) + self.outbound_ms.get(source, 0)
            if random.randrange(1_000) < quality.stray:
                delay_ms += random.randrange(quality.stray_ms)
            event = Event(lambda: self._deliver(source, to, message), "deliver", to, source, message)
            self._timeline.after(delay_ms, event)

    def _deliver(self, source: str, to: str, message: Message) -> None:
        receive = self._receivers.get(to)
        if receive is not None:
            receive(source, message)
