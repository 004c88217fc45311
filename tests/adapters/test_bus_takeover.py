"""Two processes with one certificate: the later one gets the session, and the earlier one does not fight for it."""

from __future__ import annotations

import asyncio

import pytest

from minervas_core.errors import Code
from minervas_core.identifiers import Principal
from minervas_core.rights import rights_for
from minervas_core.topics import mesh
from minervas_runtime.bus import BusRefused, BusRevoked
from minervas_runtime.memory_bus import MemoryBroker
from minervas_runtime.mqtt_bus import UNSTABLE_AFTER
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
    caplog.set_level("DEBUG", "minervas_runtime.mqtt_bus")
    alice = Principal("takeover-untold", "peer")
    files = broker.admit(alice)
    shortest_s = 0.02
    buses = [broker.bus(alice, files, retry_min_s=shortest_s, retry_max_s=60.0) for _ in range(2)]
    begin = asyncio.get_running_loop().time()
    for bus in buses:
        await bus.start()
    if "mosquitto version 2.1" in broker.server.output():
        await wait_until_async(lambda: any(bus.refusal for bus in buses), describe="the end that 2.1 gives a name")
        for bus in buses:
            await bus.stop()
        return
    await wait_until_async(lambda: "bus_unstable" in caplog.messages, describe="the explanation in the log")
    took_s = asyncio.get_running_loop().time() - begin
    for bus in buses:
        await bus.stop()
    retries = [record.fields for record in caplog.records if record.getMessage() == "bus_retry"]  # type: ignore[attr-defined]  # ours
    assert {retry["failures"] for retry in retries} >= set(range(1, UNSTABLE_AFTER + 1))
    for retry in retries:
        longest_s = shortest_s * 2 ** (retry["failures"] - 1)
        assert longest_s / 2 <= retry["pause_s"] <= longest_s
    slept_s = [
        min(retry["pause_s"] for retry in retries if retry["failures"] == number)
        for number in range(1, UNSTABLE_AFTER + 1)
    ]
    assert took_s >= sum(slept_s)
