"""Readings over the bus: who may send them, and that only what is committed is acknowledged."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from minervas_core.encoding import encode, encode_untyped
from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.metering import Reading, ReadingBatch
from minervas_core.node_market_messages import GetReadings, Readings
from minervas_core.rights import Rights
from minervas_core.topics import mesh
from minervas_devnet.postgres import PostgresServer
from minervas_ledger import readings_flush, readings_intake
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store import readings_aside
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.reading_runs import ranges_of
from tests.support.builders import MARKET, gateway_key, make_genesis, revoke, signing_key
from tests.support.ledger import MEMBER, LedgerNode, migrated
from tests.support.ledger_market import SPOOL, FakeGateway, TradingChain, batch, missing, reading
from tests.support.wait import wait_until_async


@pytest_asyncio.fixture
async def node(ledger_database: DatabaseSettings, tmp_path: Path) -> AsyncIterator[LedgerNode]:
    """A ledger that knows everybody's meter and stores readings ten times a second."""
    made = LedgerNode(tmp_path, ledger_database, make_genesis(MARKET), readings_flush_ms=100)
    await made.start()
    await introduce(made)
    yield made
    await made.stop()


async def introduce(node: LedgerNode) -> TradingChain:
    """Two blocks, in which everybody's meter is registered."""
    trading = TradingChain()
    for each in list(trading.local.tip.blocks())[::-1]:
        await node.peer.deliver(trading.local.chain._stored(each))
    return trading


@pytest_asyncio.fixture
async def gateway(node: LedgerNode) -> AsyncIterator[FakeGateway]:
    made = FakeGateway(node.broker)
    await made.start()
    yield made
    await made.stop()


def now_ms(node: LedgerNode) -> int:
    return node.clock.now_ms()


async def until_stored(gateway: FakeGateway, numbers: set[int], spool: str = SPOOL) -> None:
    """Wait until just these readings are acknowledged."""
    await wait_until_async(lambda: gateway.stored.get(spool) == numbers, describe=lambda: f"told: {gateway.stored}")


async def ask(node: LedgerNode) -> Readings:
    return await node.peer.ask_market("readings", GetReadings(limit=200), Readings)


def refusals(code: Code) -> float:
    labels = {"service": "ledger", "kind": "readings", "code": code}
    return REGISTRY.get_sample_value("minervas_refusals_total", labels) or 0


# the usual


async def test_readings_are_stored_acknowledged_and_told(node: LedgerNode, gateway: FakeGateway) -> None:
    given = [reading(number, now_ms(node) + number) for number in range(20)]
    await gateway.publish(batch(*given[:10]))
    await gateway.publish(batch(*given[12:], missing(20, now_ms(node) + 20)))
    await until_stored(gateway, {*range(10), *range(12, 21)})
    found = await ask(node)
    assert {each.reading.sequence: each.reading for each in found.readings if each.reading.sequence < 20} == {
        each.sequence: each for each in given[:10] + given[12:]
    }
    assert (found.stored, found.conflicts) == (19, 0)


async def test_repeated_readings_are_acknowledged_again_and_stored_once(node: LedgerNode, gateway: FakeGateway) -> None:
    """The acknowledgement may have been lost."""
    sent = batch(*(reading(number, now_ms(node) + number) for number in range(10)))
    await gateway.publish(sent)
    await until_stored(gateway, set(range(10)))
    gateway.stored.clear()
    await gateway.publish(sent)
    await until_stored(gateway, set(range(10)))
    assert (await ask(node)).stored == 10


async def test_conflicting_reading_is_counted(node: LedgerNode, gateway: FakeGateway) -> None:
    await gateway.publish(batch(reading(1, now_ms(node))))
    await until_stored(gateway, {1})
    told = gateway.told
    await gateway.publish(batch(reading(1, now_ms(node), power_mw=1)))
    await wait_until_async(lambda: gateway.told > told)
    found = await ask(node)
    assert (found.stored, found.conflicts) == (1, 1)


# who may not


async def refused(node: LedgerNode, gateway: FakeGateway, sent: ReadingBatch | bytes, code: Code) -> None:
    """The batch is refused under this code, not acknowledged, and disturbs nothing: the next one is stored."""
    before = refusals(code)
    await gateway.publish(sent)
    await wait_until_async(lambda: refusals(code) == before + 1, describe=f"a refusal {code}")
    await gateway.publish(batch(reading(99, now_ms(node))))
    await until_stored(gateway, {99})
    assert (await ask(node)).stored == 1


change = msgspec.structs.replace


def without_readings(good: ReadingBatch) -> bytes:
    form = msgspec.json.decode(encode(good))
    form["body"]["readings"] = []
    return encode_untyped(form)


BAD: dict[str, tuple[Code, Callable[[Reading], ReadingBatch | bytes]]] = {
    "unregistered key": (Code.FRAME_UNKNOWN_SENDER, lambda good: batch(good, key=signing_key("stranger"))),
    "key of another member": (Code.FRAME_UNKNOWN_SENDER, lambda good: batch(good, key=gateway_key("m1"))),
    "another member's readings": (Code.FRAME_UNKNOWN_SENDER, lambda good: batch(good, member="m1")),
    "another member's name": (
        Code.FRAME_FOREIGN_SENDER,
        lambda good: batch(good, member="m1", key=gateway_key(MEMBER)),
    ),
    "another network": (Code.WRONG_NETWORK, lambda good: batch(good, network="ff" * 16)),
    "wrong signature": (Code.BAD_SIGNATURE, lambda good: change(batch(good), signature="00" * 64)),
    "no such meter": (Code.METER_UNKNOWN, lambda good: batch(change(good, meter="shed"))),
    "no such channel": (Code.CHANNEL_UNKNOWN, lambda good: batch(change(good, channel="ac"))),
    "measured with a fault": (Code.WRONG_SHAPE, lambda good: batch(good, change(good, sequence=1, fault="crc"))),
    "missing with values": (Code.WRONG_SHAPE, lambda good: batch(change(good, quality="missing", fault="crc"))),
    "missing without a fault": (
        Code.WRONG_SHAPE,
        lambda good: batch(change(missing(0, good.time_ms), fault=msgspec.UNSET)),
    ),
    "measured without values": (
        Code.WRONG_SHAPE,
        lambda good: batch(change(missing(0, good.time_ms), quality="measured", fault=msgspec.UNSET)),
    ),
    "empty batch": (Code.WRONG_SHAPE, lambda good: without_readings(batch(good))),
    "not canonical": (Code.NOT_CANONICAL, lambda good: encode(batch(good)) + b" "),
    "not JSON": (Code.NOT_JSON, lambda _: b"hello"),
    "too large": (Code.TOO_LARGE, lambda _: b"x" * 400_001),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_batch_is_refused_by_its_code(node: LedgerNode, gateway: FakeGateway, name: str) -> None:
    code, make = BAD[name]
    await refused(node, gateway, make(reading(0, now_ms(node))), code)


async def test_readings_of_a_meter_that_is_registered_later_are_welcome_then(
    ledger_database: DatabaseSettings, tmp_path: Path
) -> None:
    """Until then they stay in the gateway's spool."""
    node = LedgerNode(tmp_path, ledger_database, make_genesis(MARKET), readings_flush_ms=100)
    await node.start()
    gateway = FakeGateway(node.broker)
    await gateway.start()
    before = refusals(Code.FRAME_UNKNOWN_SENDER)
    sent = batch(reading(0, now_ms(node)))
    await gateway.publish(sent)
    await wait_until_async(lambda: refusals(Code.FRAME_UNKNOWN_SENDER) == before + 1)
    await introduce(node)
    await gateway.publish(sent)
    await until_stored(gateway, {0})
    await gateway.stop()
    await node.stop()


async def test_readings_of_a_meter_that_is_not_registered_yet_do_not_hold_up_the_others(
    node: LedgerNode, gateway: FakeGateway
) -> None:
    before = refusals(Code.METER_UNKNOWN)
    good = reading(0, now_ms(node))
    await gateway.publish(batch(good, change(good, sequence=1, meter="shed"), change(good, sequence=2)))
    await until_stored(gateway, {0, 2})
    assert refusals(Code.METER_UNKNOWN) == before + 1


async def test_gateway_of_a_revoked_member_is_refused(node: LedgerNode, gateway: FakeGateway) -> None:
    block = TradingChain().local.extend("m1", [revoke(MEMBER, expires=9)])
    assert (await node.peer.deliver(block)).status == "connected"
    before = refusals(Code.FRAME_UNKNOWN_SENDER)
    await gateway.publish(batch(reading(0, now_ms(node))))
    await wait_until_async(lambda: refusals(Code.FRAME_UNKNOWN_SENDER) == before + 1)


async def test_full_queue_refuses_what_comes_and_loses_nothing(
    node: LedgerNode, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings_intake, "MAX_QUEUED_READINGS", 5)
    before = refusals(Code.RATE_LIMITED)
    large = batch(*(reading(number, now_ms(node) + number) for number in range(6)))
    await gateway.publish(large)
    await wait_until_async(lambda: refusals(Code.RATE_LIMITED) == before + 1)
    assert gateway.stored == {}
    monkeypatch.setattr(readings_intake, "MAX_QUEUED_READINGS", 6)
    await gateway.publish(large)
    await until_stored(gateway, set(range(6)))


# other members


async def test_operators_ledger_stores_everybodys_readings_and_acknowledges_its_own(
    ledger_database: DatabaseSettings, tmp_path: Path
) -> None:
    node = LedgerNode(
        tmp_path, ledger_database, make_genesis(MARKET), readings_flush_ms=100, readings="all", operator=MEMBER
    )
    await node.start()
    await introduce(node)
    gateways = [FakeGateway(node.broker, member) for member in (MEMBER, "m1")]
    for each in gateways:
        await each.start()
    await gateways[1].publish(batch(reading(0, now_ms(node)), member="m1"))
    await gateways[0].publish(batch(reading(0, now_ms(node))))
    await until_stored(gateways[0], {0})
    with contextlib.closing(connect(ledger_database, application="test")) as connection:
        await wait_until_async(lambda: members_in(connection) == [MEMBER, "m1"])
    assert gateways[1].stored == {}
    assert (await ask(node)).stored == 1  # of our node
    for each in gateways:
        await each.stop()
    await node.stop()


async def test_ledger_of_another_member_does_not_see_our_readings(node: LedgerNode, gateway: FakeGateway) -> None:
    other = FakeGateway(node.broker, "m1")
    await other.start()
    await other.publish(batch(reading(0, now_ms(node)), member="m1"))
    await gateway.publish(batch(reading(5, now_ms(node))))
    await until_stored(gateway, {5})
    with contextlib.closing(connect(node.database, application="test")) as connection:
        assert members_in(connection) == [MEMBER]
    await other.stop()


async def test_only_a_gateway_sends_readings(node: LedgerNode, gateway: FakeGateway) -> None:
    """Rights of the broker say so too."""
    topic = mesh(Principal(MEMBER, "miner"), "reading")
    bus = node.broker.connect(Principal(MEMBER, "miner-2"), Rights(publish=(topic,), subscribe=()))
    await bus.start()
    before = refusals(Code.BAD_TOPIC)
    await bus.publish(topic, encode(batch(reading(0, now_ms(node)))))
    await wait_until_async(lambda: refusals(Code.BAD_TOPIC) == before + 1)
    await bus.stop()


def members_in(connection: Connection) -> list[object]:
    rows = connection.execute("SELECT DISTINCT member FROM readings ORDER BY member").fetchall()
    return [member for (member,) in rows]


# the database


@pytest.fixture(scope="module")
def own_server(session_work_dir: Path) -> Iterator[PostgresServer]:
    """A server that these tests may kill."""
    with PostgresServer(session_work_dir / "postgres-readings") as server:
        yield server


@pytest_asyncio.fixture
async def away(own_server: PostgresServer, tmp_path: Path) -> AsyncIterator[LedgerNode]:
    """A ledger on a server that may be killed."""
    settings = migrated(own_server.create_database(f"readings-{abs(hash(tmp_path)) % 10**9}"))
    made = LedgerNode(tmp_path, settings, make_genesis(MARKET), readings_flush_ms=50)
    await made.start()
    await introduce(made)
    yield made
    await made.stop()
    own_server.start()


async def test_database_that_is_away_loses_and_doubles_nothing(away: LedgerNode, own_server: PostgresServer) -> None:
    gateway = FakeGateway(away.broker)
    await gateway.start()
    spool = [
        batch(*(reading(10 * step + each, now_ms(away) + 10 * step + each) for each in range(10))) for step in range(20)
    ]
    await gateway.publish(spool[0])
    await until_stored(gateway, set(range(10)))
    own_server.kill()
    for sent in spool[1:15]:
        await gateway.publish(sent)
    await wait_until_async(lambda: away.context.status.get("status") == "failing")
    assert gateway.stored[SPOOL] == set(range(10))
    for sent in spool[5:20]:  # a gateway sends again what was not acknowledged
        await gateway.publish(sent)
    own_server.start()
    await until_stored(gateway, set(range(200)))
    found = await ask(away)
    assert (found.stored, found.conflicts, len(found.readings)) == (200, 0, 200)
    await gateway.stop()


async def test_nothing_is_acknowledged_before_it_is_committed(away: LedgerNode, own_server: PostgresServer) -> None:
    """The roll-up hangs in the middle of the transaction: readings are written, but not there yet."""
    gateway = FakeGateway(away.broker)
    await gateway.start()
    with psycopg.connect(own_server.superuser_conninfo(away.database.name), autocommit=True) as superuser:
        with superuser.transaction():
            superuser.execute("LOCK TABLE readings_minute IN EXCLUSIVE MODE")
            await gateway.publish(batch(reading(0, now_ms(away))))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'readings_minute'::regclass"
            await wait_until_async(lambda: superuser.execute(waiting.encode()).fetchone() == (1,))
            block = TradingChain().block()
            assert (await away.peer.deliver(block)).status == "connected"  # blocks do not wait for readings
            assert gateway.stored == {}
        await until_stored(gateway, {0})
    await gateway.stop()


async def test_batch_that_the_database_refuses_does_not_hold_up_the_others(
    away: LedgerNode, own_server: PostgresServer
) -> None:
    gateway, before = FakeGateway(away.broker), refusals(Code.INTERNAL)
    await gateway.start()
    with psycopg.connect(own_server.superuser_conninfo(away.database.name), autocommit=True) as superuser:
        superuser.execute("ALTER TABLE readings ADD CONSTRAINT odd CHECK (sequence <> 5)")
        with superuser.transaction():
            superuser.execute("LOCK TABLE readings_minute IN EXCLUSIVE MODE")
            for number in (4, 5, 6):
                await gateway.publish(batch(reading(number, now_ms(away) + number)))
    await until_stored(gateway, {4, 6})
    assert refusals(Code.INTERNAL) > before
    await gateway.stop()


@pytest.mark.parametrize(
    ("numbers", "ranges"),
    [
        ({3}, [(3, 3)]),
        ({3, 4, 5}, [(3, 5)]),
        ({9, 3, 5, 4, 11, 10}, [(3, 5), (9, 11)]),
    ],
)
def test_acknowledged_numbers_are_told_as_ranges(numbers: set[int], ranges: list[tuple[int, int]]) -> None:
    assert ranges_of(numbers) == ranges


# impossible times


GENESIS_MS = make_genesis(MARKET).body.created_ms


async def test_reading_with_an_impossible_time_is_put_aside_and_holds_up_nothing(
    node: LedgerNode, gateway: FakeGateway
) -> None:
    """Its gateway may forget it; the good ones of the same batch are stored."""
    good = now_ms(node)
    far = reading(1, good + readings_intake.MAX_OFF_MS + 1)
    early = reading(2, GENESIS_MS - readings_intake.MAX_OFF_MS - 1)
    before = refusals(Code.CLOCK_OFFSET)
    await gateway.publish(batch(reading(0, good), far, early, reading(3, good + 3)))
    await until_stored(gateway, {0, 3})
    await wait_until_async(lambda: gateway.refused == {SPOOL: {1, 2}}, describe=lambda: f"refused: {gateway.refused}")
    assert refusals(Code.CLOCK_OFFSET) == before + 1
    assert (await ask(node)).stored == 2
    assert aside(node) == [encode(far), encode(early)]


async def test_batch_of_nothing_but_impossible_times_is_acknowledged(node: LedgerNode, gateway: FakeGateway) -> None:
    await gateway.publish(batch(*(reading(number, number) for number in range(200))))
    await wait_until_async(lambda: gateway.refused == {SPOOL: set(range(200))}, timeout=20)
    assert len(aside(node)) == 200


async def test_readings_put_aside_are_stored_when_their_time_has_come(
    node: LedgerNode, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been the ledger's clock that was wrong: nothing is lost."""
    monkeypatch.setattr(readings_flush, "ASIDE_EVERY_MS", 50)
    later = [reading(number, now_ms(node) + 5 * readings_intake.MAX_OFF_MS + number) for number in range(3)]
    await gateway.publish(batch(*later))
    await wait_until_async(lambda: gateway.refused == {SPOOL: {0, 1, 2}}, timeout=20)
    node.clock.advance(5 * readings_intake.MAX_OFF_MS)
    await wait_until_async(lambda: aside(node) == [], timeout=20)
    found = await ask(node)
    assert [each.reading for each in reversed(found.readings)] == later


async def test_too_many_readings_with_impossible_times_stay_in_the_spool(
    node: LedgerNode, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings_aside, "MAX_ASIDE", 2)
    before = refusals(Code.RATE_LIMITED)
    await gateway.publish(batch(*(reading(number, number) for number in range(3)), reading(3, now_ms(node))))
    await wait_until_async(lambda: refusals(Code.RATE_LIMITED) == before + 1, timeout=20)
    await gateway.publish(batch(reading(9, now_ms(node))))
    await until_stored(gateway, {9})
    assert (gateway.refused, aside(node)) == ({}, [])


def aside(node: LedgerNode) -> list[object]:
    with contextlib.closing(connect(node.database, application="test")) as connection:
        rows = connection.execute("SELECT reading FROM readings_aside ORDER BY sequence").fetchall()
    return [raw for (raw,) in rows]


async def test_substituted_reading_has_values_and_a_reason(node: LedgerNode, gateway: FakeGateway) -> None:
    good = change(reading(0, now_ms(node)), quality="substituted", fault="crc")
    await gateway.publish(batch(good))
    await until_stored(gateway, {0})
    assert [each.reading for each in (await ask(node)).readings] == [good]
    before = refusals(Code.WRONG_SHAPE)
    await gateway.publish(batch(change(good, sequence=1, fault=msgspec.UNSET)))
    await wait_until_async(lambda: refusals(Code.WRONG_SHAPE) == before + 1)
