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
        self._answered: set[str] = set()
        """Who has told which of our votes it knows, since our start."""
        self._knows_own_votes = False
        own = Voter(member=node.member, vote_key=self._key.public)
        self.book = VoteBook(node.world.genesis, [own], [decode_vote(raw) for raw in node.disk.votes])

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
        if not self._may_vote():
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

    def candidates(self) -> list[Vote]:
        """What the own next block may carry; a liar leaves out what it likes."""
        votes = self.book.candidates(self._node.chain.state)
        if self._node.honest:
            return votes
        chance = self._node.world.random.choice([0, 50, 100])
        return [vote for vote in votes if self._node.world.random.randrange(100) < chance]

    def took_blocks(self, blocks: Iterable[Block]) -> None:
        """Votes came in blocks."""
        for block in blocks:
            for vote in block.votes:
                self.take(vote)

    def look_after(self) -> None:
        """Vote if that is due; say the newest own vote again, for it may have been lost."""
        node = self._node
        self.book.forget_final(node.chain.final.height)
        if not self._may_vote():
            self._ask()
        self.vote()
        own = self.book.pool.of(node.member)
        if node.up and own and own[-1].body.target.height > node.chain.justified.height:
            node.world.bus.broadcast(node.address, VoteMessage(own[-1]))

    # after a start: the database may come from a backup

    def _may_vote(self) -> bool:
        """Whether enough others have told which of our votes they know, and nobody is ahead of us."""
        if not self._knows_own_votes:
            others, node = self._others(), self._node
            known = self._answered.intersection(others)
            enough = node.chain.tip.height > 0 and 3 * len(known) >= 2 * len(others)
            self._knows_own_votes = enough and not node.sync.is_behind
        return self._knows_own_votes

    def _others(self) -> list[str]:
        node = self._node
        return [each.member for each in node.chain.state.roster.active_members() if each.member != node.member]

    def _ask(self) -> None:
        """Ask those who have not answered yet."""
        for member in self._others():
            if member not in self._answered:
                self._node.world.bus.send(self._node.address, member, VotesRequest(self._node.member))

    def _serve(self, source: str, member: str) -> None:
        """Tell what we know of a member's votes."""
        votes = [vote for vote in map(decode_vote, self._node.disk.votes) if vote.body.voter == member]
        self._node.world.bus.send(self._node.address, source, VotesReply(tuple(votes)))

    def _take_reply(self, source: str, votes: Iterable[Vote]) -> None:
        """Somebody told us of our votes."""
        for vote in votes:
            self.take(vote)
        self._answered.add(source)
