"""The guard against floats in core: finds each way to make one, and passes the code as it is."""

from __future__ import annotations

import pytest

from tools import check_core


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.5",
        "x = 1e3",
        "x = 2j",
        "x = a / b",
        "a /= 2",
        "x = 2 ** -1",
        "x = float(a)",
        "def f(a: float) -> int: ...",
        "x = complex(1)",
        "import math\nx = math.sqrt(2)",
        "from math import gcd, log",
        "x = moment.timestamp()",
        "x = span.total_seconds()",
        "match x:\n    case 1.5: pass",
    ],
)
def test_ways_to_make_a_float_are_found(source: str) -> None:
    assert list(check_core.find_floats(source))


@pytest.mark.parametrize(
    "source",
    [
        "x = a // b",
        "x = 2 ** 256 - 1",
        "x = 10_000",
        "import math\nx = math.isqrt(5)",
        "x = '0.5'",
        "from math import gcd",
    ],
)
def test_integers_pass(source: str) -> None:
    assert list(check_core.find_floats(source)) == []


def test_line_of_the_float_is_told() -> None:
    assert list(check_core.find_floats("x = 1\ny = x / 2")) == [
        (2, "true division makes a float; use // and say how it rounds")
    ]


def test_core_has_no_floats() -> None:
    assert check_core.main() == 0
