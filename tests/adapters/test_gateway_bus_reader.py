"""Manners on a bus: pauses between slaves, a timeout for each meter, and faults counted by kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from minervas_core.meter_maps.meter_map import Block
from minervas_meter_gateway.block_read import BlockRead
from minervas_meter_gateway.bus_plan import PortPlan, SerialPlan
from minervas_meter_gateway.bus_reader import BusReader
from minervas_meter_gateway.port_worker import PortWorker
from minervas_runtime.clock import SystemClock
from tests.support.fake_slaves import FakeSlaves, span, words
from tests.support.gateway import ARRAY, PV1, MeterSpec, load, write_settings

PLAN = SerialPlan(device="fake", baud=9_600, parity="none", stop_bits=1, timeout_ms=200, local_echo=False)
BLOCK = Block(function=4, start=0, count=2)
PAUSE_MS = 200


class PretendedTime:
    """A monotonic clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 1_000
        self.waits: list[int] = []

    def now_ms(self) -> int:
        return self.now

    def wait_ms(self, time_ms: int) -> None:
        self.waits.append(time_ms)
        self.now += time_ms


@pytest.fixture
def time() -> PretendedTime:
    return PretendedTime()


def reader_of(slaves: FakeSlaves, time: PretendedTime) -> BusReader:
    return BusReader(slaves.recording(), PLAN, wait_ms=time.wait_ms, now_ms=time.now_ms)


def plan_of(directory: Path, meters: list[MeterSpec], *, change: tuple[str, str] = ("", "")) -> PortPlan:
    file = write_settings(directory, {"roof": "/dev/none"}, meters)
    file.write_text(file.read_text().replace("timeout_ms = 200\n", "").replace(*change))
    return load(file)[1][0]


def test_a_meter_that_wants_a_pause_gets_it_after_another_one_was_asked(time: PretendedTime) -> None:
    reader = reader_of(FakeSlaves({1: span(4, 0, 2), 2: span(4, 0, 2)}), time)
    reader.read(1, BLOCK, pause_ms=PAUSE_MS, timeout_ms=200)
    reader.read(1, BLOCK, pause_ms=PAUSE_MS, timeout_ms=200)
    assert time.waits == []
    time.now += 50
    reader.read(2, BLOCK, pause_ms=PAUSE_MS, timeout_ms=200)
    assert time.waits == [PAUSE_MS - 50]
    reader.read(1, BLOCK, pause_ms=0, timeout_ms=200)
    assert time.waits == [PAUSE_MS - 50]


def test_waiting_for_a_silent_meter_counts_as_silence(time: PretendedTime) -> None:
    reader = reader_of(FakeSlaves({2: span(4, 0, 2)}), time)
    assert reader.read(1, BLOCK, pause_ms=PAUSE_MS, timeout_ms=200).fault == "timeout"
    time.now += PAUSE_MS  # what the timeout takes on a real port
    reader.read(2, BLOCK, pause_ms=PAUSE_MS, timeout_ms=200)
    assert time.waits == []


def test_each_meter_has_the_timeout_that_it_needs(time: PretendedTime) -> None:
    slaves = FakeSlaves({1: span(4, 0, 2), 2: span(4, 0, 2)})
    reader = reader_of(slaves, time)
    reader.read(1, BLOCK, pause_ms=0, timeout_ms=5_000)
    reader.read(2, BLOCK, pause_ms=0, timeout_ms=100)
    assert slaves.timeouts == [5.0, 0.1]


def test_pauses_and_timeouts_come_from_the_map_unless_given(tmp_path: Path) -> None:
    huawei = MeterSpec("inverter", 4, map="huawei-sun2000", input="ac", rated_w=5_000)
    plan = plan_of(tmp_path, [PV1, ARRAY, huawei])
    assert [(meter.pause_ms, meter.timeout_ms) for meter in plan.meters] == [(0, 200), (200, 200), (0, 5_000)]
    assert plan.serial.timeout_ms == 5_000
    given = plan_of(tmp_path, [PV1, ARRAY], change=("address = 3\n", "address = 3\npause_ms = 25\n"))
    assert given.meters[1].pause_ms == 25


def test_pauses_are_part_of_the_estimated_time(tmp_path: Path) -> None:
    alone, both = plan_of(tmp_path, [ARRAY]), plan_of(tmp_path, [PV1, ARRAY])
    without = plan_of(tmp_path, [PV1, ARRAY], change=("address = 3\n", "address = 3\npause_ms = 0\n"))
    assert both.wire_ms == without.wire_ms + 200
    assert alone.wire_ms < 200


def test_a_port_with_a_slow_inverter_is_left_alone_after_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(PortWorker, "_wait_ms", lambda _, time_ms: waits.append(time_ms))
    plan = plan_of(tmp_path, [MeterSpec("inverter", 4, map="huawei-sun2000", input="ac", rated_w=5_000)])
    worker_on(plan, FakeSlaves({})).read_once()
    assert waits[0] == 1_000


def worker_on(plan: PortPlan, slaves: FakeSlaves) -> PortWorker:
    return PortWorker(
        plan, interval_ms=1_000, clock=SystemClock(), on_samples=lambda _: None, opener=lambda _: slaves.recording()
    )


def test_failed_reads_are_counted_by_meter_and_kind(tmp_path: Path) -> None:
    worker = worker_on(plan_of(tmp_path, [PV1, ARRAY]), FakeSlaves({3: words(4, 0, 1)}))
    worker.read_once()
    worker.read_once()
    assert worker.fault_counts() == {("pv1", "timeout"): 2, ("array", "exception_2"): 2}


def test_an_echo_is_counted_as_one(tmp_path: Path) -> None:
    worker = worker_on(plan_of(tmp_path, [PV1]), FakeSlaves({1: span(4, 0, 8)}, echoes=True))
    worker.read_once()
    assert worker.fault_counts() == {("pv1", "echo"): 1}


@pytest.mark.parametrize("echoes", [False, True])
def test_an_exception_is_not_waited_for_until_the_timeout(time: PretendedTime, *, echoes: bool) -> None:
    slaves = FakeSlaves({1: span(4, 0, 2)}, echoes=echoes)
    plan = dataclasses.replace(PLAN, local_echo=echoes)
    reader = BusReader(slaves.recording(), plan, wait_ms=time.wait_ms, now_ms=time.now_ms)
    absent = Block(function=4, start=100, count=10)
    assert reader.read(1, absent, pause_ms=0, timeout_ms=200).kind == "exception_2"
    assert reader.read(1, BLOCK, pause_ms=0, timeout_ms=200).registers == (0, 0)
    assert slaves.unanswered == 0


@pytest.mark.parametrize("code", [1, 2, 4, 11])
def test_an_exception_is_counted_with_its_code(code: int) -> None:
    assert BlockRead(b"", bytes([1, 0x84, code, 0, 0]), "exception").kind == f"exception_{code}"
