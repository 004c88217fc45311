"""The parts of the devnet that can be judged without running one."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from minervas_devnet.hash_rate import fitting_difficulty
from minervas_devnet.health import health, metric
from minervas_devnet.memory import group_memory
from minervas_devnet.merged_logs import merged_lines
from minervas_devnet.ports import free_port
from minervas_devnet.processes import ProcessFailed
from minervas_devnet.programs import run_program, try_program
from minervas_devnet.propagation import measure
from minervas_devnet.simulated_meters import SimulatedMeters
from minervas_devnet.site import MeteredChannel, Site
from minervas_devnet.toml_text import Settings, Value, as_toml


def test_settings_survive_a_toml_reader() -> None:
    settings: Settings = {
        "member": "mokpo-univ",
        "paths": {"data": Path('/tmp/a b/"c"\\d'), "names": ["localhost", "é\n"]},  # noqa: S108 - never opened
        "health": {"port": 0, "on": True},
    }
    read = tomllib.loads(as_toml(settings))
    assert read == {**settings, "paths": {"data": '/tmp/a b/"c"\\d', "names": ["localhost", "é\n"]}}  # noqa: S108


def test_tables_inside_lists_survive_a_toml_reader() -> None:
    channels: list[Value] = [{"name": "ch2", "rated_w": 120}, {"name": "ch3", "rated_w": 120}]
    settings: Settings = {
        "member": "mokpo-univ",
        "meters": [{"id": "pv", "channels": channels}],
        "clock": {"on": False},
    }
    assert tomllib.loads(as_toml(settings)) == settings


def write_log(path: Path, *records: tuple[str, str, str]) -> Path:
    """Write a log of (second of the minute, event, hash)."""
    lines = [
        json.dumps({"time": f"2026-01-01T00:00:{second}Z", "event": event, "hash": block}, separators=(",", ":"))
        for second, event, block in records
    ]
    path.write_text("\n".join(["not json", *lines, '{"time":"2026-01-01T00:00:59Z","event":"block_fo']), "utf-8")
    return path


def test_propagation_is_from_the_finding_to_the_last_ledger(tmp_path: Path) -> None:
    miner = write_log(tmp_path / "m", ("02.000", "block_found", "a"), ("05.000", "block_found", "b"))
    first = write_log(tmp_path / "1", ("01.000", "block_connected", "z"), ("02.100", "block_connected", "a"))
    second = write_log(tmp_path / "2", ("01.000", "block_connected", "z"), ("02.250", "block_connected", "a"))
    assert measure([miner], [first, second]).seconds == pytest.approx((0.25,))


def test_propagation_leaves_out_what_a_late_ledger_got_by_catching_up(tmp_path: Path) -> None:
    miner = write_log(tmp_path / "m", ("02.000", "block_found", "a"))
    early = write_log(tmp_path / "1", ("02.100", "block_connected", "a"))
    late = write_log(tmp_path / "2", ("30.000", "block_connected", "a"))
    assert measure([miner], [early, late]).seconds == ()
    assert measure([miner], [early, late]).median_s == 0


def test_merged_logs_are_in_order_of_time_and_keep_last_words(tmp_path: Path) -> None:
    (tmp_path / "b.log").write_text('{"time":"2","level":"info","event":"second"}\nlast words\n', "utf-8")
    (tmp_path / "a.log").write_text('{"time":"1","level":"info","event":"first","height":7}\n', "utf-8")
    assert list(merged_lines(tmp_path)) == ["1 a: info first height=7", "2 b: info second", "2 b: last words"]


def test_difficulty_follows_speed_interval_and_the_cores_that_there_are() -> None:
    one = fitting_difficulty(1_000, 1, rate=1_000_000)
    assert fitting_difficulty(2_000, 1, rate=1_000_000) == 2 * one
    assert fitting_difficulty(1_000, 1, rate=2_000_000) == 2 * one
    assert fitting_difficulty(1_000, 1_000, rate=1_000_000) == fitting_difficulty(1_000, 2_000, rate=1_000_000)
    assert fitting_difficulty(1, 1, rate=1) == 1


def test_memory_of_a_process_counts_its_children() -> None:
    keeper = "import sys; kept = bytearray(30_000_000); print('ready', flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {keeper!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = group_memory(process.pid)
        process.communicate(b"")
    assert used.resident > used.proportional > 30_000
    assert group_memory(process.pid).resident == 0
    assert group_memory(None).resident == 0


def test_health_of_nobody_is_away() -> None:
    port = free_port()
    assert health(port) == {"status": "away"}
    assert metric(port, "anything") == -1


def test_failing_program_is_reported_with_its_last_words() -> None:
    with pytest.raises(ProcessFailed) as failure:
        run_program("minervas-miner", "check-config", "--config", "/nowhere.toml")
    assert failure.value.exit_status == 2
    assert "no such file" in str(failure.value)
    with pytest.raises(ProcessFailed):
        try_program("minervas-no-such-program")


def test_gateway_settings_fit_the_simulated_bus(tmp_path: Path) -> None:
    site = Site(
        channels=(
            MeteredChannel("pzem-2", "ch2", "pzem-003", address=2, rated_w=120, start_wh=7),
            MeteredChannel("pzem-3", "ch3", "pzem-003", address=3, rated_w=120),
        )
    )
    meters = SimulatedMeters("mokpo-univ", tmp_path / "meters", tmp_path, site)
    meters.write_settings()
    meters.process.start()
    try:
        meters.wait_ready()
        settings = tmp_path / "gateway.toml"
        paths: dict[str, Value] = {name: name for name in ("data", "enrol", "issued", "secrets")}
        settings.write_text(as_toml({"member": "mokpo-univ", **meters.gateway_settings(), "paths": paths}), "utf-8")
        said = run_program("minervas-meter-gateway", "read", "--config", settings)
        assert "ch2" in said
        assert "ch3" in said
        assert 7 <= meters.registers_wh()["pzem-2", "ch2"] < 8
        assert min(meters.answered().values()) >= 1
    finally:
        meters.process.stop()
