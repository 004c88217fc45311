"""Fixtures: a stand-in for admission with real TLS, and an applicant whose services have handed in their keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.applicant import Applicant, enrol
from tests.support.fake_admission import FakeAdmission


@pytest.fixture
def admission(tmp_path: Path) -> FakeAdmission:
    return FakeAdmission(tmp_path / "admission")


@pytest.fixture
def served(admission: FakeAdmission) -> Iterator[FakeAdmission]:
    with admission.serve():
        yield admission


@pytest.fixture
def applicant(tmp_path: Path, admission: FakeAdmission) -> Applicant:
    node = tmp_path / "node"
    enrol(node)
    return Applicant(node, admission)
