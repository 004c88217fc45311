"""Votes in PostgreSQL: the guard and the landmarks outlive restarts, lies are kept as proof, the audit sees changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from minervas_core.errors import Code, LocalFault
from minervas_core.finality.voter import Guard
from minervas_core.finality.votes import Checkpoint, Vote, VoteBody, decode_vote, sign_vote
from minervas_core.messages import GetVotes
from minervas_devnet.postgres import PostgresServer
from minervas_ledger import node_votes
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.votes import MAX_PROOFS_PER_VOTER
from tests.support.builders import FAR_FUTURE_MS
from tests.support.ledger import MEMBER, VOTE_KEY, StoredChain, audit, migrated
from tests.support.stored_voting import FOUR, Twins
from tests.support.voting import VotingChain, make_vote

OTHERS = FOUR[1:]


def sign(body: VoteBody, _key: str = "") -> Vote:
    return sign_vote(body, VOTE_KEY)


def cast(stored: StoredChain, guard: Guard | None = None) -> Vote | None:
    return stored.now.votes.cast(sign, guard or Guard(), FAR_FUTURE_MS)


def take(stored: StoredChain, *votes: Vote) -> tuple[int, int, dict[str, int]]:
    results = stored.now.votes.take([vote.raw for vote in votes], FAR_FUTURE_MS, origin="m1")
    return results.accepted, results.known, results.refused


def elsewhere(height: int, fork: str = "ab") -> Checkpoint:
    return Checkpoint(height=height, hash=fork * 32)


@pytest.fixture
def twins(ledger_database: DatabaseSettings) -> Iterator[Twins]:
    made = Twins(ledger_database)
    yield made
    made.stored.now.close()


@pytest.fixture
def reader(ledger_database: DatabaseSettings) -> Iterator[Connection]:
    connection = connect(ledger_database, application="test")
    yield connection
    connection.close()


def stored_votes(reader: Connection) -> list[tuple[object, ...]]:
    return reader.execute("SELECT voter, target_height, own FROM votes ORDER BY target_height, voter, id").fetchall()


# casting


def test_vote_is_on_disk_when_it_has_been_cast(twins: Twins, reader: Connection) -> None:
    twins.grow_to(4)
    vote = cast(twins.stored)
    assert vote is not None
    assert vote.body.target.hash == twins.local.checkpoint(3).hash
    assert reader.execute("SELECT raw, own FROM votes", binary=True).fetchall() == [(vote.raw, True)]
    assert cast(twins.stored) is None


def test_guard_outlives_a_restart(twins: Twins) -> None:
    twins.grow_to(4)
    assert cast(twins.stored) is not None
    twins.stored.reopen()
    assert cast(twins.stored) is None
    twins.grow_to(8)
    following = cast(twins.stored)
    assert following is not None
    assert following.body.target.height == 6


def test_no_second_vote_for_a_height_on_another_branch_after_a_restart(twins: Twins) -> None:
    local = twins.local
    twins.grow_to(4)
    assert cast(twins.stored) is not None
    base = local.chain.tree.main_at(2)
    assert base is not None
    blocks = [local.add(on=base, start=5_000)]
    for _ in range(2):
        blocks.append(local.add(on=blocks[-1], start=5_000))
    assert twins.stored.take(*blocks)[-1] == "connected"
    twins.stored.reopen()
    assert twins.stored.now.view().tip.hash == local.tip.hash == blocks[-1].hash
    assert cast(twins.stored) is None


def test_guard_of_the_running_service_binds_whatever_the_database_says(twins: Twins, reader: Connection) -> None:
    twins.grow_to(4)
    assert cast(twins.stored, Guard(source_height=0, target_height=3)) is None
    assert stored_votes(reader) == []


def test_database_refuses_a_second_own_vote_for_a_height(twins: Twins) -> None:
    """The last line of defence, should the guard ever be wrong: nothing is sent, and the chain is opened anew."""
    twins.grow_to(4)
    assert cast(twins.stored) is not None
    forgetful = twins.stored.now.votes
    forgetful._book.guard = Guard()
    with pytest.raises(psycopg.errors.UniqueViolation):
        forgetful.cast(
            lambda body, _key: sign_vote(make_vote(MEMBER, body.source, elsewhere(3)).body, VOTE_KEY), Guard(), 1
        )
    assert not twins.stored.now.usable


def test_own_votes_that_others_tell_bind_like_those_in_the_database(twins: Twins, reader: Connection) -> None:
    twins.grow_to(4)
    (told,) = twins.local.votes(0, 3, [MEMBER])
    assert take(twins.stored, told) == (1, 0, {})
    assert cast(twins.stored) is None
    twins.stored.reopen()
    assert cast(twins.stored) is None
    assert stored_votes(reader) == [(MEMBER, 3, False)]


# taking


def test_votes_of_others_are_stored_once_and_judged_each_on_its_own(twins: Twins, reader: Connection) -> None:
    twins.grow_to(4)
    good = twins.local.votes(0, 3, OTHERS)
    stranger = make_vote("stranger", twins.local.checkpoint(0), twins.local.checkpoint(3))
    forged = make_vote("m1", twins.local.checkpoint(0), twins.local.checkpoint(3), key=VOTE_KEY)
    assert take(twins.stored, good[0], stranger, good[1], forged) == (
        2,
        0,
        {Code.VOTE_NOT_VOTER.value: 1, Code.BAD_SIGNATURE.value: 1},
    )
    assert take(twins.stored, *good) == (1, 2, {})
    assert stored_votes(reader) == [(each, 3, False) for each in OTHERS]


def test_votes_of_blocks_are_stored_also_those_of_side_branches(twins: Twins, reader: Connection) -> None:
    local = twins.local
    twins.grow_to(6)
    base = local.chain.tree.main_at(3)
    assert base is not None
    side = local.add(local.votes(0, 3, ["m1"]), on=base)
    assert twins.stored.take(side) == ["side_branch"]
    assert stored_votes(reader) == [("m1", 3, False)]
    assert [vote.body.voter for vote in twins.stored.now.votes.candidates()] == ["m1"]


def test_stored_votes_are_candidates_for_the_next_block_also_after_a_restart(twins: Twins) -> None:
    twins.grow_to(4)
    take(twins.stored, *twins.local.votes(0, 3, OTHERS))
    content = twins.stored.reopen().draft("m1", FAR_FUTURE_MS)
    assert [vote.body.voter for vote in content.votes] == list(OTHERS)


def test_questions_are_answered_newest_targets_first(twins: Twins) -> None:
    twins.grow_to(10)
    take(twins.stored, *(vote for target in (3, 6, 9) for vote in twins.local.votes(0, target, OTHERS)))

    def answer(above: int, voter: str = "", limit: int = 100) -> list[tuple[int, str]]:
        found = twins.stored.now.votes.find(GetVotes(above_height=above, voter=voter, limit=limit))
        bodies = [decode_vote(raw).body for raw in found]
        return [(body.target.height, body.voter) for body in bodies]

    assert answer(3) == [(height, voter) for height in (9, 6) for voter in OTHERS]
    assert answer(0, "m2") == [(9, "m2"), (6, "m2"), (3, "m2")]
    assert answer(0, limit=4) == [(9, "m1"), (9, "m2"), (9, "m3"), (6, "m1")]
    assert answer(9) == answer(0, "nobody") == []


# landmarks


def test_landmarks_outlive_a_restart(twins: Twins) -> None:
    twins.justify(0, 3)
    twins.justify(3, 6)
    landmarks = twins.stored.now._chain.landmarks
    assert (landmarks.justified, landmarks.final) == (
        twins.local.checkpoint(6).hash,
        twins.local.checkpoint(3).hash,
    )
    assert twins.stored.reopen()._chain.landmarks == landmarks
    assert twins.stored.now._chain.state.snapshot() == twins.local.chain.state.snapshot()
    base = twins.local.chain.tree.main_at(1)
    assert base is not None
    late = twins.local.mine_votes(on=base, start=9_000)
    (outcome,) = twins.stored.now.take_blocks([late], FAR_FUTURE_MS, origin="test")
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_BEFORE_FINAL
    assert not twins.stored.now.has_block(late.hash)


def test_reorganisation_to_less_work_is_stored_and_survives_a_restart(twins: Twins) -> None:
    local = twins.local
    base = local.chain.tree.main_at(1)
    assert base is not None
    twins.grow_to(8)
    side = [local.add(on=base, start=5_000)]
    side.append(local.add(on=side[-1], start=5_000))
    ends = local.checkpoint(0), Checkpoint(height=3, hash=side[-1].hash)
    side.append(local.add([make_vote(each, *ends) for each in OTHERS], on=side[-1]))
    assert twins.stored.take(*side) == ["side_branch", "side_branch", "connected"]
    view = twins.stored.now.view()
    assert (view.tip.hash, view.tip.height) == (side[-1].hash, 4)
    assert twins.stored.reopen()._chain.state.snapshot() == local.chain.state.snapshot()
    assert audit(twins.stored.settings, twins.stored.genesis).tip_hash == side[-1].hash


# lies


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (lambda c: make_vote("m1", c.checkpoint(0), c.checkpoint(3)), ("m1", 0, 3), "double"),
        (lambda c: make_vote("m1", c.checkpoint(3), c.checkpoint(6)), ("m1", 0, 9), "surround"),
    ],
    ids=["double", "surround"],
)
def test_contradicting_votes_are_kept_as_proof_and_reported(
    twins: Twins, first: Callable[[VotingChain], Vote], second: tuple[str, int, int], kind: str
) -> None:
    twins.grow_to(7)
    voter, source, target = second
    one, other = first(twins.local), make_vote(voter, twins.local.checkpoint(source), elsewhere(target))
    assert take(twins.stored, one) == (1, 0, {})
    assert twins.stored.now.votes.report("").equivocations == []
    assert take(twins.stored, other) == (1, 0, {})
    for _ in range(2):
        (lie,) = twins.stored.now.votes.report("").equivocations
        assert (lie.voter, lie.kind, bytes(lie.first), bytes(lie.second)) == ("m1", kind, one.raw, other.raw)
        twins.stored.reopen()


def test_lie_in_a_block_is_noticed_and_the_block_is_taken(twins: Twins) -> None:
    twins.grow_to(4)
    take(twins.stored, make_vote("m1", twins.local.checkpoint(0), elsewhere(3)))
    twins.local.add(twins.local.votes(0, 3, ["m1"]))
    twins.follow()
    assert [lie.kind for lie in twins.stored.now.votes.report("").equivocations] == ["double"]


# forgetting


def test_old_votes_are_forgotten_but_proofs_and_the_newest_of_each_voter_stay(
    twins: Twins, reader: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_votes, "KEEP_FINAL_VOTES", 0)
    twins.grow_to(4)
    take(twins.stored, make_vote("m1", twins.local.checkpoint(0), elsewhere(3)))
    twins.justify(0, 3, OTHERS)
    take(twins.stored, *twins.local.votes(0, 3, [MEMBER]))
    twins.justify(3, 6, OTHERS)
    twins.justify(6, 9, OTHERS)
    assert twins.local.reached == (9, 6)
    assert stored_votes(reader) == [
        (MEMBER, 3, False),  # its newest
        ("m1", 3, False),
        ("m1", 3, False),
        *((each, 9, False) for each in OTHERS),
    ]
    assert len(twins.stored.now.votes.report("").equivocations) == 1


def test_a_liar_does_not_fill_the_disk_with_proofs(twins: Twins, reader: Connection) -> None:
    """Each checkpoint has two votes of m1 that contradict each other; a few of them are proof enough."""
    count = MAX_PROOFS_PER_VOTER + 3
    twins.grow_to(4)
    for height in range(3, 3 * count + 1, 3):
        take(
            twins.stored,
            *(make_vote("m1", twins.local.checkpoint(0), elsewhere(height, fork)) for fork in ("ab", "cd")),
        )
    take(twins.stored, *(make_vote("m2", twins.local.checkpoint(0), elsewhere(3, fork)) for fork in ("ab", "cd")))
    kept = reader.execute("SELECT voter, count(*) FROM equivocations GROUP BY voter ORDER BY voter").fetchall()
    assert kept == [("m1", MAX_PROOFS_PER_VOTER), ("m2", 1)]


# the report


def test_report_names_states_of_checkpoints_and_whom_finality_waits_for(twins: Twins) -> None:
    twins.justify(0, 3, OTHERS)
    twins.justify(3, 6, OTHERS)
    twins.grow_to(9)
    twins.local.add(twins.local.votes(6, 9, ["m1", "m2"]))
    twins.follow()
    twins.grow_to(12)
    report = twins.stored.now.votes.report("asking")
    assert (report.justified.height, report.final.height, report.tip_height) == (6, 3, 12)
    assert (report.voting, report.missing) == ("asking", ["m0", "m3"])
    assert [(each.checkpoint.height, each.state, each.voted) for each in report.checkpoints] == [
        (12, "open", []),
        (9, "open", ["m1", "m2"]),
        (6, "justified", list(OTHERS)),
        (3, "final", []),
    ]


# the audit


@dataclass
class Audited:
    """A stored chain with votes that a superuser may change."""

    stored: StoredChain
    superuser: Connection

    @contextmanager
    def tampered(self, statement: str) -> Iterator[None]:
        """Change rows, and put them back."""
        for table in ("state_rows", "node_state"):
            self._execute("CREATE TEMP TABLE {copy} AS TABLE {table}", table)
        try:
            assert self.superuser.execute(statement.encode()).rowcount > 0
            yield
        finally:
            for table in ("state_rows", "node_state"):
                self._execute("DELETE FROM {table}", table)
                self._execute("INSERT INTO {table} TABLE {copy}", table)
                self._execute("DROP TABLE {copy}", table)

    def _execute(self, statement: LiteralString, table: str) -> None:
        names = {"table": sql.Identifier(table), "copy": sql.Identifier(f"copy_{table}")}
        self.superuser.execute(sql.SQL(statement).format(**names))


@pytest.fixture(scope="module")
def audited(postgres_server: PostgresServer) -> Iterator[Audited]:
    """3 is final, 6 justified, and some voted for 9."""
    made = Twins(migrated(postgres_server.create_database("test-votes-audit")))
    made.justify(0, 3)
    made.justify(3, 6)
    made.grow_to(9)
    made.local.add(made.local.votes(6, 9, ["m1", "m2"]))
    made.follow()
    made.stored.now.close()
    with psycopg.connect(postgres_server.superuser_conninfo(made.stored.settings.name), autocommit=True) as superuser:
        yield Audited(made.stored, superuser)


def test_audit_passes_on_a_chain_with_votes(audited: Audited) -> None:
    assert audit(audited.stored.settings, audited.stored.genesis).height == 10


@pytest.mark.parametrize(
    ("change", "table", "row"),
    [
        ("DELETE FROM state_rows WHERE name = 'votes' AND key LIKE '%/m1'", "state_rows", "m1"),
        ("DELETE FROM state_rows WHERE name = 'finality'", "state_rows", "finality/head"),
        ("DELETE FROM state_rows WHERE name = 'checkpoints' AND key LIKE '%6'", "state_rows", "checkpoints/"),
        (
            """
            UPDATE state_rows SET record = replace(convert_from(record, 'UTF8'), 'true', 'false')::bytea
            WHERE name = 'checkpoints' AND key LIKE '%6'
            """,
            "state_rows",
            "checkpoints/",
        ),
        ("UPDATE state_rows SET key = key || 'x' WHERE name = 'votes' AND key LIKE '%/m1'", "state_rows", "m1"),
        (
            """
            INSERT INTO state_rows SELECT name, replace(key, 'm1', 'm9'), record FROM state_rows
            WHERE name = 'votes' AND key LIKE '%/m1'
            """,
            "state_rows",
            "m9",
        ),
        ("UPDATE node_state SET justified_hash = sha256('x')", "node_state", "the only row"),
        ("UPDATE node_state SET final_hash = sha256('x')", "node_state", "the only row"),
        ("UPDATE node_state SET final_height = 4", "node_state", "the only row"),
        (
            """
            UPDATE node_state SET justified_height = 3, justified_hash = blocks.hash FROM blocks
            WHERE best_chain AND height = 3
            """,
            "node_state",
            "the only row",
        ),
        ("UPDATE node_state SET final_height = 0, final_hash = genesis_hash", "node_state", "the only row"),
    ],
)
def test_audit_finds_what_was_changed_in_finality(audited: Audited, change: str, table: str, row: str) -> None:
    with audited.tampered(change), pytest.raises(LocalFault) as caught:
        audit(audited.stored.settings, audited.stored.genesis)
    assert caught.value.code == Code.AUDIT_MISMATCH
    assert caught.value.values["table"] == table
    assert row in str(caught.value.values["row"])
