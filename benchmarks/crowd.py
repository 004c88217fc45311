"""Members' peers that are connected and publish, each once in a while: the load beside a measurement.

A process of its own, so that it holds up nobody who measures. It says ``ready`` when all are connected, ends with its
standard input, and then says how many messages the broker took.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from minervas_core.identifiers import Principal
from minervas_core.topics import mesh
from minervas_runtime.mqtt_bus import BusSettings, MqttBus

PAYLOAD = bytes(500)


def main() -> None:
    """Connect, publish, and end with standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("directory", type=Path, help="with a folder for each member")
    parser.add_argument("interval_s", type=float, help="between two messages of a member")
    parser.add_argument("members", nargs="+")
    asyncio.run(_crowd(parser.parse_args()))


async def _crowd(arguments: argparse.Namespace) -> None:
    buses = [_bus(arguments, member) for member in arguments.members]
    for bus in buses:
        await bus.start()
    sent = [0] * len(buses)
    talking = [asyncio.create_task(_talk(bus, place, sent, arguments.interval_s)) for place, bus in enumerate(buses)]
    _say("ready")
    await asyncio.to_thread(sys.stdin.read)
    for task in talking:
        task.cancel()
    await asyncio.gather(*talking, return_exceptions=True)
    await asyncio.gather(*(bus.stop() for bus in buses))
    _say(str(sum(sent)))


def _bus(arguments: argparse.Namespace, member: str) -> MqttBus:
    folder = arguments.directory / member
    return MqttBus(
        BusSettings(
            host=arguments.host,
            port=arguments.port,
            ca_file=folder / "ca.crt",
            cert_file=folder / "peer.crt",
            key_file=folder / "peer.key",
            principal=str(Principal(member, "peer")),
        )
    )


async def _talk(bus: MqttBus, place: int, sent: list[int], interval_s: float) -> None:
    topic = mesh(Principal(bus.principal.split(".")[0], "peer"), "hello")
    while True:
        await bus.publish(topic, PAYLOAD)
        sent[place] += 1
        await asyncio.sleep(interval_s)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
