"""A node's votes: cast once, on the disk before they are sent, and never after a restored backup without asking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from minervas_core.blocks import Block
from minervas_core.errors import InvalidVote
from minervas_core.finality.book import VoteBook
from minervas_core.finality.state import Voter
from minervas_core.finality.votes import Vote, decode_vote, sign_vote
from tests.sim.messages import VoteMessage, VotesReply, VotesRequest, VotingMessage
from tests.support.builders import signing_key

if TYPE_CHECKING:
    from tests.sim.node import Node


class VoterPart:
    """What a ledger does about votes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._key = signing_key(f"{node.member}.ledger")
        own = Voter(member=node.member, vote_key=self._key.public)
        self.book = VoteBook(node.world.genesis, own, [decode_vote(raw) for raw in node.disk.votes])

    def receive(self, source: str, message: VotingMessage) -> None:
        """Take a message about votes."""
        match message:
            case VoteMessage(vote):
                self.take(vote)
            case VotesRequest(member):
                self._serve(source, member)
            case VotesReply(votes):
                self._take_reply(source, votes)

    def vote(self) -> None:
        """Cast the vote that is due, if any."""
        node = self._node
        if self._must_ask() or not node.may_act():
            return
        body = self.book.next_vote(node.chain.state)
        if body is None:
            return
        vote = sign_vote(body, self._key)
        node.disk.keep_vote(vote)
        node.world.watch.saw_vote(node.address, vote, honest=node.honest)
        if node.world.watch.stormy and node.world.random.randrange(50) == 0:
            node.stop()  # it dies between storing and sending
            return
        self.book.take(vote, node.chain.state)
        node.world.bus.broadcast(node.address, VoteMessage(vote))

    def take(self, vote: Vote) -> None:
        """A vote came by gossip."""
        node = self._node
        try:
            taken = self.book.take(vote, node.chain.state)
        except InvalidVote as error:
            node.world.watch.counts[f"vote_{error.code}"] += 1
            return
        if taken.is_new:
            node.disk.keep_vote(vote)
        if taken.equivocation is not None:
            node.world.watch.saw_equivocation(node.address, vote.body.voter, taken.equivocation.kind)

    def took_blocks(self, blocks: Iterable[Block]) -> None:
        """Votes came in blocks."""
        for block in blocks:
            for vote in block.votes:
                self.take(vote)

    def look_after(self) -> None:
        """Vote if that is due; say the newest own vote again, for it may have been lost."""
        node = self._node
        self.book.forget_final(node.chain.final.height)
        self._ask()
        self.vote()
        own = self.book.pool.of(node.member)
        if node.up and own and own[-1].body.target.height > node.chain.justified.height:
            node.world.bus.broadcast(node.address, VoteMessage(own[-1]))

    # after a restored backup

    def _must_ask(self) -> bool:
        """Whether the node may have voted since the backup that it was restored from."""
        return bool(self._node.unasked)

    def _ask(self) -> None:
        for address in self._node.unasked:
            self._node.world.bus.send(self._node.address, address, VotesRequest(self._node.member))

    def _serve(self, source: str, member: str) -> None:
        """Tell what we know of a member's votes."""
        votes = [vote for vote in map(decode_vote, self._node.disk.votes) if vote.body.voter == member]
        self._node.world.bus.send(self._node.address, source, VotesReply(tuple(votes)))

    def _take_reply(self, source: str, votes: Iterable[Vote]) -> None:
        """Somebody told us of our votes."""
        for vote in votes:
            self.take(vote)
        self._node.unasked.pop(source, None)
