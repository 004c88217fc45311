"""The thread that owns a port, on real pseudo terminals with real Modbus slaves and injected faults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from minervas_core.meter_maps.modbus_frames import read_request
from minervas_meter_gateway.block_read import instrument_on, read_block
from minervas_meter_gateway.bus_plan import PortPlan
from minervas_meter_gateway.channel_readings import judge_channel
from minervas_meter_gateway.port_worker import METER_FAILURES_TOLERATED, MeterSample, PortWorker
from minervas_meter_gateway.register_watch import RegisterWatch
from minervas_meter_gateway.serial_port import PortLost, open_port
from minervas_runtime.clock import SystemClock
from tests.support.fix_simulated_bus import BusRack
from tests.support.gateway import ARRAY, PV1, PV2, MeterSpec, load, pzem_reply, write_settings
from tests.support.wait import wait_until_async

FAST_MS = 100


class Workers:
    """Port workers whose samples are collected, by meter."""

    def __init__(self, directory: Path) -> None:
        self.samples: dict[str, list[MeterSample]] = {}
        self._directory = directory
        self._lock = threading.Lock()
        self._running: list[PortWorker] = []

    def start(
        self,
        devices: dict[str, Path | str],
        meters: list[MeterSpec],
        *,
        interval_ms: int = FAST_MS,
        timeout_ms: int = 100,
    ) -> list[PortWorker]:
        """Start a worker for each port."""
        settings, plans = load(
            write_settings(self._directory, devices, meters, interval_ms=interval_ms, timeout_ms=timeout_ms)
        )
        workers = [
            PortWorker(plan, interval_ms=settings.sampling.interval_ms, clock=SystemClock(), on_samples=self._collect)
            for plan in plans
        ]
        self._running += workers
        for worker in workers:
            worker.start()
        return workers

    def of(self, meter: str) -> list[MeterSample]:
        """Samples of a meter so far."""
        with self._lock:
            return list(self.samples.get(meter, []))

    def faults(self, meter: str) -> list[str | None]:
        """Fault of each sample of a meter."""
        return [block.fault for sample in self.of(meter) for block in sample.blocks.values()]

    async def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait for something about the samples."""
        await wait_until_async(condition, describe=lambda: str({name: self.faults(name) for name in self.samples}))

    async def stop(self) -> None:
        for worker in self._running:
            worker.stop_soon()
        for worker in self._running:
            await asyncio.to_thread(worker.join, 5.0)

    def _collect(self, samples: list[MeterSample]) -> None:
        with self._lock:
            for sample in samples:
                self.samples.setdefault(sample.meter.id, []).append(sample)


@pytest_asyncio.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    made = Workers(tmp_path)
    yield made
    await made.stop()


def plan_of(directory: Path, device: Path | str, meters: list[MeterSpec], more: str = "") -> PortPlan:
    """The plan of the only port; `more` stands in its section."""
    file = write_settings(directory, {"roof": device}, meters)
    file.write_text(file.read_text().replace("timeout_ms = 200\n", f"timeout_ms = 100\n{more}"))
    return load(file)[1][0]


async def test_what_the_meters_show_is_what_is_read(bus_rack: BusRack, workers: Workers) -> None:
    bus = await bus_rack.add("roof", {1: ("pzem-003", 120), 3: ("sdm630", 30_000)}, start_wh=1_234_560)
    workers.start({"roof": bus_rack.device("roof")}, [PV1, ARRAY])
    await workers.wait_for(lambda: workers.of("pv1") and workers.of("array"))
    for sample in (workers.of("pv1")[0], workers.of("array")[0]):
        channel = sample.meter.channels[0]
        judged = judge_channel(sample, channel, RegisterWatch(channel.rated_w, 10))
        assert judged.values is not None
        shown = bus.status()["meters"][str(sample.meter.address)]
        assert judged.values.power_mw / 1_000 == pytest.approx(shown["power_w"], rel=0.01)
        assert abs(judged.values.energy_mwh / 1_000 - shown["export_wh"]) < 20
        watts = (judged.values.voltage_mv or 0) * (judged.values.current_ma or 0) / 1_000_000
        assert watts == pytest.approx(judged.values.power_mw / 1_000, rel=0.02)


async def test_the_raw_request_and_reply_are_kept(bus_rack: BusRack, workers: Workers) -> None:
    bus = await bus_rack.add("roof", {1: ("pzem-003", 120)})
    workers.start({"roof": bus_rack.device("roof")}, [PV1])
    await workers.wait_for(lambda: workers.of("pv1"))
    good = workers.of("pv1")[0].blocks["all"]
    assert good.request == read_request(1, 4, 0, 8)
    assert good.reply[:3] == bytes([1, 4, 16])
    assert len(good.reply) == 21
    bus.faults.order("bad_crc", 1)
    await workers.wait_for(lambda: "crc" in workers.faults("pv1"))
    (bad,) = [sample.blocks["all"] for sample in workers.of("pv1") if sample.blocks["all"].fault == "crc"]
    assert bad.reply[-2:] != good.reply[-2:]
    assert bad.registers == ()


async def test_one_hertz_is_kept_without_drift(bus_rack: BusRack, workers: Workers) -> None:
    await bus_rack.add("roof", {1: ("pzem-003", 120), 2: ("pzem-003", 120)}, baud=9_600)
    (worker,) = workers.start({"roof": bus_rack.device("roof")}, [PV1, PV2], interval_ms=1_000)
    await workers.wait_for(lambda: len(workers.of("pv2")) >= 6)
    for meter in ("pv1", "pv2"):
        samples = workers.of(meter)[:6]
        offsets = [sample.monotonic_ms - number * 1_000 for number, sample in enumerate(samples)]
        assert max(offsets) - min(offsets) < 400, offsets  # a busy machine delays single samples, not the schedule
        assert [fault for fault in workers.faults(meter) if fault] == []
    assert worker.missed_ticks == 0


async def test_ticks_that_a_slow_bus_misses_are_counted(bus_rack: BusRack, workers: Workers) -> None:
    await bus_rack.add("roof", {3: ("sdm630", 30_000)}, baud=4_800)
    (worker,) = workers.start({"roof": bus_rack.device("roof")}, [ARRAY], interval_ms=100, timeout_ms=1_000)
    await workers.wait_for(lambda: worker.missed_ticks >= 5)
    assert len(workers.of("array")) >= 2


@pytest.mark.parametrize(
    ("injected", "fault"),
    [("drop", "timeout"), ("bad_crc", "crc"), ("truncate", "short"), ("wrong_slave", "wrong_slave"), ("echo", "echo")],
)
async def test_faults_are_told_apart_and_the_other_meter_goes_on(
    bus_rack: BusRack, workers: Workers, injected: str, fault: str
) -> None:
    bus = await bus_rack.add("roof", {1: ("pzem-003", 120), 2: ("pzem-003", 120)})
    workers.start({"roof": bus_rack.device("roof")}, [PV1, PV2])
    await workers.wait_for(lambda: len(workers.of("pv1")) >= 2)
    bus.faults.order(injected, 2, address=1)  # type: ignore[arg-type]  # a name of the list above
    await workers.wait_for(lambda: workers.faults("pv1").count(fault) == 2)
    known = len(workers.of("pv1"))
    await workers.wait_for(lambda: len(workers.of("pv1")) >= known + 2)
    assert {each for each in workers.faults("pv1") if each} == {fault}
    assert [each for each in workers.faults("pv2") if each] == []


async def test_an_error_that_the_meter_reports_is_an_exception(bus_rack: BusRack, tmp_path: Path) -> None:
    await bus_rack.add("roof", {1: ("pzem-003", 120)})
    wrong_model = MeterSpec("pv1", 1, map="sdm630", input="export", rated_w=30_000)
    plan = plan_of(tmp_path, bus_rack.device("roof"), [wrong_model])
    worker = PortWorker(plan, interval_ms=1_000, clock=SystemClock(), on_samples=lambda _: None)
    (sample,), _ = await asyncio.to_thread(worker.read_once)
    assert sample.blocks["total"].fault == "exception"
    assert sample.blocks["total"].reply[:3] == bytes([1, 0x84, 2])


async def test_a_dead_meter_is_left_alone_and_found_again(bus_rack: BusRack, workers: Workers) -> None:
    bus = await bus_rack.add("roof", {1: ("pzem-003", 120), 2: ("pzem-003", 120)})
    bus.faults.silent.add(1)
    (worker,) = workers.start({"roof": bus_rack.device("roof")}, [PV1, PV2], interval_ms=200)
    await workers.wait_for(lambda: len(workers.of("pv2")) >= 8)
    assert len(workers.of("pv1")) == METER_FAILURES_TOLERATED + 1
    assert set(workers.faults("pv1")) == {"timeout"}
    assert worker.dead_meters() == ["pv1"]
    assert [fault for fault in workers.faults("pv2") if fault] == []
    bus.faults.silent.clear()
    await workers.wait_for(lambda: workers.faults("pv1")[-2:] == [None, None])
    assert worker.dead_meters() == []


async def test_a_port_that_vanishes_is_opened_again_and_the_other_port_goes_on(
    bus_rack: BusRack, workers: Workers
) -> None:
    roof = await bus_rack.add("roof", {1: ("pzem-003", 120)})
    await bus_rack.add("barn", {2: ("pzem-003", 120)})
    meters = [PV1, MeterSpec("pv2", 2, port="barn")]
    devices: dict[str, Path | str] = {name: bus_rack.device(name) for name in ("roof", "barn")}
    of_roof, _ = workers.start(devices, meters)
    await workers.wait_for(lambda: len(workers.of("pv1")) >= 2)
    roof.wire.vanish()
    await workers.wait_for(lambda: workers.faults("pv1")[-1] == "port")
    assert of_roof.lost
    assert workers.of("pv1")[-1].blocks["all"].reply == b""
    known = len(workers.of("pv2"))
    await workers.wait_for(lambda: len(workers.of("pv2")) >= known + 5)
    roof.wire.appear()
    await workers.wait_for(lambda: workers.faults("pv1")[-2:] == [None, None])
    assert of_roof.lost == ""
    assert [fault for fault in workers.faults("pv2") if fault] == []


async def test_a_device_that_is_not_there_yet_is_waited_for(bus_rack: BusRack, workers: Workers) -> None:
    (worker,) = workers.start({"roof": bus_rack.device("roof")}, [PV1])
    await workers.wait_for(lambda: workers.faults("pv1") == ["port"])
    assert "No such file" in worker.lost
    await bus_rack.add("roof", {1: ("pzem-003", 120)})
    await workers.wait_for(lambda: workers.faults("pv1")[-1] is None)


async def test_a_port_that_another_program_has_is_refused(bus_rack: BusRack, tmp_path: Path) -> None:
    await bus_rack.add("roof", {1: ("pzem-003", 120)})
    plan = plan_of(tmp_path, bus_rack.device("roof"), [PV1])
    port = await asyncio.to_thread(open_port, plan.serial)
    with pytest.raises(PortLost, match="lock"):
        await asyncio.to_thread(open_port, plan.serial)
    port.close()


async def test_a_mistake_in_one_tick_does_not_end_the_sampling(
    bus_rack: BusRack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await bus_rack.add("roof", {1: ("pzem-003", 120)})
    taken: list[MeterSample] = []

    def take(samples: list[MeterSample]) -> None:
        taken.extend(samples)
        if len(taken) == 1:
            raise ZeroDivisionError("a mistake")

    plan = plan_of(tmp_path, bus_rack.device("roof"), [PV1])
    worker = PortWorker(plan, interval_ms=FAST_MS, clock=SystemClock(), on_samples=take)
    worker.start()
    await wait_until_async(lambda: len(taken) >= 3)
    worker.stop_soon()
    await asyncio.to_thread(worker.join, 5.0)
    assert [record.message for record in caplog.records].count("port_worker_failed") == 1


def test_an_adapter_that_echoes_is_noticed(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "loop://", [PV1])
    port = open_port(plan.serial)
    block = plan.meters[0].blocks["all"]
    read = read_block(port, instrument_on(port, plan.serial, 1), block)
    assert read.fault == "echo"
    port.close()


def test_the_echo_of_an_adapter_that_is_known_to_echo_is_taken_off(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "loop://", [PV1], more="local_echo = true\n")
    port = open_port(plan.serial)
    instrument, block = instrument_on(port, plan.serial, 1), plan.meters[0].blocks["all"]
    assert read_block(port, instrument, block).fault == "timeout"
    instrument.clear_buffers_before_each_transaction = False
    request = read_request(1, 4, 0, 8)
    port.write(request + pzem_reply(1))  # what the wire would bring after our own next request
    read = read_block(port, instrument, block)
    assert (read.fault, read.reply) == (None, pzem_reply(1))
    port.close()


async def test_a_converter_is_reached_over_the_network(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == read_request(1, 4, 0, 8)
        writer.write(pzem_reply(1))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port_number = server.sockets[0].getsockname()[1]
    plan = plan_of(tmp_path, f"socket://127.0.0.1:{port_number}", [PV1])
    worker = PortWorker(plan, interval_ms=1_000, clock=SystemClock(), on_samples=lambda _: None)
    (sample,), problem = await asyncio.to_thread(worker.read_once)
    assert problem == ""
    assert sample.blocks["all"].reply == pzem_reply(1)
    server.close()
    await server.wait_closed()
