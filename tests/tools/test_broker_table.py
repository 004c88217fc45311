"""docs/broker-tests.md names a test for every promise of the broker, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISES = 22
ROWS = re.findall(r"^\| (\d+) \| .+? \| (.+) \|$", (ROOT / "docs" / "broker-tests.md").read_text("utf-8"), re.MULTILINE)


def functions_of(module: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / "adapters" / f"{module}.py").read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_promise_has_a_row() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, PROMISES + 1))


@pytest.mark.parametrize(("number", "cell"), ROWS)
def test_every_test_that_is_named_exists(number: str, cell: str) -> None:
    named = re.findall(r"`(test_\w+)::(test_\w+)`", cell)
    assert named, number
    assert [f"{module}::{name}" for module, name in named if name not in functions_of(module)] == []
