"""Run console scripts as child processes: logs in files, readiness by condition, stopped or killed by process id.

Theory of operation: a `ManagedProcess` is one program that can be started again and again under the same name and log
file; it knows which part of the log belongs to its present run. A `Supervisor` remembers everything that was started
and stops it in the reverse order, also when a start half-way fails and also while somebody presses Ctrl-C again.
Children get sessions of their own, so that a Ctrl-C in the terminal reaches only us, and we stop them in order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self, TypeVar

from minervas_core.errors import Code, LocalFault
from minervas_devnet.waiting import WaitTimeout, stretched, wait_until

STOP_TIMEOUT_S = 15.0
TAIL_LINES = 15


class ProcessFailed(LocalFault):
    """A program ended by itself, or could not be started; the message has the end of its log."""

    def __init__(self, name: str, exit_status: int | None, said: str) -> None:
        how = "could not be started" if exit_status is None else f"ended with exit status {exit_status}"
        super().__init__(Code.INTERNAL, f"{name} {how}" + (f"; it said:\n{said}" if said else ""))
        self.exit_status = exit_status


def console_script(name: str) -> str:
    """Return the path of a console script of the virtual environment that runs us."""
    return str(Path(sys.executable).parent / name)


class ManagedProcess:
    """One program under one name.

    Args:
        name: unique within its supervisor, such as `mokpo-univ.ledger`.
        command: the program and its arguments.
        log_file: its standard output and error, appended to over all runs.
        environment: variables to set or change; the others are ours.
        directory: working directory; the log file's if not given.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log_file: Path,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log_file = log_file
        self.starts = 0
        """How often it was started."""
        self._environment = dict(environment or {})
        self._directory = directory or log_file.parent
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_status(self) -> int | None:
        """Exit status of the last run (negative: the signal that ended it); None while it runs or before it ran."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the program; nothing happens if it runs already.

        Raises:
            ProcessFailed: if there is no such program.
        """
        if self.pid is not None:
            return
        self._log_offset = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the caller's program
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._directory,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment},
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessFailed(self.name, None, str(error)) from error
        self.starts += 1

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to end (SIGTERM) and wait; after the timeout kill it. Nothing happens if it does not run."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL) and wait until it is gone."""
        self._end(signal.SIGKILL, STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Stop and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang (SIGSTOP) until `resume`, as an overloaded or stuck machine would."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGCONT)

    def output(self) -> str:
        """Return what it wrote since its last start."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def log_records(self, event: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the JSON log lines since its last start, all or those of one event; other lines are passed over."""
        for line in self.output().splitlines():
            if not line.startswith("{"):
                continue
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the last line may be half written
            if event is None or record.get("event") == event:
                yield record

    def wait_for(self, predicate: Callable[[], object], *, timeout_s: float, awaited: str) -> None:
        """Wait until a condition holds while it runs.

        Raises:
            ProcessFailed: if it ends before.
            WaitTimeout: if the time is up; the message has the end of its log.
        """
        held = False

        def holds_or_ended() -> bool:
            nonlocal held  # looked at once only: what held a moment ago may not hold any more
            ended = self.exit_status is not None
            held = bool(predicate())
            return held or ended

        wait_until(holds_or_ended, timeout_s=timeout_s, awaited=f"{self.name}: {awaited}", describe=self._tail)
        if not held:
            raise ProcessFailed(self.name, self.exit_status, self._tail())

    def wait_for_event(self, event: str, *, timeout_s: float, **fields: object) -> dict[str, Any]:
        """Wait until it has logged an event with these field values since its last start, and return that record.

        Raises:
            ProcessFailed: if it ends before.
            WaitTimeout: if the time is up.
        """
        found: list[dict[str, Any]] = []

        def logged() -> bool:
            for record in self.log_records(event):
                if all(record.get(name) == value for name, value in fields.items()):
                    found.append(record)
                    return True
            return False

        self.wait_for(logged, timeout_s=timeout_s, awaited=f"the log event {event} {fields or ''}".strip())
        return found[0]

    def wait_for_exit(self, *, timeout_s: float) -> int:
        """Wait until it ends by itself and return its exit status.

        Raises:
            WaitTimeout: if it still runs.
        """
        if self._process is None:
            raise ProcessFailed(self.name, None, "it was never started")
        limit_s = stretched(timeout_s)
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise WaitTimeout(f"{self.name}: its end", limit_s, self._tail()) from None

    def memory_kib(self) -> int:
        """Return its proportional share of memory in KiB (Pss: shared pages count once over all processes); Linux only.

        0 if it does not run or the system does not say.
        """
        try:
            lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)

    def _tail(self) -> str:
        return "\n".join(self.output().splitlines()[-TAIL_LINES:])

    def _end(self, how: signal.Signals, timeout_s: float) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a paused process takes no SIGTERM
        try:
            process.wait(stretched(timeout_s))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Stoppable(Protocol):
    """Something a supervisor stops at the end."""

    name: str

    def stop(self) -> None:
        """End it, or do nothing if it does not run."""


StoppableT = TypeVar("StoppableT", bound=Stoppable)


class Supervisor:
    """Remembers what was started and stops all of it, last first. A context manager."""

    def __init__(self) -> None:
        self._started: list[Stoppable] = []

    def add(self, item: StoppableT) -> StoppableT:
        """Remember something for the end and return it."""
        self._started.append(item)
        return item

    def stop_all(self) -> list[str]:
        """Stop everything, last first; return a line for each that failed to stop. Ctrl-C meanwhile is ignored."""
        failures = []
        with uninterrupted():
            while self._started:
                item = self._started.pop()
                try:
                    item.stop()
                except Exception as error:  # noqa: BLE001 - the others must still be stopped
                    failures.append(f"{item.name}: {error}")
        return failures

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.stop_all():
            sys.stderr.write(f"could not stop {line}\n")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the block finish: SIGINT and SIGTERM are answered with a line on standard error.

    Outside the main thread, where no signal arrives, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def answer(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        sys.stderr.write("already stopping everything, one moment\n")

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, answer) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)
