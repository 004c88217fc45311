"""The operator's ledger keeps what every service last said of itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from prometheus_client import REGISTRY

from minervas_core.encoding import encode
from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.messages import ChainTip, Presence
from minervas_core.rights import rights_for
from minervas_core.topics import mesh
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import connect
from tests.support.builders import make_genesis
from tests.support.ledger import MEMBER, LedgerNode
from tests.support.wait import wait_until_async

GATEWAY = Principal("m1", "meter-gateway")
PEER = Principal("m1", "peer")
TIP = ChainTip(height=7, hash="ab" * 32, work="99")


@pytest_asyncio.fixture
async def operator(ledger_database: DatabaseSettings, tmp_path: Path) -> AsyncIterator[LedgerNode]:
    node = LedgerNode(tmp_path, ledger_database, make_genesis(), readings="all", operator=MEMBER)
    yield node
    await node.stop()


async def say(node: LedgerNode, who: Principal, presence: Presence | bytes) -> None:
    bus = node.broker.connect(who, rights_for(who, operator_member=MEMBER))
    await bus.start()
    payload = presence if isinstance(presence, bytes) else encode(presence)
    await bus.publish(mesh(who, "presence"), payload, retain=True)
    await bus.stop()


def fleet(node: LedgerNode, who: Principal) -> list[tuple[object, ...]]:
    with contextlib.closing(connect(node.database, application="test")) as connection:
        return connection.execute(
            "SELECT state, version, last_seen_ms, certificate_expires_ms, tip_height, disk_use_per_mille,"
            " spool_use_per_mille, clock_offset_ms, low_disk FROM fleet WHERE member = %s AND service = %s",
            (who.member, who.service),
        ).fetchall()


async def until_fleet(node: LedgerNode, who: Principal, row: tuple[object, ...]) -> None:
    await wait_until_async(
        lambda: fleet(node, who) == [row], timeout=20, describe=lambda: f"{fleet(node, who)} instead of {row}"
    )


async def test_presence_of_all_members_is_kept(operator: LedgerNode) -> None:
    now_ms = operator.clock.now_ms()
    before = Presence(state="online", version="0.8", sent_at_ms=now_ms - 5_000, spool_use_per_mille=1)
    await say(operator, GATEWAY, before)
    await operator.start()
    await until_fleet(operator, GATEWAY, ("online", "0.8", now_ms - 5_000, None, None, None, 1, None, None))
    online = Presence(
        state="online", version="0.9", sent_at_ms=now_ms + 40, certificate_expires_ms=5, disk_use_per_mille=412,
        spool_use_per_mille=3,
    )  # fmt: skip
    await say(operator, GATEWAY, online)
    await say(operator, PEER, Presence(state="online", version="1", sent_at_ms=now_ms, tip=TIP, low_disk="blocks"))
    await until_fleet(operator, GATEWAY, ("online", "0.9", now_ms, 5, None, 412, 3, 40, None))
    await until_fleet(operator, PEER, ("online", "1", now_ms, None, 7, None, None, 0, "blocks"))


async def test_what_a_gateway_tells_of_its_clock_and_spool_is_kept(operator: LedgerNode) -> None:
    await operator.start()
    told = Presence(
        state="online", version="1", sent_at_ms=operator.clock.now_ms(), clock_synchronised=False, clock_offset_ms=-70,
        spool_readings=12,
    )  # fmt: skip
    await say(operator, GATEWAY, told)
    await wait_until_async(lambda: fleet(operator, GATEWAY), timeout=20)
    with contextlib.closing(connect(operator.database, application="test")) as connection:
        row = connection.execute(
            "SELECT clock_synchronised, told_offset_ms, spool_readings FROM fleet WHERE service = 'meter-gateway'"
        ).fetchall()
    assert row == [(False, -70, 12)]


async def test_who_is_offline_keeps_what_it_said_before(operator: LedgerNode) -> None:
    await operator.start()
    now_ms = operator.clock.now_ms()
    await say(operator, PEER, Presence(state="online", version="1", sent_at_ms=now_ms, tip=TIP))
    await until_fleet(operator, PEER, ("online", "1", now_ms, None, 7, None, None, 0, None))
    operator.clock.advance(60_000)
    await say(operator, PEER, Presence(state="offline", version="1", sent_at_ms=now_ms))
    await until_fleet(operator, PEER, ("offline", "1", now_ms, None, 7, None, None, 0, None))


async def test_presence_that_is_none_is_counted_and_changes_nothing(operator: LedgerNode) -> None:
    await operator.start()
    labels = {"service": "ledger", "kind": "presence", "code": Code.WRONG_SHAPE}
    before = REGISTRY.get_sample_value("minervas_refusals_total", labels) or 0
    await say(operator, PEER, b"{}")
    await wait_until_async(lambda: REGISTRY.get_sample_value("minervas_refusals_total", labels) == before + 1)
    await say(operator, GATEWAY, Presence(state="online", version="1", sent_at_ms=operator.clock.now_ms()))
    await wait_until_async(lambda: fleet(operator, GATEWAY), timeout=20)
    assert fleet(operator, PEER) == []


async def test_ledger_of_a_member_keeps_no_fleet(ledger_database: DatabaseSettings, tmp_path: Path) -> None:
    """It may not even see the others, but for its own."""
    node = LedgerNode(tmp_path, ledger_database, make_genesis())
    await node.start()
    own = Principal(MEMBER, "peer-2")
    await say(node, own, Presence(state="online", version="1", sent_at_ms=node.clock.now_ms()))
    await node.stop()
    assert fleet(node, own) == []
