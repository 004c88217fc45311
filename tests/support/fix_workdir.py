"""Fixture: a directory that also the system users of servers can pass through (pytest's own is private)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minervas_devnet.workdir import WorkDir


@pytest.fixture
def work_dir(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A fresh directory for one test, kept (and named on standard error) when the test failed."""
    work = WorkDir("test")
    failed_before = request.session.testsfailed
    yield work.path
    if request.session.testsfailed > failed_before:
        work.keep()
    work.close()


@pytest.fixture(scope="session")
def session_work_dir(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A fresh directory for the whole run, kept when any test failed."""
    work = WorkDir("tests")
    yield work.path
    if request.session.testsfailed:
        work.keep()
    work.close()
