"""A stored chain that carries votes, beside one in memory."""

from __future__ import annotations

from minervas_ledger.settings import DatabaseSettings
from tests.support.ledger import StoredChain
from tests.support.voting import VotingChain

FOUR = ("m0", "m1", "m2", "m3")


class Twins:
    """A stored chain and one in memory that makes its blocks."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.local = VotingChain(FOUR)
        self.stored = StoredChain(settings, self.local.genesis)
        self.follow()

    def follow(self) -> None:
        """Hand over what the chain in memory has more."""
        for node in list(self.local.tip.blocks())[::-1]:
            if not self.stored.now.has_block(node.hash):
                assert self.stored.take(self.local.chain._stored(node)) == ["connected"]

    def grow_to(self, height: int) -> None:
        """Blocks without votes up to a height."""
        self.local.grow_to(height)
        self.follow()

    def justify(self, source: int, target: int, members: tuple[str, ...] = FOUR) -> None:
        """Grow to the target and carry votes for it in the next block."""
        self.local.justify(source, target, members)
        self.follow()
