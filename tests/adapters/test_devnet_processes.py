"""The devnet's processes: started, watched through their log, stopped in order, killed by id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minervas_devnet.processes import ManagedProcess, ProcessFailed, Supervisor, console_script
from minervas_devnet.waiting import WaitTimeout
from tests.support.wait import HANG_S, wait_until

POLITE = """
import json, signal, sys, threading
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
print("not json")
print(json.dumps({"event": "ready", "port": 5}), flush=True)
done.wait()
print(json.dumps({"event": "stopped"}), flush=True)
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"event": "ready"}', flush=True)
signal.pause()
"""


def python(work_dir: Path, program: str, name: str = "child") -> ManagedProcess:
    return ManagedProcess(name, [sys.executable, "-c", program], work_dir / f"{name}.log")


def test_event_is_awaited_and_stop_lets_the_program_finish(tmp_path: Path) -> None:
    child = python(tmp_path, POLITE)
    child.start()
    assert child.wait_for_event("ready", timeout_s=HANG_S, port=5) == {"event": "ready", "port": 5}
    child.stop()
    assert child.exit_status == 0
    assert [record["event"] for record in child.log_records()] == ["ready", "stopped"]


def test_events_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    child = python(tmp_path, POLITE)
    for starts in (1, 2):
        child.start()
        child.wait_for_event("ready", timeout_s=HANG_S)
        assert child.starts == starts
        assert len(list(child.log_records("ready"))) == 1
        child.kill()
    assert child.exit_status == -signal.SIGKILL
    assert child.log_file.read_text(encoding="utf-8").count("ready") == 2


def test_restart_gives_a_new_process(tmp_path: Path) -> None:
    child = python(tmp_path, POLITE)
    child.start()
    first = child.pid
    child.restart()
    assert child.pid not in {None, first}
    child.kill()


def test_program_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    child = python(tmp_path, STUBBORN)
    child.start()
    child.wait_for_event("ready", timeout_s=HANG_S)
    child.stop(timeout_s=0.1)
    assert child.exit_status == -signal.SIGKILL


def test_paused_program_hangs_and_can_still_be_stopped(tmp_path: Path) -> None:
    child = python(tmp_path, POLITE)
    child.start()
    child.wait_for_event("ready", timeout_s=HANG_S)
    child.pause()
    wait_until(lambda: "T (stopped)" in Path(f"/proc/{child.pid}/status").read_text(encoding="ascii"))
    child.stop()
    assert child.exit_status == 0


def test_program_that_ends_while_awaited_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    child = python(tmp_path, "import sys; print('the disk is full'); sys.exit(3)")
    child.start()
    with pytest.raises(ProcessFailed, match=r"exit status 3.*\n.*the disk is full") as caught:
        child.wait_for_event("ready", timeout_s=HANG_S)
    assert caught.value.exit_status == 3


def test_missing_event_is_an_error_with_the_last_words(tmp_path: Path) -> None:
    child = python(tmp_path, POLITE)
    child.start()
    child.wait_for_event("ready", timeout_s=HANG_S)
    with pytest.raises(WaitTimeout, match=r"child: the log event ready.*port.*6"):
        child.wait_for_event("ready", timeout_s=0.1, port=6)
    child.kill()


def test_missing_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="ghost could not be started"):
        ManagedProcess("ghost", [console_script("minervas-ghost")], tmp_path / "ghost.log").start()


def test_exit_of_a_program_is_awaited(tmp_path: Path) -> None:
    child = python(tmp_path, "raise SystemExit(2)")
    child.start()
    assert child.wait_for_exit(timeout_s=HANG_S) == 2
    stubborn = python(tmp_path, STUBBORN, "stubborn")
    stubborn.start()
    with pytest.raises(WaitTimeout, match="stubborn: its end"):
        stubborn.wait_for_exit(timeout_s=0.1)
    stubborn.kill()


def test_memory_of_a_running_program_is_told(tmp_path: Path) -> None:
    child = python(tmp_path, POLITE)
    assert child.memory_kib() == 0
    child.start()
    child.wait_for_event("ready", timeout_s=HANG_S)
    assert child.memory_kib() > 500
    child.kill()


def test_environment_is_added_to_ours(tmp_path: Path) -> None:
    program = "import os; print(os.environ['MINERVAS_LOG__LEVEL'], os.environ['PATH'])"
    command = [sys.executable, "-c", program]
    child = ManagedProcess("child", command, tmp_path / "log", environment={"MINERVAS_LOG__LEVEL": "debug"})
    child.start()
    child.wait_for_exit(timeout_s=HANG_S)
    assert child.output().split() == ["debug", os.environ["PATH"]]


class Recorder:
    """Something stoppable that notes when it was stopped."""

    def __init__(self, name: str, notes: list[str], *, fails: bool = False) -> None:
        self.name = name
        self._notes = notes
        self._fails = fails

    def stop(self) -> None:
        self._notes.append(self.name)
        if self._fails:
            raise RuntimeError("stuck")


def test_supervisor_stops_last_first_and_goes_on_after_a_failure() -> None:
    notes: list[str] = []
    supervisor = Supervisor()
    for name in ("database", "broker", "peer"):
        supervisor.add(Recorder(name, notes, fails=name == "broker"))
    assert supervisor.stop_all() == ["broker: stuck"]
    assert notes == ["peer", "broker", "database"]
    assert supervisor.stop_all() == []


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from minervas_devnet.processes import ManagedProcess, Supervisor

class Interrupting:
    name = "interrupting"
    def stop(self):
        os.kill(os.getpid(), signal.SIGINT)

child = ManagedProcess("child", [sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]))
try:
    with Supervisor() as supervisor:
        supervisor.add(child).start()
        child.wait_for_event("ready", timeout_s=60)
        supervisor.add(Interrupting())
        print(child.pid, flush=True)
        while True:
            time.sleep(0.05)  # a signal that comes just before signal.pause() would be waited for in vain
except KeyboardInterrupt:
    print("interrupted", child.exit_status)
"""


def test_everything_is_stopped_after_ctrl_c_even_when_it_is_pressed_again(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, POLITE, tmp_path / "log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as devnet:
        assert devnet.stdout is not None
        child_pid = int(devnet.stdout.readline())
        devnet.send_signal(signal.SIGINT)
        out, err = devnet.communicate(timeout=HANG_S)
    assert out == b"interrupted 0\n"
    assert err == b"already stopping everything, one moment\n"
    assert not Path(f"/proc/{child_pid}").exists()
