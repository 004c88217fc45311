"""The service runner: stops cleanly within two seconds, and a known fault is one line, not a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from minervas_devnet.ports import free_port
from minervas_runtime import service
from tests.support import sample_service
from tests.support.wait import HANG_S

MEMBER = 'member = "mokpo-univ"\n'


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(
    started: list[subprocess.Popen[str]], tmp_path: Path, behaviour: str, settings: str = MEMBER
) -> subprocess.Popen[str]:
    file = tmp_path / "sample.toml"
    file.write_text(settings)
    process = subprocess.Popen(
        [sys.executable, sample_service.__file__, str(file), behaviour],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_cleanly_within_two_seconds(
    started: list[subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    process = start(started, tmp_path, "runs")
    ready(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=HANG_S)
    assert service.STOP_GRACE_S < 2.0  # what takes longer ends as in the next test
    assert process.returncode == 0
    assert out == "cleaned up\n"
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["stopping", "stopped"]


@pytest.mark.parametrize("behaviour", sample_service.LEFT_BEHIND)
def test_the_process_ends_with_stopped_whatever_the_service_left_behind(
    started: list[subprocess.Popen[str]], tmp_path: Path, behaviour: str
) -> None:
    process = start(started, tmp_path, behaviour)
    ready(process)
    process.terminate()
    out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert out == "cleaned up\n"
    assert json.loads(err.splitlines()[-1])["event"] == "stopped"


def test_a_service_that_does_not_stop_is_ended_after_two_seconds(
    started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(started, tmp_path, "slow to stop")
    ready(process)
    process.terminate()
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 1
    last = json.loads(err.splitlines()[-1])
    assert (last["event"], last["after_s"]) == ("stop_timeout", service.STOP_GRACE_S)
    assert service.STOP_GRACE_S < 2.0


def test_a_service_that_ends_by_itself_ends_with_0(started: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    process = start(started, tmp_path, "ends")
    process.communicate(timeout=HANG_S)
    assert process.returncode == 0


@pytest.mark.parametrize("behaviour", ["fault", "grouped fault"])
def test_a_known_fault_is_one_clear_line_and_status_1(
    started: list[subprocess.Popen[str]], tmp_path: Path, behaviour: str
) -> None:
    process = start(started, tmp_path, behaviour)
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 1
    assert err.splitlines() == [
        "minervas-sample (mokpo-univ): error: database_away: No database at the address given (host='db', port=5432)"
    ]


@pytest.mark.parametrize("behaviour", ["bug", "fault and bug"])
def test_an_unknown_fault_is_logged_with_its_traceback_and_status_1(
    started: list[subprocess.Popen[str]], tmp_path: Path, behaviour: str
) -> None:
    process = start(started, tmp_path, behaviour)
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 1
    (line,) = err.splitlines()
    assert json.loads(line)["event"] == "service_failed"
    assert "ZeroDivisionError" in json.loads(line)["traceback"]


def test_unusable_settings_are_one_clear_line_and_status_2(
    started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(started, tmp_path, "runs", MEMBER + "[log]\nlevl = 1\n")
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 2
    assert err.splitlines() == [
        f"minervas-sample: error: {tmp_path}/sample.toml: log.levl: there is no such setting; did you mean level?"
    ]


def test_the_health_server_runs_beside_the_service(started: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    port = free_port()
    process = start(started, tmp_path, "runs", f"{MEMBER}[health]\nport = {port}\n")
    ready(process)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/healthz", timeout=HANG_S) as response:
        assert json.load(response) == {"status": "ok"}


def test_a_health_port_in_use_is_one_clear_line(started: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    port = free_port()
    settings = f"{MEMBER}[health]\nport = {port}\n"
    ready(start(started, tmp_path, "runs", settings))
    second = start(started, tmp_path, "runs", settings)
    _, err = second.communicate(timeout=HANG_S)
    assert second.returncode == 1
    (line,) = err.splitlines()
    assert f"port={port}" in line
