"""The guard of the requirement sets: refuses what is not an exact, hashed version without any address."""

from __future__ import annotations

import pytest

from tools import check_requirements

HASH = "--hash=sha256:" + "0" * 64
GOOD = (
    f"cffi==2.1.1 ; platform_python_implementation != 'PyPy' \\\n    {HASH} \\\n    {HASH}\nidna==3.20 \\\n    {HASH}\n"
)


def test_pins_with_hashes_pass() -> None:
    assert check_requirements.read_pins(GOOD) == ({"cffi": "2.1.1", "idna": "3.20"}, [])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"idna>=3 \\\n    {HASH}", "not an exact version"),
        ("idna==3.20", "not followed by SHA-256"),
        ("idna==3.20 \\\n    --hash=md5:00", "not followed by SHA-256"),
        (f"idna @ https://example.org/idna.whl \\\n    {HASH}", "has an address"),
        ("--index-url https://example.org/simple", "has an address"),
        ("--extra-index-url //example.org", "not an exact version"),
        ("-e ./libs/core", "not an exact version"),
    ],
)
def test_lines_that_are_not_hashed_pins_are_refused(line: str, complaint: str) -> None:
    pins, complaints = check_requirements.read_pins(line + "\n")
    assert pins == {}
    assert [complaint in each for each in complaints] == [True]


def test_declared_dependency_must_be_pinned_in_an_allowed_version() -> None:
    assert list(check_requirements.unmet({"idna>=3.20", "Idna<4"}, {"idna": "3.20"})) == []
    assert list(check_requirements.unmet({"idna>=4"}, {"idna": "3.20"})) == [
        "idna>=4 is declared but 3.20 is pinned: make lock"
    ]
    assert list(check_requirements.unmet({"psycopg[binary]"}, {})) == ["psycopg is declared but not pinned: make lock"]


def test_requirement_sets_of_this_repository_pass() -> None:
    assert sorted(set(check_requirements.find_complaints())) == []
