"""The queue is on disk: what was acknowledged survives restarts, reorganisations and a commit that failed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
import psycopg
import pytest
from psycopg import sql

from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault, MinervasError, TransientFault
from minervas_core.node_messages import Submit, SubmitResults
from minervas_core.transactions import Transaction, TransactionForm
from minervas_devnet.postgres import PostgresServer
from minervas_ledger import metrics
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.intake import Intake
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import Connection, as_transient
from minervas_runtime.clock import ManualClock
from tests.support.builders import FAR_FUTURE_MS, MARKET, LocalChain, admit, bid, make_genesis, revoke
from tests.support.ledger import VOTER, StoredChain, audit, lonely_sync
from tests.support.ledger_market import TradingChain
from tests.support.wait import wait_until_async


@pytest.fixture
def local() -> LocalChain:
    return LocalChain()


@pytest.fixture
def stored(ledger_database: DatabaseSettings, local: LocalChain) -> Iterator[StoredChain]:
    chain = StoredChain(ledger_database, local.genesis)
    chain.take(local.found("m0", "m1", "m2"))
    yield chain
    chain.now.close()


@pytest.fixture
def superuser(postgres_server: PostgresServer, ledger_database: DatabaseSettings) -> Iterator[Connection]:
    with psycopg.connect(postgres_server.superuser_conninfo(ledger_database.name), autocommit=True) as connection:
        yield connection


def queued(stored: StoredChain) -> list[str]:
    """Ids in the queue, oldest first."""
    return [each.id for each in stored.now._mempool]


def rows(superuser: Connection) -> list[str]:
    """Ids on disk, oldest first."""
    found = superuser.execute("SELECT encode(id, 'hex') FROM mempool ORDER BY arrival").fetchall()
    return [str(row[0]) for row in found]


def dropped(occasion: str, code: Code) -> float:
    value: float = metrics.MEMPOOL_DROPPED.labels(occasion, code)._value.get()
    return value


def insert(superuser: Connection, *transactions: Transaction) -> None:
    for each in transactions:
        superuser.execute("INSERT INTO mempool (id, raw) VALUES (%s, %s)", (bytes.fromhex(each.id), each.raw))


# restarts


def test_queue_survives_a_restart_in_its_order(stored: StoredChain, superuser: Connection) -> None:
    waiting = [admit(f"n{number}") for number in range(8)]
    for each in (waiting[:3], waiting[3:]):
        assert stored.now.submit(each, FAR_FUTURE_MS) == [True] * len(each)
    assert stored.now.submit(waiting[:1], FAR_FUTURE_MS) == [False]
    view = stored.now.view()
    assert rows(superuser) == queued(stored) == [each.id for each in waiting]
    assert stored.reopen().view() == view
    assert queued(stored) == rows(superuser) == [each.id for each in waiting]


def test_what_is_refused_is_not_stored(stored: StoredChain, superuser: Connection) -> None:
    results = stored.now.submit([admit("n0"), admit("n0", salt="other"), revoke("nobody")], FAR_FUTURE_MS)
    assert results[0] is True
    assert [each.code for each in results[1:] if isinstance(each, MinervasError)] == [
        Code.POOL_CONFLICT,
        Code.MEMBER_UNKNOWN,
    ]
    assert rows(superuser) == [admit("n0").id]


def test_what_a_block_carries_or_excludes_leaves_with_its_commit(
    stored: StoredChain, local: LocalChain, superuser: Connection
) -> None:
    stored.now.submit([admit("n0"), admit("n1"), admit("n2")], FAR_FUTURE_MS)
    assert stored.take(local.extend("m1", [admit("n0"), admit("n1", salt="other")])) == ["connected"]
    assert rows(superuser) == queued(stored) == [admit("n2").id]


def test_what_expires_leaves_with_the_block_after_which_it_does(
    stored: StoredChain, local: LocalChain, superuser: Connection
) -> None:
    before = dropped("expiry", Code.TX_EXPIRED)
    stored.now.submit([admit("n0", expires=2), admit("n1", expires=3)], FAR_FUTURE_MS)
    stored.take(local.extend("m1"))
    assert rows(superuser) == queued(stored) == [admit("n1", expires=3).id]
    assert dropped("expiry", Code.TX_EXPIRED) == before + 1


def test_what_a_reorganisation_returns_is_on_disk_with_it(
    stored: StoredChain, local: LocalChain, superuser: Connection
) -> None:
    base = local.tip
    joining = admit("n0", expires=7)
    stored.now.submit([joining], FAR_FUTURE_MS)
    stored.take(local.extend("m1", [joining]))
    assert rows(superuser) == []
    other = local.extend("m2", on=base, start=7)
    assert stored.take(other, local.extend("m0", on=other)) == ["side_branch", "connected"]
    assert rows(superuser) == [joining.id]
    stored.reopen()
    assert queued(stored) == [joining.id]
    audit(stored.settings, stored.genesis)


def test_one_that_needs_an_earlier_one_comes_back_with_it(ledger_database: DatabaseSettings) -> None:
    """Statements that follow each other: the second does not apply to the tip by itself."""
    stored = StoredChain(ledger_database, make_genesis(MARKET))
    trading = TradingChain(stored)
    first = trading.statement("m0", 500)
    assert stored.now.submit([first], FAR_FUTURE_MS) == [True]
    follow = trading.statement_after(first, 100)
    assert stored.now.submit([follow, bid("m1", 100, 5)], FAR_FUTURE_MS) == [True, True]
    stored.reopen()
    assert queued(stored) == [first.id, follow.id, bid("m1", 100, 5).id]
    stored.now.close()


def test_what_no_longer_applies_is_dropped_at_start_and_counted(stored: StoredChain, superuser: Connection) -> None:
    good = admit("n0")
    forged = TransactionForm(body=admit("n1").body, signature="0" * 128)
    insert(superuser, good, admit("n2", expires=1), admit("m1", salt="again"), admit("n0", salt="other"))
    superuser.execute("INSERT INTO mempool (id, raw) VALUES (sha256('a'), %s)", (encode(forged),))
    superuser.execute("INSERT INTO mempool (id, raw) VALUES (sha256('b'), 'x')")
    codes = (Code.TX_EXPIRED, Code.MEMBER_EXISTS, Code.POOL_CONFLICT, Code.BAD_SIGNATURE, Code.NOT_JSON)
    before = [dropped("restart", code) for code in codes]
    stored.reopen()
    assert rows(superuser) == queued(stored) == [good.id]
    assert [dropped("restart", code) for code in codes] == [count + 1 for count in before]


# acknowledgements


@asynccontextmanager
async def working(stored: StoredChain) -> AsyncIterator[tuple[ChainWorker, Intake]]:
    """The chain on its thread, opened again whenever it is lost."""
    stored.now.close()
    opener = ChainOpener(stored.settings, stored.genesis, [VOTER])
    worker = ChainWorker(opener.open, lambda: as_transient(stored.settings))
    await worker.start()
    keeper = asyncio.create_task(worker.keep_open())
    clock = ManualClock(FAR_FUTURE_MS)
    try:
        yield worker, Intake(worker, lonely_sync(worker, clock, stored.genesis), clock)
    finally:
        keeper.cancel()
        await worker.close()


def submit(*transactions: Transaction) -> Submit:
    return Submit(transactions=[msgspec.Raw(each.raw) for each in transactions], origin="test")


async def test_submissions_that_wait_for_the_chain_share_one_commit(stored: StoredChain, superuser: Connection) -> None:
    async with working(stored) as (worker, intake):
        go_on = threading.Event()
        busy = asyncio.create_task(worker.run(lambda _: go_on.wait()))
        submissions = [asyncio.create_task(intake.submit(submit(admit(f"n{number}")))) for number in range(20)]
        await asyncio.sleep(0)
        go_on.set()
        results: list[SubmitResults] = await asyncio.gather(*submissions)
        await busy
        assert [each.status for result in results for each in result.results] == ["accepted"] * 20
    found = superuser.execute("SELECT count(*), count(DISTINCT xmin::text) FROM mempool").fetchone()
    assert found == (20, 1)


@contextmanager
def no_right_to_store(superuser: Connection, writer: str) -> Iterator[None]:
    """Every INSERT into the queue fails."""
    superuser.execute(sql.SQL("REVOKE INSERT ON mempool FROM {}").format(sql.Identifier(writer)))
    yield
    superuser.execute(sql.SQL("GRANT INSERT ON mempool TO {}").format(sql.Identifier(writer)))


async def test_nothing_is_acknowledged_that_is_not_stored(stored: StoredChain, superuser: Connection) -> None:
    """Of two submissions in one commit neither is acknowledged, and memory forgets both."""
    async with working(stored) as (worker, intake):
        assert (await intake.submit(submit(admit("n0")))).results[0].status == "accepted"
        with no_right_to_store(superuser, stored.settings.user):
            go_on = threading.Event()
            busy = asyncio.create_task(worker.run(lambda _: go_on.wait()))
            both = [asyncio.create_task(intake.submit(submit(admit(name)))) for name in ("n1", "n2")]
            await asyncio.sleep(0)
            go_on.set()
            failures = await asyncio.gather(*both, return_exceptions=True)
            await busy
        assert isinstance(failures[0], LocalFault)
        assert isinstance(failures[1], TransientFault)
        assert failures[1].code == Code.DATABASE_AWAY
        await wait_until_async(lambda: not worker.trouble)
        assert rows(superuser) == [admit("n0").id]
        assert worker.view.mempool_transactions == 1
        again = await intake.submit(submit(admit("n1"), admit("n0")))
        assert [each.status for each in again.results] == ["accepted", "known"]
