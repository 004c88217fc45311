"""Numbers for people: money, energy, times. Exact: no float is involved."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from minervas_core.money import MICRO, minor_digits

SYMBOLS = {"KRW": "₩", "EUR": "€", "USD": "$", "JPY": "¥", "GBP": "£"}


def money(amount_micro: int, currency: str) -> str:
    """An amount that is whole in the currency's smallest unit: ``₩ 42,780``, ``€ 3.10``; others in full."""
    digits = minor_digits(currency)
    if amount_micro % (MICRO // 10**digits):
        return exact_money(amount_micro, currency)
    return f"{_symbol(currency)} {_decimal(amount_micro, digits)}"


def exact_money(amount_micro: int, currency: str) -> str:
    """An amount with as many digits as it has, at least the currency's."""
    digits = 6
    while digits > minor_digits(currency) and amount_micro % 10 ** (7 - digits) == 0:
        digits -= 1
    return f"{_symbol(currency)} {_decimal(amount_micro, digits)}"


def decimal_text(amount_micro: int) -> str:
    """An amount for programs: no symbol, no separators, a point."""
    return _decimal(amount_micro, 6).replace(",", "")


def kilowatt_hours(energy_wh: int) -> str:
    """Energy in kWh, exact to the Wh."""
    return f"{energy_wh // 1000:,}.{energy_wh % 1000:03}"


def price_per_kwh(price_micro: int) -> str:
    """A price per kWh from millionths per Wh."""
    whole, rest = divmod(price_micro, 1000)
    text = f"{whole:,}.{rest:03}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def moment(time_ms: int, zone: str) -> str:
    """A time in the consortium's zone, with its offset from UTC: unique also when the clocks change."""
    found = dt.datetime.fromtimestamp(time_ms // 1000, ZoneInfo(zone))
    return found.strftime("%Y-%m-%d %H:%M:%S %z")


def day(time_ms: int, zone: str) -> str:
    """A date in the consortium's zone."""
    return dt.datetime.fromtimestamp(time_ms // 1000, ZoneInfo(zone)).strftime("%Y-%m-%d")


def _symbol(currency: str) -> str:
    return SYMBOLS.get(currency, currency)


def _decimal(amount_micro: int, digits: int) -> str:
    """With so many digits behind the point; what is cut off must be 0."""
    sign, amount = ("-", -amount_micro) if amount_micro < 0 else ("", amount_micro)
    whole, rest = divmod(amount, MICRO)
    return f"{sign}{whole:,}" + (f".{rest:06}"[: digits + 1] if digits else "")
