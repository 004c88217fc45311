"""Members that lie: twins that vote on both sides of a partition, and echoes that support every link anybody votes for.

A twin is the member's node a second time, with the same keys and a disk of its own (after "Twins", Bano et al. 2020):
neither knows the other's votes, so together they equivocate and surround just where that does most harm. An echo hears
every vote through all partitions and signs the same link for its member, at once or much later.
"""

from __future__ import annotations

import msgspec

from minervas_core.finality.votes import Vote, sign_vote
from tests.sim.messages import BlockMessage, BodiesReply, Message, VoteMessage
from tests.sim.surroundings import INTERVAL_MS, Surroundings
from tests.support.builders import signing_key

TWIN = "~"
ECHO = "!"


class Echo:
    """Signs every link that it hears of.

    Args:
        member: the liar whose vote key it has.
        world: its surroundings.
    """

    def __init__(self, member: str, world: Surroundings) -> None:
        self.address = member + ECHO
        self._member = member
        self._world = world
        self._key = signing_key(f"{member}.ledger")
        self._signed: set[bytes] = set()
        world.bus.everywhere.add(self.address)
        world.bus.attach(self.address, self._receive)

    def _receive(self, source: str, message: Message) -> None:
        match message:
            case VoteMessage(vote):
                self._echo(vote)
            case BlockMessage(block):
                for vote in block.votes:
                    self._echo(vote)
            case BodiesReply(blocks):
                for vote in [vote for block in blocks for vote in block.votes]:
                    self._echo(vote)

    def _echo(self, heard: Vote) -> None:
        """Vote for the same link, perhaps long after."""
        if heard.body.voter in self._world.watch.liars:
            return
        vote = sign_vote(msgspec.structs.replace(heard.body, voter=self._member), self._key)
        if vote.raw in self._signed:
            return
        self._signed.add(vote.raw)
        self._world.watch.counts["lies"] += 1
        delay_ms = self._world.random.choice([0, 0, INTERVAL_MS, 30 * INTERVAL_MS])
        message = VoteMessage(vote)
        self._world.after(delay_ms, "lie", self.address, lambda: self._world.bus.broadcast(self.address, message))
