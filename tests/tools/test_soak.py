"""What `make soak` says of what it ran, and that it ends in time."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tools import soak
from tools.soak import Outcome, failed_tests, pytest_command, report, run_part
from tools.workspace import ROOT

SUMMARY = """\
FAILED tests/network/test_metering.py::test_outage[kill_broker] - minervas_core.errors.ApiAway: away
FAILED tests/core/test_x.py::test_y[a - b] - assert 1 == 2
FAILED tests/core/test_market_histories.py::TestTrading::runTest
ERROR tests/core/test_z.py
1 failed, 2 passed in 3.4s
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_failed_tests_are_found_in_the_summary() -> None:
    assert failed_tests(SUMMARY.splitlines()) == (
        "tests/network/test_metering.py::test_outage[kill_broker]",
        "tests/core/test_x.py::test_y[a - b]",
        "tests/core/test_market_histories.py::TestTrading::runTest",
        "tests/core/test_z.py",
    )


def test_report_names_every_part_with_its_seed_and_how_to_repeat_what_failed() -> None:
    said = report([
        Outcome("network", 7, 300, "passed"),
        Outcome("long", 8, 60, "failed", ("tests/network/test_x.py::test_y[a b]",)),
        Outcome("properties", 9, 20, "failed"),
    ])  # fmt: skip
    assert "network     seed 7             300 s  passed\n" in said
    repeat = "MINERVAS_SOAK=1 MINERVAS_SEED=8 .venv/bin/python -m pytest --hypothesis-seed=8"
    assert f"{repeat} 'tests/network/test_x.py::test_y[a b]' -m ''\n" in said
    assert "--hypothesis-seed=9 tests -m 'hypothesis and not soak'\n" in said


@pytest.mark.parametrize(("outcome", "failed"), [
    (Outcome("long", 1, 1, "stopped"), False),
    (Outcome("long", 1, 1, "empty"), False),
    (Outcome("network", 1, 1, "passed"), False),
    (Outcome("network", 1, 1, "failed"), True),
    (Outcome("network", 1, 1, "stopped", ("a.py::b",)), True),
])  # fmt: skip
def test_a_part_failed_if_there_is_something_to_repeat(outcome: Outcome, failed: bool) -> None:
    assert bool(outcome.repeats()) == failed


def test_a_soak_shares_its_time_and_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not Python, which can take longer to start than a part has time here, and can lose the signal meanwhile.
    monkeypatch.setattr(soak, "pytest_command", lambda _part, _seed: ["sleep", "600"])
    outcomes: list[Outcome] = []
    began = time.monotonic()
    soak.soak(0.2, outcomes)
    assert time.monotonic() - began < 300
    assert [each.part for each in outcomes[:3]] == ["long", "network", "properties"]
    assert {each.result for each in outcomes} == {"stopped"}


@pytest.mark.parametrize(("code", "result"), [("", "passed"), ("raise SystemExit(5)", "empty"), ("1/0", "failed")])
def test_result_is_that_of_pytests_exit_status(code: str, result: str) -> None:
    assert run_part("long", 1, 60, python(code)).result == result


def test_part_is_interrupted_when_the_time_is_over_and_what_failed_before_still_counts() -> None:
    code = "import time; print('FAILED tests/a.py::b - x', flush=True); time.sleep(600)"
    began = time.monotonic()
    outcome = run_part("long", 1, 2, python(code))
    assert time.monotonic() - began < 300
    assert (outcome.result, outcome.failed) == ("stopped", ("tests/a.py::b",))


def test_part_gets_its_seed_and_the_soaks_number_of_examples() -> None:
    code = "import os; raise SystemExit((os.environ['MINERVAS_SEED'], os.environ['MINERVAS_SOAK']) != ('11', '1'))"
    assert run_part("long", 11, 60, python(code)).result == "passed"


def test_tests_marked_soak_are_selected_by_a_soak_and_by_nothing_else(request: pytest.FixtureRequest) -> None:
    assert request.config.getini("addopts")[-2:] == ["-m", "not soak"]
    *pytest_itself, _, marker, expression = pytest_command("long", 1)

    def collected(*which: str) -> set[str]:
        command = [*pytest_itself, "-q", "-q", "--collect-only", *which, "tests/network/test_metering.py"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return {line for line in done.stdout.splitlines() if "::" in line}

    long, short, everything = collected(marker, expression), collected(), collected("-m", "")
    assert long
    assert short
    assert not long & short
    assert long | short == everything
