"""Money for people: taxes and rounding, in integers (design section 4).

Amounts are exact in millionths of the currency until they stand on a bill. There the total is rounded once, to the
smallest unit that people pay in, half to even.
"""

from __future__ import annotations

MICRO = 1_000_000

MINOR_DIGITS = {
    "BHD": 3, "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "IQD": 3, "ISK": 0, "JOD": 3, "JPY": 0, "KMF": 0, "KRW": 0,
    "KWD": 3, "LYD": 3, "OMR": 3, "PYG": 0, "RWF": 0, "TND": 3, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0,
    "XOF": 0, "XPF": 0,
}  # fmt: skip
"""Digits behind the point by currency, where these are not two (ISO 4217)."""


def minor_digits(currency: str) -> int:
    """Digits behind the point in which people pay; KRW has none."""
    return MINOR_DIGITS.get(currency, 2)


def minor_unit_micro(currency: str) -> int:
    """The smallest unit that people pay in, in millionths of the currency."""
    return int(MICRO // 10 ** minor_digits(currency))


def rounded_half_even(amount: int, unit: int) -> int:
    """The multiple of `unit` next to an amount; of two that are as near the one with an even count of units."""
    count, rest = divmod(amount, unit)
    if 2 * rest > unit or (2 * rest == unit and count % 2):
        count += 1
    return count * unit


def with_tax(amount_micro: int, tax_per_mille: int) -> int:
    """An amount with its tax, a broken millionth rounded up; bounds use it, bills show the exact numbers."""
    return amount_micro - (-amount_micro * tax_per_mille // 1_000)
