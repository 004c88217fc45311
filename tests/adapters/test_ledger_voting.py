"""The ledger as a voter: nothing is sent before it is on disk, and a restored database keeps silent until it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from minervas_core.errors import Code, MinervasError
from minervas_core.finality.voter import Guard
from minervas_core.finality.votes import Checkpoint, Vote, decode_vote
from minervas_core.genesis import Parameters
from minervas_core.messages import ChainTip, GetVotes, Votes
from minervas_core.node_vote_messages import FetchVotes, FinalityReport, GetFinality, SubmitVotes, VoteResults
from minervas_core.tree import HeaderNode
from minervas_devnet.postgres import PostgresServer
from minervas_ledger import voting
from minervas_ledger.chain_open import APPLICATION
from minervas_ledger.node_votes import NodeVotes
from minervas_ledger.settings import DatabaseSettings
from minervas_runtime.service import ServiceContext
from tests.support.ledger import MEMBER, LedgerNode, RemoteMember
from tests.support.voting import INTERVAL, VOTING, VotingChain, make_vote
from tests.support.wait import HANG_S, wait_until_async

FOUR = ("m0", "m1", "m2", "m3")
OTHERS = FOUR[1:]
PARAMETERS = msgspec.structs.replace(VOTING, founding_voters=len(FOUR))


class VotingNode(LedgerNode):
    """A ledger among members that all answer, and a chain that makes its blocks."""

    def __init__(self, directory: Path, database: DatabaseSettings, parameters: Parameters = PARAMETERS) -> None:
        self.local = VotingChain(FOUR, parameters=parameters)
        super().__init__(directory, database, self.local.genesis)

    def others_answer(self, *known: Vote, members: Sequence[str] = OTHERS) -> None:
        """Make other members reachable, who know these votes."""
        for member in members:
            self.peer.remotes[member] = RemoteMember(self.local, known_votes=known)

    async def follow(self) -> None:
        """Hand over what the chain has more than the ledger."""
        for node in list(self.local.tip.blocks())[::-1]:
            if node.height > (self.peer.tips[-1].tip.height if self.peer.tips else 0):
                await self.peer.deliver(self.local.chain._stored(node))
        await self.until_tip(self.local.tip.hash)

    async def until_waiting(self, reason: str) -> None:
        """Wait until the ledger gives this reason for not voting."""

        async def says_so() -> bool:
            return reason in (await self.report()).voting

        await wait_until_async(says_so, describe=f"the ledger to say {reason}")

    async def grow_to(self, height: int) -> None:
        self.local.grow_to(height)
        await self.follow()

    async def restart(self, database: DatabaseSettings | None = None) -> None:
        """Stop the ledger and start it again, perhaps with another database; its peer stays."""
        await self.stop_ledger()
        self.database = database or self.database
        self.context = ServiceContext("ledger", MEMBER, self.settings_for(self.database), self.clock)
        self.peer.tips.clear()
        await self.start_ledger()

    async def report(self) -> FinalityReport:
        return await self.peer.link.request("ledger", "finality", GetFinality(), FinalityReport, 10.0)

    async def submit_votes(self, *votes: Vote, origin: str = "m1") -> VoteResults:
        body = SubmitVotes(votes=[msgspec.Raw(vote.raw) for vote in votes], origin=origin)
        return await self.peer.link.request("ledger", "vote", body, VoteResults, 10.0)

    async def until_voting(self) -> None:
        """Wait until the ledger knows its own past."""

        async def is_voting() -> bool:
            return (await self.report()).voting == ""

        await wait_until_async(is_voting, describe="the ledger to vote")

    async def until_voted(self, target: int) -> Vote:
        """Wait until the vote for a height was announced."""
        await wait_until_async(
            lambda: any(vote.body.target.height == target for vote in self.peer.votes),
            describe=lambda: f"votes: {[vote.body.target.height for vote in self.peer.votes]}",
        )
        return next(vote for vote in self.peer.votes if vote.body.target.height == target)


@pytest_asyncio.fixture
async def node(ledger_database: DatabaseSettings, tmp_path: Path) -> AsyncIterator[VotingNode]:
    """A ledger with three blocks, whose other members are away."""
    made = VotingNode(tmp_path, ledger_database)
    await made.start()
    await made.grow_to(3)
    yield made
    await made.stop()


# before it votes


async def test_nothing_is_voted_until_two_thirds_of_the_others_told_our_own_votes(node: VotingNode) -> None:
    node.others_answer(members=["m1"])
    await node.grow_to(4)
    remote = node.peer.remotes["m1"]
    await wait_until_async(lambda: "votes" in remote.asked)
    failed = asyncio.Event()

    async def refuse(body: FetchVotes, service: str) -> Votes:
        if body.member != "m1":
            counted.append(body.member)
        if len(counted) >= 6:
            failed.set()
        return await node.peer._on_fetch_votes(body, service)

    counted: list[str] = []
    node.peer.link.on("fetch_votes", FetchVotes, refuse)
    await asyncio.wait_for(failed.wait(), HANG_S)  # three more rounds without an answer
    assert (await node.report()).voting == voting.ASKING
    assert node.peer.votes == []
    node.others_answer()
    vote = await node.until_voted(3)
    assert (await node.report()).voting == ""
    assert vote.body.target.hash == node.local.checkpoint(3).hash


async def test_who_does_not_answer_is_waited_for_only_so_long(
    node: VotingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voting, "PATIENCE_MS", 1_000)
    node.others_answer(members=OTHERS[:2])
    await node.grow_to(4)
    await node.until_voted(3)


async def test_ledger_that_is_behind_does_not_vote(node: VotingNode) -> None:
    node.others_answer()
    claim = ChainTip(height=900, hash="ab" * 32, work="f" * 12)
    silent = RemoteMember(node.local, silent="headers")
    await node.peer.meet("m3", silent, tip=claim)
    await node.grow_to(4)
    await wait_until_async(lambda: all("votes" in node.peer.remotes[each].asked for each in OTHERS))
    assert (await node.report()).voting == voting.ASKING
    assert node.peer.votes == []


@pytest.mark.parametrize("founding_voters", [1, len(FOUR)])
async def test_lost_database_looks_like_a_new_member_and_still_does_not_vote_before_the_chain_is_here(
    ledger_database: DatabaseSettings, tmp_path: Path, founding_voters: int
) -> None:
    parameters = msgspec.structs.replace(PARAMETERS, founding_voters=founding_voters)
    node = VotingNode(tmp_path, ledger_database, parameters)
    node.local.grow_to(4)
    (signed_once,) = node.local.votes(0, 3, [MEMBER])
    node.others_answer(signed_once)
    await node.start()
    try:
        await node.until_waiting("with 0 members")
        await node.follow()
        await node.until_voting()
        await node.grow_to(8)
        assert (await node.until_voted(6)).body.source.height == 0
        assert [vote for vote in node.peer.votes if vote.body.target.height == 3 and vote != signed_once] == []
    finally:
        await node.stop()


# voting


async def test_vote_is_on_disk_before_it_is_sent(node: VotingNode, postgres_server: PostgresServer) -> None:
    """While the table of votes is locked the vote cannot be written; so it must not be heard of either."""
    node.others_answer()
    await node.until_voting()
    with psycopg.connect(postgres_server.superuser_conninfo(node.database.name)) as superuser:
        superuser.execute("LOCK TABLE votes IN EXCLUSIVE MODE")
        block = node.local.add()
        assert (await node.peer.deliver(block)).status == "connected"

        def somebody_waits() -> bool:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'votes'::regclass"
            return superuser.execute(query).fetchone() != (0,)

        await wait_until_async(somebody_waits, describe="the ledger to write its vote")
        assert node.peer.votes == []
        superuser.rollback()
        vote = await node.until_voted(3)
        stored = superuser.execute("SELECT raw FROM votes WHERE own", binary=True).fetchall()
        assert stored == [(vote.raw,)]


async def test_vote_that_cannot_be_written_is_not_sent_until_it_can(
    node: VotingNode, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    node.others_answer()
    await node.until_voting()
    with psycopg.connect(postgres_server.superuser_conninfo(node.database.name), autocommit=True) as superuser:
        superuser.execute("ALTER TABLE votes ADD CONSTRAINT none CHECK (false) NOT VALID")
        try:
            await node.peer.deliver(node.local.add())
            await wait_until_async(lambda: "chain_dropped" in caplog.messages, describe="the vote that fails")
            assert node.peer.votes == []
        finally:
            superuser.execute("ALTER TABLE votes DROP CONSTRAINT none")
        vote = await node.until_voted(3)
        stored = superuser.execute("SELECT raw FROM votes WHERE own", binary=True).fetchall()
        assert stored == [(vote.raw,)]


async def test_restart_neither_repeats_nor_forgets_a_vote(node: VotingNode) -> None:
    node.others_answer()
    await node.grow_to(4)
    vote = await node.until_voted(3)
    await node.restart()
    await node.until_voting()
    await node.grow_to(8)
    await node.until_voted(6)
    assert {each.raw for each in node.peer.votes if each.body.target.height == 3} == {vote.raw}


async def test_votes_of_all_make_checkpoints_final(node: VotingNode) -> None:
    node.others_answer()
    for target in (3, 6, 9):
        await node.grow_to(target + 1)
        vote = await node.until_voted(target)
        others = node.local.votes(vote.body.source.height, target, OTHERS)
        assert (await node.submit_votes(*others)).accepted == len(others)
        node.local.add([vote, *others])
        await node.follow()
    report = await node.report()
    assert (report.justified.height, report.final.height) == (9, 6)
    assert node.peer.tips[-1].tip.justified_height == 9


# restored from a backup


async def test_ledger_restored_from_an_older_copy_casts_no_vote_again(
    node: VotingNode, postgres_server: PostgresServer
) -> None:
    """The copy knows neither the vote nor block 4. On the chain that it sees first, 3 is another block."""
    node.others_answer()
    await node.until_voting()
    await node.stop_ledger()
    backup = copy_database(postgres_server, node.database)
    await node.restart()
    await node.grow_to(4)
    cast = await node.until_voted(3)
    await node.stop_ledger()
    node.peer.votes.clear()
    node.peer.remotes.clear()

    base: HeaderNode | None = node.local.chain.tree.main_at(2)
    assert base is not None
    await node.restart(backup)
    assert node.peer.tips[-1].tip.height == 3
    other = node.local.add(on=base, start=7_000)
    for block in (other, node.local.add(on=other, start=7_000)):
        await node.peer.deliver(block)
    rival = node.local.add(on=node.local.node(block), start=7_000)
    assert (await node.peer.deliver(rival)).status == "connected"
    assert (await node.report()).voting == voting.ASKING
    assert node.peer.votes == []

    node.others_answer(cast)
    await node.until_voting()
    await node.grow_to(8)
    following = await node.until_voted(6)
    assert {vote.body.target.height for vote in node.peer.votes if vote != cast} == {6}
    assert following.body.source.height >= cast.body.source.height
    assert (await node.report()).equivocations == []


async def test_own_votes_that_cannot_be_stored_yet_bind_also_when_the_database_was_away(
    node: VotingNode, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others know a vote of ours that is far above our tip. Then the chain is opened again."""
    far = Checkpoint(height=INTERVAL * 1_000, hash="ab" * 32)
    node.others_answer(make_vote(MEMBER, node.local.checkpoint(0), far))
    await node.until_voting()
    with psycopg.connect(postgres_server.superuser_conninfo(), autocommit=True) as superuser:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
        superuser.execute(query, (node.database.name, APPLICATION))
        with pytest.raises(MinervasError):
            await node.report()
        await wait_until_async(lambda: "chain_dropped" in caplog.messages, describe="the lost connection")
    guards: list[Guard] = []

    def cast(votes: NodeVotes, sign: object, guard: Guard, now_ms: int) -> None:
        guards.append(guard)

    monkeypatch.setattr(NodeVotes, "cast", cast)
    await wait_until_async(lambda: guards != [], describe="the next vote")
    assert guards[0].target_height == far.height


def copy_database(server: PostgresServer, settings: DatabaseSettings) -> DatabaseSettings:
    """A copy of a database that nobody uses at the moment, as a backup makes it."""
    name = f"{settings.name}_backup"
    with psycopg.connect(server.superuser_conninfo(), autocommit=True) as superuser:
        superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        superuser.execute(copy.format(sql.Identifier(name), sql.Identifier(settings.name)))
    return msgspec.structs.replace(settings, name=name)


# questions


async def test_get_votes_is_answered_and_lies_are_reported(node: VotingNode) -> None:
    await node.grow_to(4)
    votes = node.local.votes(0, 3, OTHERS)
    lie = make_vote("m1", node.local.checkpoint(0), Checkpoint(height=3, hash="ab" * 32))
    results = await node.submit_votes(*votes, lie, make_vote("nobody", *ends_of(votes[0])))
    assert (results.accepted, results.refused) == (4, {Code.VOTE_NOT_VOTER.value: 1})
    question = GetVotes(above_height=0, voter="m1", limit=20)
    answer = await node.peer.link.request("ledger", "get_votes", question, Votes, 10.0)
    assert {bytes(raw) for raw in answer.votes} == {votes[0].raw, lie.raw}
    assert [(each.voter, each.kind) for each in (await node.report()).equivocations] == [("m1", "double")]
    assert decode_vote(bytes(answer.votes[0])).body.voter == "m1"


def ends_of(vote: Vote) -> tuple[Checkpoint, Checkpoint]:
    target = vote.body.target
    return vote.body.source, Checkpoint(height=target.height, hash=target.hash)
