"""Prices as people say them, per kWh, and as the chain holds them, in millionths of the currency per Wh."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

MICRO_PER_KWH = 1_000
"""One unit of currency per kWh is 1,000 millionths per Wh."""


def price_per_kwh(price_micro: int) -> str:
    """A price for people."""
    whole, rest = divmod(price_micro, MICRO_PER_KWH)
    return f"{whole:,}.{rest:03d}".rstrip("0").rstrip(".")


def parse_price(text: str) -> int:
    """Read a price per kWh.

    Raises:
        ValueError: if it is not a non-negative number with at most three decimals.
    """
    try:
        price = Decimal(text) * MICRO_PER_KWH
    except InvalidOperation as error:
        raise ValueError(f"not a price: {text!r}") from error
    if not price.is_finite() or price < 0 or price != price.to_integral_value():
        raise ValueError(f"not a price per kWh with at most three decimals: {text!r}")
    return int(price)
