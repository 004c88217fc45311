"""A disk that fills up: readings are refused before blocks are, their spools keep them, and everybody can see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from minervas_core.encoding import decode
from minervas_core.errors import Code, TransientFault
from minervas_core.identifiers import Principal
from minervas_core.messages import MAX_PRESENCE_BYTES, Presence
from minervas_core.rights import ADMISSION, rights_for
from minervas_core.topics import mesh
from minervas_ledger import disk
from minervas_ledger.disk import MEGABYTE, DiskWatch, free_bytes
from minervas_ledger.settings import DatabaseSettings, DiskSettings
from minervas_ledger.templates import LOW_DISK
from minervas_runtime.bus import Message
from minervas_runtime.node_link import RemoteTrouble
from tests.support.builders import MARKET, make_genesis
from tests.support.fix_small_disk import SIZE_MB, SmallDisk
from tests.support.ledger import MEMBER, LedgerNode
from tests.support.ledger_market import SPOOL, FakeGateway, TradingChain, batch, reading
from tests.support.wait import wait_until_async

READINGS_MB = 12
BLOCKS_MB = 4
"""Limits on a real file system of 24 MB."""
SETTINGS = DiskSettings(readings_min_free_mb=1_000, blocks_min_free_mb=100)


@pytest.mark.parametrize(
    ("free_mb", "levels"),
    [
        ([1_000, 999, 1_050, 1_100], ["", "readings", "readings", ""]),
        ([100, 99, 105, 110, 2_000], ["readings", "blocks", "blocks", "readings", ""]),
        ([50, 5_000], ["blocks", ""]),
    ],
)
def test_what_is_refused_comes_back_with_some_room_to_spare(free_mb: list[int], levels: list[str]) -> None:
    left = iter(free_mb)
    watch = DiskWatch(SETTINGS, lambda: next(left) * MEGABYTE)
    found: list[str] = []
    for _ in free_mb:
        watch.look()
        found.append(watch.level)
    assert found == levels


def test_space_that_cannot_be_told_changes_nothing(tmp_path: Path) -> None:
    answers: list[int | None] = [0, None]
    watch = DiskWatch(SETTINGS, lambda: answers.pop(0))
    watch.look()
    watch.look()
    assert watch.level == "blocks"
    with pytest.raises(TransientFault) as caught:
        watch.check_blocks()
    assert caught.value.code == Code.DISK_LOW
    assert free_bytes(tmp_path / "nowhere") is None
    assert (free_bytes(tmp_path) or 0) > 0


@pytest_asyncio.fixture
async def node(
    ledger_database: DatabaseSettings, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerNode]:
    monkeypatch.setattr(disk, "LOOK_S", 0.05)
    watched = DiskSettings(
        directory=small_disk.directory, readings_min_free_mb=READINGS_MB, blocks_min_free_mb=BLOCKS_MB
    )
    made = LedgerNode(tmp_path, ledger_database, make_genesis(MARKET), readings_flush_ms=50, disk=watched)
    await made.start()
    for each in list(TradingChain().local.tip.blocks())[::-1]:
        await made.peer.deliver(TradingChain().local.chain._stored(each))
    yield made
    await made.stop()


def refusals() -> float:
    labels = {"service": "ledger", "kind": "readings", "code": Code.DISK_LOW}
    return REGISTRY.get_sample_value("minervas_refusals_total", labels) or 0


async def watched(node: LedgerNode, seen: Callable[[Presence], None]) -> None:
    """Listen to the ledger's presence, as admission does."""
    bus = node.broker.connect(ADMISSION, rights_for(ADMISSION, operator_member="other"))
    await bus.start()

    def receive(message: Message) -> None:
        if message.topic == mesh(Principal(MEMBER, "ledger"), "presence"):
            seen(decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES))

    await bus.subscribe("mesh/v1/+/+/presence", receive)


async def test_readings_are_refused_first_and_stored_when_there_is_room_again(
    node: LedgerNode, small_disk: SmallDisk
) -> None:
    seen: list[Presence] = []
    await watched(node, seen.append)
    gateway = FakeGateway(node.broker)
    await gateway.start()
    small_disk.leave(READINGS_MB - 2)
    await wait_until_async(lambda: seen and seen[-1].low_disk == "readings", timeout=20)
    await wait_until_async(lambda: node.context.status.get("refused_for_low_disk") == "readings", timeout=20)
    assert node.context.status.get("status") == "failing"
    assert REGISTRY.get_sample_value("minervas_disk_refusing") == 1
    before = refusals()
    sent = batch(*(reading(number, node.clock.now_ms() + number) for number in range(10)))
    await gateway.publish(sent)
    await wait_until_async(lambda: refusals() > before, timeout=20)
    assert gateway.stored == {}
    assert (await node.peer.deliver(TradingChain().block())).status == "connected"
    small_disk.leave(SIZE_MB)
    await wait_until_async(lambda: isinstance(seen[-1].low_disk, msgspec.UnsetType), timeout=20)
    await gateway.publish(sent)  # out of its spool
    await wait_until_async(lambda: gateway.stored.get(SPOOL) == set(range(10)), timeout=20)
    await gateway.stop()


async def test_blocks_are_refused_last_and_the_miner_rests(node: LedgerNode, small_disk: SmallDisk) -> None:
    small_disk.leave(1)
    await node.miner.paused(LOW_DISK)
    block = TradingChain().block()
    with pytest.raises(RemoteTrouble) as caught:
        await node.peer.deliver(block)
    assert caught.value.code == Code.DISK_LOW
    await wait_until_async(lambda: node.context.status.get("refused_for_low_disk") == "blocks", timeout=20)
    small_disk.leave(SIZE_MB)
    await node.miner.template()
    assert (await node.peer.deliver(block)).status == "connected"
