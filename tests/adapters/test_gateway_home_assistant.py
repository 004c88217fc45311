"""Home Assistant finds every channel, and its templates read our batches as a person would."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import pytest_asyncio

from minervas_core.encoding import encode
from minervas_core.identifiers import Principal
from minervas_core.metering import Reading, ReadingBatchBody, sign_batch
from minervas_core.rights import Rights, rights_for
from minervas_core.topics import matches, mesh
from minervas_meter_gateway.bus_plan import PortPlan
from minervas_meter_gateway.discovery_publisher import DiscoveryPublisher
from minervas_meter_gateway.home_assistant import FRESH_S, discovery
from minervas_runtime.bus import Message
from tests.support.fix_broker import Broker
from tests.support.gateway import ARRAY, GATEWAY, GATEWAY_KEY, NETWORK, NOW_MS, PV1, load, reading, write_settings
from tests.support.wait import wait_until_async


@pytest.fixture
def ports(tmp_path: Path) -> tuple[PortPlan, ...]:
    return load(write_settings(tmp_path, {"roof": Path("/dev/null")}, [PV1, ARRAY]))[1]


def sensors(ports: tuple[PortPlan, ...]) -> dict[str, dict[str, Any]]:
    """By name of the sensor."""
    return {topic.split("/")[3]: json.loads(body) for topic, body in discovery(GATEWAY, ports, NETWORK).items()}


def shown(sensor: dict[str, Any], readings: list[Reading], *, age_s: float = 1.0) -> str:
    """What Home Assistant makes of a batch that comes so long after its samples."""
    body = ReadingBatchBody(
        network=NETWORK, member=GATEWAY.member, gateway=GATEWAY_KEY.public, spool="0" * 32, readings=readings
    )
    batch = json.loads(encode(sign_batch(body, GATEWAY_KEY)))
    now = dt.datetime.fromtimestamp(NOW_MS / 1000 + age_s, tz=dt.UTC)
    template = jinja2.Environment(autoescape=True).from_string(sensor["value_template"])
    return template.render(value_json=batch, now=lambda: now)


def test_every_quantity_of_every_channel_is_announced_within_our_rights(ports: tuple[PortPlan, ...]) -> None:
    found = discovery(GATEWAY, ports, NETWORK)
    channels = [(meter.id, channel.name) for port in ports for meter in port.meters for channel in meter.channels]
    assert {topic.split("/")[3] for topic in found} == {
        f"{meter}_{channel}_{quantity}"
        for meter, channel in channels
        for quantity in ("power", "energy", "voltage", "current")
    }
    rights = rights_for(GATEWAY, operator_member="other")
    assert all(any(matches(allowed, topic) for allowed in rights.publish) for topic in found)
    assert len({each["unique_id"] for each in sensors(ports).values()}) == len(found)


def test_energy_counts_for_the_energy_dashboard(ports: tuple[PortPlan, ...]) -> None:
    energy = sensors(ports)[f"{PV1.key[0]}_{PV1.key[1]}_energy"]
    assert (energy["device_class"], energy["state_class"], energy["unit_of_measurement"]) == (
        "energy", "total_increasing", "kWh",
    )  # fmt: skip
    assert energy["state_topic"] == mesh(GATEWAY, "reading")
    assert energy["availability_topic"] == mesh(GATEWAY, "presence")
    assert energy["expire_after"] == FRESH_S


def test_a_sensor_shows_the_newest_value_of_its_channel(ports: tuple[PortPlan, ...]) -> None:
    meter, channel = PV1.key
    mine = [reading(number, NOW_MS - 3 + number, 1_234_000 + number, meter=meter, channel=channel) for number in (1, 2)]
    other = reading(3, NOW_MS, 9_000_000, meter=ARRAY.key[0], channel=ARRAY.key[1])
    missing = reading(4, NOW_MS, None, meter=meter, channel=channel)
    batch = [*mine, other, missing]
    assert shown(sensors(ports)[f"{meter}_{channel}_energy"], batch) == "1.234002"
    assert shown(sensors(ports)[f"{meter}_{channel}_power"], batch) == "1.0"


def test_nothing_is_shown_for_a_missing_value_another_channel_or_the_backlog(ports: tuple[PortPlan, ...]) -> None:
    """Home Assistant ignores an empty value; the old one expires. Nothing missing is ever 0."""
    meter, channel = PV1.key
    energy = sensors(ports)[f"{meter}_{channel}_energy"]
    assert shown(energy, [reading(1, NOW_MS, None, meter=meter, channel=channel)]) == ""
    assert shown(energy, [reading(1, NOW_MS, 5, meter=ARRAY.key[0], channel=ARRAY.key[1])]) == ""
    mine = [reading(1, NOW_MS, 5, meter=meter, channel=channel)]
    assert shown(energy, mine, age_s=FRESH_S - 1) != ""
    assert shown(energy, mine, age_s=FRESH_S + 1) == ""


class Found:
    """What a Home Assistant on the broker has found: retained, with the last word for each topic."""

    def __init__(self) -> None:
        self.topics: dict[str, bytes] = {}

    def __call__(self, message: Message) -> None:
        self.topics[message.topic] = message.payload

    def alive(self) -> set[str]:
        return {topic for topic, payload in self.topics.items() if payload}


@pytest_asyncio.fixture
async def found(broker: Broker, member: str) -> AsyncIterator[Found]:
    """A Home Assistant with the right to read what one gateway announces."""
    name = Principal(f"{member}-home", "peer")
    wanted = f"homeassistant/+/minervas-{member}-meter-gateway/+/config"
    broker.grant(name, Rights(publish=(), subscribe=(wanted,)))
    heard = Found()
    bus = broker.bus(name, broker.issue(name))
    await bus.start()
    await bus.subscribe(wanted, heard)
    yield heard
    await bus.stop()


class Gateways:
    """Runs of one gateway's publisher."""

    def __init__(self, broker: Broker, member: str, memory: Path) -> None:
        self.me = Principal(member, "meter-gateway")
        self._broker = broker
        self._files = broker.admit(self.me)
        self._memory = memory

    async def run_until(self, wanted: dict[str, bytes], done: Callable[[], bool]) -> None:
        bus = self._broker.bus(self.me, self._files)
        running = asyncio.create_task(DiscoveryPublisher(bus, wanted, self._memory).run())
        await bus.start()
        await wait_until_async(done, describe="what was announced")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bus.stop()


async def test_a_removed_channel_is_taken_back_at_the_next_start(
    broker: Broker, member: str, found: Found, ports: tuple[PortPlan, ...], tmp_path: Path
) -> None:
    gateways = Gateways(broker, member, tmp_path / "home_assistant.json")
    everything = discovery(gateways.me, ports, NETWORK)
    await gateways.run_until(everything, lambda: found.topics == everything)
    fewer = {topic: body for topic, body in everything.items() if f"/{PV1.id}_" in topic}
    await gateways.run_until(fewer, lambda: found.alive() == fewer.keys())
    await gateways.run_until({}, lambda: not found.alive())


async def test_a_lost_memory_loses_nothing_that_is_still_read(
    broker: Broker, member: str, found: Found, ports: tuple[PortPlan, ...], tmp_path: Path
) -> None:
    memory = tmp_path / "home_assistant.json"
    memory.write_text("{damaged")
    gateways = Gateways(broker, member, memory)
    everything = discovery(gateways.me, ports, NETWORK)
    await gateways.run_until(everything, lambda: found.topics == everything)
    await gateways.run_until({}, lambda: not found.alive())


async def test_what_was_announced_is_retained_for_whoever_comes_later(
    broker: Broker, member: str, ports: tuple[PortPlan, ...], found: Found, tmp_path: Path
) -> None:
    gateways = Gateways(broker, member, tmp_path / "home_assistant.json")
    everything = discovery(gateways.me, ports, NETWORK)
    await gateways.run_until(everything, lambda: found.topics == everything)
    name = Principal(f"{member}-late", "peer")
    wanted = f"homeassistant/+/minervas-{member}-meter-gateway/+/config"
    broker.grant(name, Rights(publish=(), subscribe=(wanted,)))
    late, heard = broker.bus(name, broker.issue(name)), Found()
    await late.start()
    await late.subscribe(wanted, heard)
    await wait_until_async(lambda: heard.topics == everything, describe="the retained announcements")
    await late.stop()
