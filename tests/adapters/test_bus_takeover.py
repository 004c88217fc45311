"""Two processes with one certificate: the later one gets the session, and the earlier one does not fight for it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.rights import rights_for
from minervas_core.topics import mesh
from minervas_runtime.bus import BusRefused, BusRevoked
from minervas_runtime.memory_bus import MemoryBroker
from minervas_runtime.mqtt_connection import Closed
from minervas_runtime.mqtt_refusals import judge_loss
from tests.support.fix_broker import OPERATOR_MEMBER, Broker
from tests.support.wait import wait_until_async


async def test_in_memory_the_earlier_one_is_told_and_steps_back() -> None:
    alice = Principal("alice", "peer")
    broker, rights = MemoryBroker(), rights_for(alice, operator_member=OPERATOR_MEMBER)
    first, second = broker.connect(alice, rights), broker.connect(alice, rights)
    await first.start()
    await second.start()
    assert isinstance(first.refusal, BusRefused)
    assert "Another process" in first.refusal.message
    await second.publish(mesh(alice, "tx"), b"from the second")
    with pytest.raises(BusRefused, match="Another process"):
        await first.publish(mesh(alice, "tx"), b"from the first")
    await second.stop()
    await first.stop()


async def test_a_broker_that_names_the_takeover_makes_us_step_back(broker: Broker) -> None:
    alice = Principal("takeover-told", "peer")
    settings = broker.settings(alice, broker.issue(alice))
    refusal = judge_loss(Closed("Session taken over", reason=0x8E), settings)
    assert refusal is not None
    assert refusal.code == Code.BUS_REFUSED
    assert not isinstance(refusal, BusRevoked)
    assert judge_loss(Closed("Server shutting down", reason=0x8B), settings) is None


async def test_a_broker_that_does_not_name_it_sees_ever_longer_pauses(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    alice = Principal("takeover-untold", "peer")
    files = broker.admit(alice)
    buses = [broker.bus(alice, files, retry_min_s=0.02, retry_max_s=60.0) for _ in range(2)]
    connects: list[float] = []
    loop = asyncio.get_running_loop()
    for bus in buses:
        bus.on_connection_change(lambda connected: connects.append(loop.time()) if connected else None)
        await bus.start()
    await wait_until_async(lambda: "bus_unstable" in caplog.messages, describe="the explanation in the log")
    pauses = [later - earlier for earlier, later in itertools.pairwise(connects)]
    assert max(pauses[-3:]) > 5 * max(pauses[:2])
    for bus in buses:
        await bus.stop()
