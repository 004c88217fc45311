"""The operator's ledger fetches what it missed from the members' ledgers, and believes nothing that it is shown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.ledger_messages import (
    MAX_RUNS_PER_ANSWER,
    GetReadingBatches,
    GetReadingRuns,
    ReadingBatches,
    ReadingRun,
    ReadingRuns,
)
from minervas_core.messages import Reply
from minervas_core.metering import Reading, ReadingBatch
from minervas_core.rights import rights_for
from minervas_devnet.postgres import PostgresServer
from minervas_ledger import readings_intake, readings_pull
from minervas_ledger.ledger_inbox import LedgerInbox
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.reader import DatabaseReader
from minervas_ledger.store.reading_batches import SignedBatch, find_batches
from minervas_ledger.store.reading_runs import joined, page_of_runs, runs_of_member, without
from minervas_ledger.store.readings_aside import ReceivedReading
from minervas_ledger.store.readings_writes import ReadingsStore
from minervas_runtime.clock import SystemClock
from minervas_runtime.requests import Request, Requester
from tests.support.builders import MARKET, NETWORK, gateway_key, make_genesis, signing_key
from tests.support.ledger import MEMBER, LedgerNode, migrated
from tests.support.ledger_market import SPOOL, FakeGateway, TradingChain, batch, missing, reading
from tests.support.wait import wait_until_async

FARM = "m1"
"""The member whose ledger is asked; `MEMBER` is the operator's."""
OTHER_SPOOL = "cd" * 16


@pytest.fixture(scope="module")
def farm_database(postgres_server: PostgresServer) -> DatabaseSettings:
    return migrated(postgres_server.create_database("test-farm-ledger"))


@pytest.fixture
def farm_store(farm_database: DatabaseSettings, postgres_server: PostgresServer) -> Iterator[ReadingsStore]:
    with psycopg.connect(postgres_server.superuser_conninfo(farm_database.name), autocommit=True) as superuser:
        superuser.execute("TRUNCATE readings, reading_channels, reading_runs, reading_batches, readings_aside")
    store = ReadingsStore(farm_database)
    yield store
    store.close()


@pytest.fixture
def farm_reader(farm_database: DatabaseSettings) -> Iterator[Connection]:
    connection = connect(farm_database, application="test")
    yield connection
    connection.close()


def take(store: ReadingsStore, signed: ReadingBatch, *, aside: int | None = None) -> None:
    """What a member's ledger does with a batch of its own gateway."""
    body = signed.body
    received = [ReceivedReading(body.member, body.gateway, body.spool, each) for each in body.readings]
    good = [each for each in received if each.reading.sequence != aside]
    rest = [each for each in received if each.reading.sequence == aside]
    kept = SignedBatch(signed, is_whole=not rest)
    store.store(good, NOW_MS, aside=rest, batches=[kept])


NOW_MS = 1_800_000_000_000


def farm_batch(*readings: Reading, spool: str = SPOOL) -> ReadingBatch:
    return batch(*readings, member=FARM, spool=spool)


def run_of(first: int, count: int, at_ms: int = NOW_MS) -> list[Reading]:
    return [reading(number, at_ms + number) for number in range(first, first + count)]


def shown(connection: Connection, first: int, last: int, spool: str = SPOOL) -> list[bytes]:
    """What a member's ledger answers."""
    answer = find_batches(connection, NETWORK, FARM, GetReadingBatches(spool=spool, first=first, last=last))
    assert answer.up_to == last
    return [bytes(raw) for raw in answer.batches]


# what a member's ledger keeps and shows


def test_batches_come_back_byte_for_byte(farm_store: ReadingsStore, farm_reader: Connection) -> None:
    sent = [
        farm_batch(*run_of(0, 3), missing(3, NOW_MS + 3)),
        farm_batch(*run_of(9, 2)),
        farm_batch(*run_of(4, 5)),
    ]
    for each in sent:
        take(farm_store, each)
    assert shown(farm_reader, 0, 10) == [encode(sent[0]), encode(sent[2]), encode(sent[1])]
    assert shown(farm_reader, 5, 5) == [encode(sent[2])]
    assert shown(farm_reader, 11, 20) == []
    assert shown(farm_reader, 0, 10, OTHER_SPOOL) == []
    assert runs_of_member(farm_reader, FARM) == {SPOOL: [(0, 10)]}


def test_repeated_batches_are_not_kept_twice(farm_store: ReadingsStore, farm_reader: Connection) -> None:
    first, again = farm_batch(*run_of(0, 4)), farm_batch(*run_of(1, 3))
    more = farm_batch(*run_of(2, 4))
    for each in (first, again, first, more):
        take(farm_store, each)
    assert shown(farm_reader, 0, 9) == [encode(first), encode(more)]


def test_batch_with_a_conflict_or_a_reading_put_aside_is_kept_whole(
    farm_store: ReadingsStore, farm_reader: Connection
) -> None:
    take(farm_store, farm_batch(reading(0, NOW_MS)))
    conflicting = farm_batch(reading(0, NOW_MS, power_mw=7), reading(1, NOW_MS + 1))
    odd = farm_batch(reading(2, NOW_MS + 2), reading(3, 10 * NOW_MS))
    take(farm_store, conflicting)
    take(farm_store, odd, aside=3)
    assert shown(farm_reader, 1, 3) == [encode(conflicting), encode(odd)]
    assert runs_of_member(farm_reader, FARM) == {SPOOL: [(0, 3)]}


def test_large_answers_are_cut_and_go_on(
    farm_store: ReadingsStore, farm_reader: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minervas_ledger.store.reading_batches.MAX_BATCHES_ANSWER_BYTES", 1_500)
    sent = [farm_batch(*run_of(4 * step, 4)) for step in range(8)]
    for each in sent:
        take(farm_store, each)
    found: list[bytes] = []
    first, answers = 2, 0
    while first <= 30:
        question = GetReadingBatches(spool=SPOOL, first=first, last=30)
        answer = find_batches(farm_reader, NETWORK, FARM, question)
        found += [bytes(raw) for raw in answer.batches]
        assert first <= answer.up_to <= 30
        first, answers = answer.up_to + 1, answers + 1
    assert found == [encode(each) for each in sent]
    assert answers > 1


def test_runs_come_in_pages(farm_store: ReadingsStore, farm_reader: Connection) -> None:
    count = MAX_RUNS_PER_ANSWER + 20
    every_second = [reading(2 * number, NOW_MS + number) for number in range(count)]
    for first in range(0, count, 200):
        take(farm_store, farm_batch(*every_second[first : first + 200]))
    take(farm_store, farm_batch(*run_of(0, 2), spool=OTHER_SPOOL))
    page = page_of_runs(farm_reader, FARM, GetReadingRuns())
    last = page.runs[-1]
    rest = page_of_runs(farm_reader, FARM, GetReadingRuns(after_spool=last.spool, after_first=last.first))
    assert (len(page.runs), page.more, rest.more) == (MAX_RUNS_PER_ANSWER, True, False)
    assert [*page.runs, *rest.runs] == [
        *(ReadingRun(spool=SPOOL, first=2 * number, last=2 * number) for number in range(count)),
        ReadingRun(spool=OTHER_SPOOL, first=0, last=1),
    ]


@pytest.mark.parametrize(
    ("ranges", "known", "rest"),
    [
        ([(0, 9)], [], [(0, 9)]),
        ([(0, 9)], [(0, 9)], []),
        ([(0, 9)], [(3, 4), (8, 20)], [(0, 2), (5, 7)]),
        ([(0, 2), (5, 9)], [(2, 5)], [(0, 1), (6, 9)]),
        ([(5, 9)], [(0, 4), (10, 11)], [(5, 9)]),
    ],
)
def test_what_is_missing(
    ranges: list[tuple[int, int]], known: list[tuple[int, int]], rest: list[tuple[int, int]]
) -> None:
    assert without(ranges, known) == rest
    assert joined([*known, *rest]) == joined([*ranges, *known])


# the operator's ledger among members


class FakeLedger:
    """The ledger of another member: a real one's answers, or whatever a test wants."""

    def __init__(self, node: LedgerNode, member: str) -> None:
        me = Principal(member, "ledger")
        self.member = member
        self.asked: list[str] = []
        self.bus = node.broker.connect(me, rights_for(me, operator_member=MEMBER))
        self.requester = Requester(self.bus, SystemClock())

    async def start(self) -> None:
        await self.bus.start()
        await self.requester.start()

    async def stop(self) -> None:
        await self.requester.stop()
        await self.bus.stop()

    def answer(
        self, runs: Callable[[GetReadingRuns], ReadingRuns], batches: Callable[[GetReadingBatches], ReadingBatches]
    ) -> None:
        """Answer as a test says."""

        async def on_runs(request: Request) -> bytes:
            self.asked.append("reading_runs")
            question = msgspec.json.decode(request.payload, type=GetReadingRuns)
            return encode(Reply(body=msgspec.Raw(encode(runs(question)))))

        async def on_batches(request: Request) -> bytes:
            self.asked.append("reading_batches")
            question = msgspec.json.decode(request.payload, type=GetReadingBatches)
            return encode(Reply(body=msgspec.Raw(encode(batches(question)))))

        self.requester.serve("reading_runs", on_runs)
        self.requester.serve("reading_batches", on_batches)


@pytest_asyncio.fixture
async def operator(
    ledger_database: DatabaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerNode]:
    """The operator's ledger, which stores everybody's readings and knows everybody's meter."""
    monkeypatch.setattr(readings_pull, "ANSWER_PAUSE_S", 0.01)
    node = LedgerNode(
        tmp_path, ledger_database, make_genesis(MARKET), readings_flush_ms=50, readings="all", operator=MEMBER,
        readings_pull_s=1,
    )  # fmt: skip
    await node.start()
    for each in list(TradingChain().local.tip.blocks())[::-1]:
        await node.peer.deliver(TradingChain().local.chain._stored(each))
    yield node
    await node.stop()


Meet = Callable[[str], Awaitable[FakeLedger]]


@pytest_asyncio.fixture
async def meet(operator: LedgerNode) -> AsyncIterator[Meet]:
    met: list[FakeLedger] = []

    async def make(member: str) -> FakeLedger:
        met.append(FakeLedger(operator, member))
        await met[-1].start()
        return met[-1]

    yield make
    for each in met:
        await each.stop()


@pytest_asyncio.fixture
async def farm(meet: Meet, farm_database: DatabaseSettings, farm_store: ReadingsStore) -> AsyncIterator[FakeLedger]:
    """A member's ledger that answers as ours does, out of a database of its own."""
    made = await meet(FARM)
    reader = DatabaseReader(farm_database)
    LedgerInbox(FARM, NETWORK, reader).listen(made.requester)
    yield made
    await reader.close()


def numbers_in(node: LedgerNode, member: str = FARM, spool: str = SPOOL) -> list[int]:
    with contextlib.closing(connect(node.database, application="test")) as connection:
        rows = connection.execute(
            "SELECT sequence FROM readings WHERE member = %s AND spool = %s ORDER BY sequence",
            (member, bytes.fromhex(spool)),
        ).fetchall()
    return [int(str(number)) for (number,) in rows]


async def until_numbers(node: LedgerNode, numbers: list[int], *, member: str = FARM, spool: str = SPOOL) -> None:
    await wait_until_async(
        lambda: numbers_in(node, member, spool) == numbers,
        timeout=30,
        describe=lambda: f"{numbers_in(node, member, spool)} instead of {numbers}",
    )


def failures(code: Code) -> float:
    return REGISTRY.get_sample_value("minervas_readings_pull_failures_total", {"code": code}) or 0


async def test_what_was_missed_is_fetched_exactly_once(
    operator: LedgerNode, farm: FakeLedger, farm_store: ReadingsStore, farm_reader: Connection
) -> None:
    """A gap, what came before the first that was heard, the end, and a spool that was never heard of."""
    gateway = FakeGateway(operator.broker, FARM)
    await gateway.start()
    now_ms = operator.clock.now_ms()
    sent = [farm_batch(*run_of(10 * step, 10, now_ms)) for step in range(6)]
    for number, each in enumerate(sent):
        take(farm_store, each)
        if number in (1, 3):
            await gateway.publish(each)
    take(farm_store, farm_batch(*run_of(0, 5, now_ms), spool=OTHER_SPOOL))
    await until_numbers(operator, list(range(60)))
    await until_numbers(operator, list(range(5)), spool=OTHER_SPOOL)
    with contextlib.closing(connect(operator.database, application="test")) as connection:
        theirs, ours = (
            each.execute(
                "SELECT meter, channel, time_ms, spool, sequence, quality, power_mw, energy_mwh, request, reply"
                " FROM readings WHERE member = 'm1' ORDER BY spool, sequence"
            ).fetchall()
            for each in (farm_reader, connection)
        )
        assert theirs == ours
        counted = connection.execute("SELECT sum(measured + missing + substituted) FROM readings_hour").fetchone()
        assert counted == (65,)
        assert connection.execute("SELECT count(*) FROM reading_batches").fetchone() == (0,)
    await gateway.stop()


async def test_readings_that_a_member_put_aside_are_put_aside_here_too(
    operator: LedgerNode, farm: FakeLedger, farm_store: ReadingsStore
) -> None:
    now_ms = operator.clock.now_ms()
    future_ms = now_ms + readings_intake.MAX_OFF_MS + 60_000
    take(farm_store, farm_batch(reading(0, now_ms), reading(1, future_ms)), aside=1)
    await until_numbers(operator, [0])
    with contextlib.closing(connect(operator.database, application="test")) as connection:
        await wait_until_async(
            lambda: connection.execute("SELECT sequence FROM readings_aside").fetchall() == [(1,)],
            describe="the reading aside",
        )
        assert runs_of_member(connection, FARM) == {SPOOL: [(0, 1)]}


NOTHING = ReadingRuns(runs=[], more=False)
ONE_RUN = ReadingRuns(runs=[ReadingRun(spool=SPOOL, first=0, last=9)], more=False)

Lie = Callable[[int], tuple[ReadingRuns, Callable[[GetReadingBatches], ReadingBatches]]]


def answering(*batches: ReadingBatch | bytes, up_to: int = 9) -> Callable[[GetReadingBatches], ReadingBatches]:
    raw = [msgspec.Raw(each if isinstance(each, bytes) else encode(each)) for each in batches]
    return lambda _: ReadingBatches(batches=raw, up_to=up_to)


LIES: dict[str, tuple[Code, Lie]] = {
    "not signed by the gateway": (
        Code.BAD_SIGNATURE,
        lambda now_ms: (
            ONE_RUN,
            answering(msgspec.structs.replace(farm_batch(*run_of(0, 9, now_ms)), signature="00" * 64)),
        ),
    ),
    "another member's readings": (
        Code.FRAME_FOREIGN_SENDER,
        lambda now_ms: (ONE_RUN, answering(batch(*run_of(0, 9, now_ms), member="m2", key=gateway_key(FARM)))),
    ),
    "readings that nobody asked for": (
        Code.WRONG_SHAPE,
        lambda now_ms: (ONE_RUN, answering(farm_batch(*run_of(50, 3, now_ms)))),
    ),
    "another spool": (
        Code.WRONG_SHAPE,
        lambda now_ms: (ONE_RUN, answering(farm_batch(*run_of(0, 3, now_ms), spool=OTHER_SPOOL))),
    ),
    "no batch": (Code.WRONG_SHAPE, lambda _: (ONE_RUN, answering(b"{}"))),
    "an end beyond the question": (Code.WRONG_SHAPE, lambda _: (ONE_RUN, answering(up_to=10))),
    "runs out of order": (
        Code.WRONG_SHAPE,
        lambda _: (ReadingRuns(runs=[*ONE_RUN.runs, *ONE_RUN.runs], more=False), answering()),
    ),
    "a run that ends before it begins": (
        Code.WRONG_SHAPE,
        lambda _: (ReadingRuns(runs=[ReadingRun(spool=SPOOL, first=3, last=2)], more=False), answering()),
    ),
}


async def lie_to(operator: LedgerNode, liar: FakeLedger, name: str) -> None:
    """Let a ledger answer with a lie, and wait until the operator's has seen through it."""
    code, lie = LIES[name]
    runs, batches = lie(operator.clock.now_ms())
    before = failures(code)
    liar.answer(lambda _: runs, batches)
    await wait_until_async(lambda: failures(code) > before, timeout=30, describe=f"a failure {code}")


@pytest.mark.parametrize("name", LIES)
async def test_lie_of_a_ledger_is_seen_through_and_nothing_of_it_stored(
    operator: LedgerNode, farm: FakeLedger, farm_store: ReadingsStore, name: str
) -> None:
    await lie_to(operator, farm, name)
    with contextlib.closing(connect(operator.database, application="test")) as connection:
        assert connection.execute("SELECT count(*) FROM readings").fetchone() == (0,)


async def test_lying_ledger_is_left_alone_and_stops_nobody_else(
    operator: LedgerNode, meet: Meet, farm: FakeLedger, farm_store: ReadingsStore
) -> None:
    honest = await meet("m2")
    honest.answer(
        lambda _: ReadingRuns(runs=[ReadingRun(spool=SPOOL, first=0, last=3)], more=False),
        answering(batch(*run_of(0, 4, operator.clock.now_ms()), member="m2"), up_to=3),
    )
    await lie_to(operator, farm, "no batch")
    await until_numbers(operator, [0, 1, 2, 3], member="m2")
    honest_asked = honest.asked.count("reading_runs")
    await wait_until_async(lambda: honest.asked.count("reading_runs") > honest_asked + 1, timeout=30)
    assert farm.asked.count("reading_runs") == 1


async def test_ledger_that_shows_nothing_of_what_it_claims_is_not_asked_without_end(
    operator: LedgerNode, meet: Meet
) -> None:
    """An endless run is one question; what it does not show is asked for again in the next round only."""
    poser = await meet(FARM)
    endless = ReadingRuns(runs=[ReadingRun(spool=SPOOL, first=0, last=2**53 - 1)], more=False)
    poser.answer(lambda _: endless, lambda question: ReadingBatches(batches=[], up_to=question.last))
    await wait_until_async(lambda: poser.asked.count("reading_runs") > 2, timeout=30)
    assert poser.asked.count("reading_batches") <= poser.asked.count("reading_runs")


async def test_silent_ledger_stops_nobody_else(
    operator: LedgerNode, meet: Meet, farm: FakeLedger, farm_store: ReadingsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """m2's ledger is there and never answers."""
    silent = await meet("m2")

    async def never(request: Request) -> bytes:
        silent.asked.append(request.kind)
        await asyncio.Event().wait()
        return b""

    silent.requester.serve("reading_runs", never)
    await wait_until_async(lambda: silent.asked, timeout=30)
    take(farm_store, farm_batch(*run_of(0, 7, operator.clock.now_ms())))
    await until_numbers(operator, list(range(7)))


async def test_fetching_leaves_room_for_what_gateways_send(
    operator: LedgerNode, farm: FakeLedger, farm_store: ReadingsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings_intake, "LEAST_ROOM", 5)
    for step in range(10):
        take(farm_store, farm_batch(*run_of(10 * step, 10, operator.clock.now_ms())))
    await until_numbers(operator, list(range(100)))


async def test_batch_of_a_key_that_is_not_registered_is_no_lie(operator: LedgerNode, meet: Meet) -> None:
    """It may have been, when the member's ledger took it."""
    member = await meet(FARM)
    now_ms = operator.clock.now_ms()
    old = batch(*run_of(0, 5, now_ms), member=FARM, key=signing_key("a gateway of before"))
    member.answer(lambda _: ONE_RUN, answering(old, farm_batch(*run_of(5, 5, now_ms))))
    await until_numbers(operator, list(range(5, 10)))
    asked = member.asked.count("reading_runs")
    await wait_until_async(lambda: member.asked.count("reading_runs") > asked, timeout=30)


async def test_nobody_but_a_ledger_is_answered(operator: LedgerNode) -> None:
    """The broker's rights say so first."""
    me = Principal("m1", "peer")
    rights = rights_for(Principal("m1", "ledger"), operator_member=MEMBER)
    allowed = [one.replace("/ledger/+", "/peer/+") for one in (*rights.publish, *rights.subscribe)]
    allowed = [*allowed, "inbox/v1/+/ledger/m1/peer/+", "inbox/v1/m1/peer/+/+/+"]
    bus = operator.broker.connect(me, type(rights)(publish=tuple(allowed), subscribe=tuple(allowed)))
    asker = Requester(bus, SystemClock())
    await bus.start()
    await asker.start()
    labels = {"service": "ledger", "kind": "reading_runs", "code": Code.FRAME_FOREIGN_SENDER}
    before = REGISTRY.get_sample_value("minervas_refusals_total", labels) or 0
    asking = asyncio.create_task(asker.request(MEMBER, "ledger", "reading_runs", encode(GetReadingRuns()), 30.0))
    await wait_until_async(lambda: (REGISTRY.get_sample_value("minervas_refusals_total", labels) or 0) > before)
    asking.cancel()
    await asker.stop()
    await bus.stop()
