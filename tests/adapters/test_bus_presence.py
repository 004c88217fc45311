"""Presence: retained, renewed after every connect, offline by the will."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minervas_core.encoding import decode
from minervas_core.identifiers import Principal
from minervas_core.messages import MAX_PRESENCE_BYTES, Presence
from minervas_runtime.bus import Message
from minervas_runtime.host_state import disk_use_per_mille
from minervas_runtime.kernel_clock import kernel_clock
from minervas_runtime.presence import PresencePublisher, offline_will
from tests.support.fix_bus import BusWorld
from tests.support.wait import wait_until_async


class Watcher:
    """Follows one principal's presence."""

    def __init__(self, watched: Principal) -> None:
        self.states: list[tuple[str, int]] = []
        self._watched = f"/{watched.member}/"

    def __call__(self, message: Message) -> None:
        if self._watched in message.topic:
            presence = decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES)
            self.states.append((presence.state, presence.sent_at_ms))


async def watch(world: BusWorld, watched: Principal) -> Watcher:
    watcher = Watcher(watched)
    bus = await world.connect(Principal(world.member(), "peer"))
    await bus.subscribe("mesh/v1/+/+/presence", watcher)
    return watcher


async def test_presence_is_published_at_start_on_change_and_becomes_offline_at_the_end(bus_world: BusWorld) -> None:
    alice = Principal(bus_world.member(), "peer")
    watcher = await watch(bus_world, alice)
    bus = await bus_world.connect(alice, will=offline_will(alice.member, "peer", version="1", now_ms=7))
    times = iter(range(100, 200))
    publisher = PresencePublisher(
        bus, alice.member, "peer", lambda: Presence(state="online", version="1", sent_at_ms=next(times))
    )
    publisher.start()
    await wait_until_async(lambda: watcher.states, describe="the first presence")
    publisher.changed()
    publisher.changed()
    await wait_until_async(lambda: len(watcher.states) == 2, describe="the changed presence")
    await publisher.stop()
    await bus.stop()
    await wait_until_async(lambda: len(watcher.states) == 3, describe="the will")
    assert watcher.states == [("online", 100), ("online", 101), ("offline", 7)]
    late = await watch(bus_world, alice)
    await wait_until_async(lambda: late.states, describe="the retained presence")
    assert late.states == [("offline", 7)]


async def test_presence_is_published_again_after_a_reconnect_and_replaces_the_will(bus_world: BusWorld) -> None:
    alice = Principal(bus_world.member(), "peer")
    bus = await bus_world.connect(alice, will=offline_will(alice.member, "peer", version="1", now_ms=7))
    publisher = PresencePublisher(
        bus, alice.member, "peer", lambda: Presence(state="online", version="1", sent_at_ms=100)
    )
    publisher.start()
    bus_world.cut()
    await wait_until_async(lambda: not bus.connected, describe="the loss of the connection")
    bus_world.restore()
    await wait_until_async(lambda: bus.connected, describe="the reconnect")
    watcher = await watch(bus_world, alice)
    await wait_until_async(lambda: watcher.states[-1:] == [("online", 100)], describe=lambda: str(watcher.states))
    await publisher.stop()


async def test_presence_is_renewed_without_any_change(bus_world: BusWorld) -> None:
    alice = Principal(bus_world.member(), "peer")
    watcher = await watch(bus_world, alice)
    bus = await bus_world.connect(alice)
    publisher = PresencePublisher(
        bus,
        alice.member,
        "peer",
        lambda: Presence(state="online", version="1", sent_at_ms=1),
        interval_s=0.02,
    )
    publisher.start()
    await wait_until_async(lambda: len(watcher.states) >= 3, describe="three publications")
    await publisher.stop()


async def test_presence_goes_on_after_a_publication_that_failed(
    bus_world: BusWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    alice = Principal(bus_world.member(), "peer")
    bus = await bus_world.connect(alice)
    publisher = PresencePublisher(
        bus, alice.member, "peer", lambda: Presence(state="online", version="1", sent_at_ms=1)
    )
    bus_world.cut()
    publisher.start()
    await wait_until_async(lambda: "presence_not_published" in caplog.messages, describe="the failed publication")
    bus_world.restore()
    watcher_bus = bus_world.bus(Principal(bus_world.member(), "peer"))
    await watcher_bus.start()
    watcher = Watcher(alice)
    await watcher_bus.subscribe("mesh/v1/+/+/presence", watcher)
    await wait_until_async(lambda: watcher.states, describe="the next publication")
    await publisher.stop()


async def test_presence_tells_of_the_disk_and_the_clock_of_the_host(bus_world: BusWorld, tmp_path: Path) -> None:
    alice = Principal(bus_world.member(), "peer")
    heard: list[Presence] = []
    watcher = await bus_world.connect(Principal(bus_world.member(), "peer"))
    await watcher.subscribe(
        "mesh/v1/+/+/presence",
        lambda message: heard.append(decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES)),
    )
    bus = await bus_world.connect(alice)
    publisher = PresencePublisher(
        bus, alice.member, "peer", lambda: Presence(state="online", version="1", sent_at_ms=3), data=tmp_path
    )
    publisher.start()
    await wait_until_async(lambda: [each for each in heard if each.sent_at_ms == 3], describe="the presence")
    [told, *_] = [each for each in heard if each.sent_at_ms == 3]
    block = os.statvfs(tmp_path)
    taken = block.f_blocks - block.f_bfree
    assert isinstance(told.disk_use_per_mille, int)
    assert abs(told.disk_use_per_mille - 1000 * taken // (taken + block.f_bavail)) <= 20  # others use the disk, too
    assert told.clock_synchronised == kernel_clock().synchronised
    assert isinstance(told.clock_offset_ms, int) == told.clock_synchronised
    await publisher.stop()


def test_a_disk_that_cannot_be_asked_is_left_out(tmp_path: Path) -> None:
    assert disk_use_per_mille(tmp_path / "gone") is None
