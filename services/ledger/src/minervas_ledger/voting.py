"""Casting our votes, and getting those of others that the bus has lost (design section 5, finality).

A vote is on disk before it is sent. After every start nothing is voted until enough others have been asked for our own
votes: a database restored from a backup does not know what we signed since, and a second vote for the same height would
be a lie.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.finality.voter import Guard
from minervas_core.finality.votes import Vote
from minervas_core.genesis import Genesis
from minervas_core.messages import MAX_VOTES_PER_FRAME, MAX_VOTES_PER_REPLY, GetVotes, Votes
from minervas_core.node_vote_messages import AnnounceVotes, FinalityReport, GetFinality
from minervas_ledger.chain_view import ChainView
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.templates import Sender
from minervas_ledger.vote_keys import VoteKeys
from minervas_runtime.clock import Clock, monotonic_ms

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""Votes are due when the tip changes; in between we look whether some were lost."""
REPEAT_MS = 10_000
"""A vote of ours that no block carries is sent again after this time."""
PULL_MS = 10_000
"""While finality waits for votes, another member is asked for those that it has seen, so often."""
LAG_INTERVALS = 3
"""So many checkpoints without a justified one count as waiting: usually it is one or two."""
ASK_AGAIN_S = 1.0
"""Pause between two rounds of asking for our own votes."""
PATIENCE_MS = 10_000
"""Once two thirds of the others have told our votes, the rest is waited for so long: one of them may know more."""
OWN_VOTES = 20
"""Newest votes of ours that others are asked for: the newest one bounds all."""

ASKING = "asking the other members for votes that this node may have cast before"


class VoteFetcher(Protocol):
    """Asks one member, through our own peer."""

    async def votes(self, member: str, question: GetVotes) -> Votes:
        """Votes that a member's ledger has seen.

        Raises:
            MinervasError: if it does not answer.
        """
        ...


class Voting:
    """Casts votes; `run` is its only task, everything else just wakes it.

    Args:
        member: whose ledger this is.
        genesis: the consortium's genesis.
        keys: the vote keys.
        worker: the chain.
        link: to the peer.
        fetcher: asks other members.
        is_behind: whether some member claims a better chain that we are about to ask for.
        clock: time of day.
    """

    def __init__(
        self,
        *,
        member: str,
        genesis: Genesis,
        keys: VoteKeys,
        worker: ChainWorker,
        link: Sender,
        fetcher: VoteFetcher,
        is_behind: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self.waiting = ASKING
        """Why we do not vote at present; empty if we do."""
        self._member = member
        self._genesis = genesis
        self._keys = keys
        self._worker = worker
        self._link = link
        self._fetcher = fetcher
        self._is_behind = is_behind
        self._clock = clock
        self._guard = Guard()
        self._woken = asyncio.Event()
        self._repeat_at_ms = 0
        self._pull_at_ms = 0
        self._asked = 0

    def chain_changed(self, before: ChainView, after: ChainView) -> None:
        """The chain may have a new tip."""
        if before.tip.hash != after.tip.hash:
            self._woken.set()

    async def report(self, _: GetFinality) -> FinalityReport:
        """How far finality has come."""
        return await self._worker.run(lambda chain: chain.votes.report(self.waiting))

    async def run(self) -> None:
        """Find out what we voted before, then vote, until cancelled."""
        await self._ask_for_own_votes()
        self.waiting = ""
        log.info("voting_begins", extra={"fields": {"above": self._guard.target_height}})
        while True:
            self._woken.clear()
            try:
                await self._cast()
                await self._make_up_for_losses()
            except MinervasError as error:
                log.info("vote_delayed", extra={"fields": {"code": error.code, "reason": str(error)}})
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _cast(self) -> None:
        if self._worker.view.syncing:
            return
        now_ms, guard = self._clock.now_ms(), self._guard

        def cast(chain: NodeChain) -> tuple[Vote | None, Guard]:
            return chain.votes.cast(self._keys.sign, guard, now_ms), chain.votes.guard

        vote, signed = await self._worker.run(cast)
        self._guard = self._guard.joined(signed)
        if vote is not None:
            body = vote.body
            fields = {"source": body.source.height, "target": body.target.height, "hash": body.target.hash}
            log.info("vote_cast", extra={"fields": fields})
            await self._announce([vote])

    async def _announce(self, votes: Sequence[Vote]) -> None:
        self._repeat_at_ms = monotonic_ms() + REPEAT_MS
        raw = [msgspec.Raw(vote.raw) for vote in votes[:MAX_VOTES_PER_FRAME]]
        await self._link.send("peer", "announce_votes", AnnounceVotes(votes=raw))

    async def _make_up_for_losses(self) -> None:
        """Send our votes again that no block carries, and ask for those of others while finality waits."""
        view, now_ms = self._worker.view, monotonic_ms()
        lag = LAG_INTERVALS * self._genesis.parameters.vote_interval
        if now_ms >= self._repeat_at_ms:
            open_votes = await self._worker.run(lambda chain: chain.votes.open_of(self._member))
            if open_votes:
                await self._announce(open_votes)
        if now_ms >= self._pull_at_ms and view.tip.height - view.justified.height > lag:
            self._pull_at_ms = now_ms + PULL_MS
            await self._pull(view)

    async def _pull(self, view: ChainView) -> None:
        """Ask the next member in turn for votes above the last justified checkpoint."""
        others = await self._others()
        if others:
            self._asked += 1
            question = GetVotes(above_height=view.justified.height, limit=MAX_VOTES_PER_REPLY)
            await self._take(others[self._asked % len(others)], question)

    async def _ask_for_own_votes(self) -> None:
        """Ask until enough other members have answered, and we are not behind any.

        Before the chain has enough members to make anything final there is nothing to vote for; and a database that was
        lost looks like that too, until the chain is here again.
        """
        answered: set[str] = set()
        enough_at_ms: int | None = None
        while True:
            try:
                members = await self._worker.run(lambda chain: chain.votes.active_members())
                others = set(members) - {self._member}
                answered |= await self._ask(sorted(others - answered))
            except MinervasError as error:
                log.info("own_votes_not_asked", extra={"fields": {"code": error.code, "reason": str(error)}})
            else:
                self.waiting = self._reason(members)
                is_enough = 3 * len(answered & others) >= 2 * len(others) and self._is_up_to_date(members)
                enough_at_ms = (enough_at_ms or monotonic_ms()) if is_enough else None
                if is_enough and (answered >= others or self._has_been_patient(enough_at_ms)):
                    return
            await asyncio.sleep(ASK_AGAIN_S)

    def _reason(self, members: Sequence[str]) -> str:
        """Why nothing is voted, for people."""
        least = self._genesis.parameters.founding_voters
        if len(members) < least:
            return f"nothing can become final with {len(members)} members: the genesis wants {least} to begin with"
        return ASKING

    def _is_up_to_date(self, members: Sequence[str]) -> bool:
        """Whether the chain has us and enough others, and nobody claims a better one."""
        founded = self._member in members and len(members) >= self._genesis.parameters.founding_voters
        return founded and not self._worker.view.syncing and not self._is_behind()

    def _has_been_patient(self, since_ms: int | None) -> bool:
        return since_ms is not None and monotonic_ms() - since_ms >= PATIENCE_MS

    async def _ask(self, members: Sequence[str]) -> set[str]:
        """Ask members at once for the votes of ours that they know; returns who answered."""
        question = GetVotes(above_height=0, voter=self._member, limit=OWN_VOTES)
        answers = await asyncio.gather(*(self._try(member, question) for member in members))
        return {member for member, did_answer in zip(members, answers, strict=True) if did_answer}

    async def _try(self, member: str, question: GetVotes) -> bool:
        try:
            await self._take(member, question)
        except MinervasError as error:
            log.debug("votes_not_fetched", extra={"fields": {"from_member": member, "reason": str(error)}})
            return False
        return True

    async def _take(self, member: str, question: GetVotes) -> None:
        """Get votes from a member and take them in like any others; ours raise the guard.

        It is kept here too: ours that the state cannot judge yet are not stored, and the chain may be opened again.
        """
        answer = await self._fetcher.votes(member, question)
        raw, now_ms = [bytes(item) for item in answer.votes], self._clock.now_ms()

        def take(chain: NodeChain) -> Guard:
            chain.votes.take(raw, now_ms, origin=member)
            return chain.votes.guard

        if raw:
            self._guard = self._guard.joined(await self._worker.run(take))

    async def _others(self) -> list[str]:
        members = await self._worker.run(lambda chain: chain.votes.active_members())
        return [member for member in members if member != self._member]
