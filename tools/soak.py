"""Run tests that take long, again and again with new seeds, for so many minutes: `make soak MINUTES=30`.

A round has three parts, each a pytest of its own with a seed of its own:

* ``long``: all tests marked `soak`, which `make test` leaves out;
* ``network``: the network tests of every run, with another seed;
* ``properties``: all Hypothesis tests with twenty times the examples.

Rounds follow each other until the time is over. No part gets more than a third of the whole time; when that or the
whole is over, the running part is interrupted as by Ctrl-C and stops its servers: what had failed by then counts. The
order of the test files is another with every seed, so that each has its turn. A failure does not end the soak. At the
end stands what was run with which seed, and for each failure the command that repeats it. The exit status is 1 if
anything failed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tools.workspace import ROOT

PARTS: dict[str, tuple[str, ...]] = {
    "long": ("tests", "-m", "soak"),
    "network": ("tests/network", "-m", "not soak"),
    "properties": ("tests", "-m", "hypothesis and not soak"),
}
"""Arguments of pytest, by name."""

STOP_S = 120.0
"""Longest time that an interrupted pytest gets to stop its servers."""
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py(?:::[^\[ ]+(?:\[.*?\])?)?)(?: - .*)?$")
"""A line of pytest's short summary."""
RESULTS = {0: "passed", 5: "empty"}
"""By pytest's exit status; others mean that something failed, or that it was interrupted."""


@dataclass(frozen=True)
class Outcome:
    """What came of one part."""

    part: str
    seed: int
    seconds: int
    result: str
    """``passed``, ``failed``, ``empty`` (no test is marked so) or ``stopped`` (the time was over)."""
    failed: tuple[str, ...] = ()
    """Node ids; none if it was pytest itself that failed."""

    def repeats(self) -> list[str]:
        """Commands that run again what failed, as it was run."""
        if not self.failed and self.result != "failed":
            return []
        what = [f"{shlex.quote(test)} -m ''" for test in self.failed] or [shlex.join(PARTS[self.part])]
        settings = " ".join(f"{name}={value}" for name, value in soak_environment(self.seed).items())
        return [f"{settings} .venv/bin/python -m pytest --hypothesis-seed={self.seed} {each}" for each in what]


def soak_environment(seed: int) -> dict[str, str]:
    """What the tests read of a soak."""
    return {"MINERVAS_SOAK": "1", "MINERVAS_SEED": str(seed)}


def pytest_command(part: str, seed: int) -> list[str]:
    """The command of one part."""
    return [sys.executable, "-m", "pytest", "-v", "--tb=short", f"--hypothesis-seed={seed}", *PARTS[part]]


def failed_tests(output: Sequence[str]) -> tuple[str, ...]:
    """Node ids in the short summary of a pytest run."""
    return tuple(match[1] for line in output if (match := FAILED.match(line.rstrip())))


def run_part(part: str, seed: int, seconds_left: float, command: Sequence[str]) -> Outcome:
    """Run one part until it ends or the time is over, showing its output meanwhile.

    Args:
        part: a name in `PARTS`.
        seed: of its tests.
        seconds_left: when it is interrupted.
        command: what to run.
    """
    began = time.monotonic()
    environment = {**os.environ, **soak_environment(seed)}
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment
    ) as process:
        timers = [
            threading.Timer(seconds_left, process.send_signal, [signal.SIGINT]),
            threading.Timer(seconds_left + STOP_S, process.kill),
        ]
        for timer in timers:
            timer.start()
        lines = []
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
        status = process.wait()
        for timer in timers:
            timer.cancel()
    seconds = time.monotonic() - began
    result = RESULTS.get(status, "failed")
    if result == "failed" and seconds >= seconds_left:
        result = "stopped"
    return Outcome(part, seed, round(seconds), result, failed_tests(lines))


def soak(minutes: float, outcomes: list[Outcome]) -> None:
    """Run parts in turn until the time is over, adding what came of each."""
    share = 60 * minutes / len(PARTS)
    deadline = time.monotonic() + 60 * minutes
    for part in itertools.cycle(PARTS):
        seconds_left = min(share, deadline - time.monotonic())
        if seconds_left <= 0:
            return
        seed = secrets.randbelow(2**32)
        sys.stdout.write(f"=== soak: {part}, seed {seed}, for at most {seconds_left / 60:.1f} minutes\n")
        outcomes.append(run_part(part, seed, seconds_left, pytest_command(part, seed)))


def report(outcomes: Sequence[Outcome]) -> str:
    """What was run, what failed, and how to run that again."""
    lines = ["=== soak: what was run"]
    lines += [
        f"{each.part:<10}  seed {each.seed:<10}  {each.seconds:>5} s  {each.result}"
        + (f", {len(each.failed)} failed" if each.failed else "")
        for each in outcomes
    ]
    repeats = [command for each in outcomes for command in each.repeats()]
    if repeats:
        lines += ["=== soak: run the failed tests again with", *repeats]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Soak for the minutes of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("minutes", type=float)
    minutes = parser.parse_args().minutes
    outcomes: list[Outcome] = []
    try:
        soak(minutes, outcomes)
    except KeyboardInterrupt:  # the running pytest had it too, and has stopped its servers
        sys.stdout.write("\n")
    sys.stdout.write(report(outcomes))
    return 1 if any(each.repeats() for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
