"""What all layers of the tests share: the plugins in tests/support, the seed, and the rule that nothing is skipped.

Every file tests/support/fix_*.py is a plugin with the fixtures of one resource. There is no fixture here.
A test that was skipped makes the run fail: a missing broker or database must not look like a passed layer.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # it has no types

from tests.support.examples import SOAK, examples
from tests.support.seed import SEED, seeded_random

# What tests start is compiled once and not at each start, also where no bytecode may stand beside the sources.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix, "pycache")))

pytest_plugins = [f"tests.support.{file.stem}" for file in sorted(Path(__file__).parent.glob("support/fix_*.py"))]

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "soak",
    deadline=None,
    print_blob=True,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("soak" if SOAK else "ci" if os.environ.get("MINERVAS_CI") else "default")

STOP_SERVERS_S = 120

NETWORK_TESTS = "tests/network/"
LONGEST_FIRST = (
    NETWORK_TESTS,
    "tests/browser/",
    "tests/adapters/test_admission",
    "tests/adapters/",
    "tests/tools/",
    "",
)
"""How the names of tests begin, those first that take longest."""

_skipped: list[str] = []


def pytest_report_header() -> str:
    """Name the seed, so that any run can be repeated."""
    return f"minervas: repeat this run with MINERVAS_SEED={SEED}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Give the processes of `make test` time to stop their servers after a Ctrl-C before they are killed."""
    config.pluginmanager.getplugin("dsession").nodemanager.EXIT_TIMEOUT = STOP_SERVERS_S


class NetworkTogether(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """File by file, but all network tests in one process, because they share one network and mostly wait for it."""

    def _split_scope(self, nodeid: str) -> str:
        return NETWORK_TESTS if nodeid.startswith(NETWORK_TESTS) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> NetworkTogether | None:
    """Share the files among the processes of `make test`."""
    return NetworkTogether(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes of `make test` take files in the order in which they were collected."""
    if config.getoption("dist", "no") == "loadfile":
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests in another order.

    What takes long comes first when processes share the tests, so that they end at the same time. A soak may be over
    before the last file: there the order of the files depends on the seed.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(
            key=lambda item: next(place for place, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start))
        )
    if SOAK:
        files = sorted({item.path for item in items})
        seeded_random("order of files").shuffle(files)
        items.sort(key=lambda item: files.index(item.path))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember a test that was skipped."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in which a test was skipped."""
    if _skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a run with skipped tests failed, and with which seed."""
    if _skipped:
        terminalreporter.write_line(
            f"FAILED: {len(_skipped)} skipped; a missing broker or database is a failure", red=True
        )
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"repeat this run with MINERVAS_SEED={SEED}")
