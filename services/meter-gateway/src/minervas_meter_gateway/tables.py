"""Plain text tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def as_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; a column of numbers is aligned to the right."""
    widths = [max(len(head), *(len(row[column]) for row in rows), 0) for column, head in enumerate(heads)]
    right = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(heads))]
    lines = [heads, *rows]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def milli(value: int | None, digits: int) -> str:
    """A count of thousandths with this many decimals (at most 3), cut off, without floats; a dash for None."""
    if value is None:
        return "-"
    whole, rest = divmod(abs(value) // 10 ** (3 - digits), 10**digits)
    decimals = f".{rest:0{digits}d}" if digits else ""
    return f"{'-' if value < 0 else ''}{whole}{decimals}"


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(".", "", 1).removeprefix("-").isdigit()
