"""What has to hold of roll-ups, and of a bus on which things go wrong, at the end of the demo."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from minervas_devnet.checks import Check
from minervas_devnet.node import Node
from minervas_devnet.simulated_bus.control import InjectFault
from minervas_devnet.simulated_bus.faults import Fault
from minervas_devnet.simulated_meters import BUS, SimulatedMeters
from minervas_devnet.site import MeteredChannel
from minervas_devnet.stored_metering import RolledUp, StoredMetering
from minervas_devnet.waiting import POLL_S, stretched

STORED_S = 60.0
FAULTS: dict[Fault, str] = {
    "drop": "timeout",
    "bad_crc": "crc",
    "truncate": "short",
    "wrong_slave": "wrong_slave",
}
"""What a gateway calls that which goes wrong on the bus."""
HOUR_MS = 3_600_000


def disturb(meters: SimulatedMeters) -> None:
    """Let the next replies on a bus suffer each kind of fault once; with two meters none has to be left alone then."""
    for kind in FAULTS:
        meters.give(InjectFault(bus=BUS, kind=kind))


def check_faults(nodes: Sequence[Node]) -> list[Check]:
    """On each bus where something went wrong: each reply that was harmed is a sample missing for that."""
    return [_check_faults(node, node.meters) for node in nodes if node.meters and any(node.meters.injected().values())]


def _check_faults(node: Node, meters: SimulatedMeters) -> Check:
    injected = meters.injected()
    deadline = time.monotonic() + stretched(STORED_S)
    while not (holds := _all_found(injected, missing := _missing(node))) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    replies, measured = sum(meters.answered().values()), _measured(node)
    told = ", ".join(f"{injected[kind]} {kind} -> {missing[fault]} {fault}" for kind, fault in FAULTS.items())
    return Check(
        f"{node.member}: what went wrong on the bus is missing with its reason, never a value",
        holds and measured <= replies,
        f"{told}; {measured} of {replies} good replies measured",
    )


def check_roll_ups(nodes: Sequence[Node], slot_ms: int) -> list[Check]:
    """Today's energy of each channel by its roll-ups is what its register did, and no sample is left out."""
    return [_check_roll_ups(node, node.meters, slot_ms) for node in nodes if node.meters]


def _all_found(injected: dict[str, int], missing: Counter[str]) -> bool:
    return all(missing[fault] >= injected[kind] for kind, fault in FAULTS.items())


def _missing(node: Node) -> Counter[str]:
    found: Counter[str] = Counter()
    for channel in StoredMetering(node.member, node.database).channels().values():
        found.update(channel.missing)
    return found


def _measured(node: Node) -> int:
    return sum(each.measured for each in StoredMetering(node.member, node.database).channels().values())


def _check_roll_ups(node: Node, meters: SimulatedMeters, slot_ms: int) -> Check:
    found = StoredMetering(node.member, node.database).rolled_up()
    shown = meters.registers_wh()  # after the roll-ups: it only grows
    seen, holds = [], True
    for each in meters.site.channels:
        rolled_up = found.get(each.key, RolledUp(0, 0, 0, 0))
        behind_wh = shown[each.key] - rolled_up.last_mwh / 1000
        holds = holds and rolled_up.samples == rolled_up.rows > 0 and 0 <= behind_wh <= _slot_wh(each, slot_ms)
        seen.append(
            f"{each.channel}: {rolled_up.energy_wh} Wh from {rolled_up.samples} samples in {rolled_up.rows} rows, "
            f"the meter is at {shown[each.key]:.1f} Wh, {behind_wh:.1f} further"
        )
    return Check(f"{node.member}: the roll-ups have every sample and end where the register is", holds, "; ".join(seen))


def _slot_wh(channel: MeteredChannel, slot_ms: int) -> float:
    """Most that a register may have gone on since the newest roll-up: a slot at rated power, and a step."""
    return channel.rated_w * slot_ms * 11 / (10 * HOUR_MS) + channel.step_wh
