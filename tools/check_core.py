"""Refuse floats in libs/core: every amount, price, time and ratio of the protocol is an integer (design section 4).

Two nodes that round differently fork the chain, so core has no float literal, no `float` or `complex`, no true
division, no power with a negative exponent, and of `math` only the functions that stay with integers.
What it can not see, a float that arrives from outside, the decoder refuses at run time.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

CORE = Path(__file__).resolve().parent.parent / "libs" / "core" / "src"
INTEGER_MATH = {"comb", "factorial", "gcd", "isqrt", "lcm", "perm", "prod"}
FLOAT_NAMES = {"float", "complex"}
FLOAT_METHODS = {"timestamp", "total_seconds"}


def _complaint(node: ast.AST) -> str | None:  # noqa: PLR0911 - a table: one answer for each kind of node
    """Return what is wrong with a node, or None."""
    match node:
        case ast.Constant(value=float() | complex()):
            return f"literal {node.value!r} is not an integer"
        case ast.Name(id=name) if name in FLOAT_NAMES:
            return f"{name} is not used in core"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "true division makes a float; use // and say how it rounds"
        case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub())):
            return "a negative exponent makes a float"
        case ast.Attribute(value=ast.Name(id="math"), attr=name) if name not in INTEGER_MATH:
            return f"math.{name} works with floats"
        case ast.Attribute(attr=name) if name in FLOAT_METHODS:
            return f".{name}() returns a float"
        case ast.ImportFrom(module="math", names=names) if wrong := {n.name for n in names} - INTEGER_MATH:
            return f"math.{min(wrong)} works with floats"
        case _:
            return None


def find_floats(source: str) -> Iterator[tuple[int, str]]:
    """Yield line number and complaint for everything in a module's source that may make a float."""
    for node in ast.walk(ast.parse(source)):
        if complaint := _complaint(node):
            yield node.lineno, complaint  # type: ignore[attr-defined]  # every node with a complaint has a place


def main() -> int:
    """Check all modules of core; the exit status is 1 if anything was found."""
    found = 0
    for path in sorted(CORE.rglob("*.py")):
        for line, complaint in find_floats(path.read_text(encoding="utf-8")):
            sys.stderr.write(f"{path.relative_to(CORE.parent.parent.parent)}:{line}: {complaint}\n")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
