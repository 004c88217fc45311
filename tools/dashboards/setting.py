"""What one set of dashboards is written for: a language, a time zone and a currency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]
Language = Literal["ko", "en"]

LANGUAGES: tuple[Language, ...] = ("ko", "en")
SYMBOLS = {"KRW": "₩", "EUR": "€", "USD": "$", "JPY": "¥"}
"""Signs of currencies; another one is written as its code."""


@dataclass(frozen=True)
class Setting:
    """Language, zone and currency of a set."""

    language: Language
    zone: str = "Asia/Seoul"
    """IANA name: its days begin at midnight there."""
    currency: str = "KRW"
    """ISO 4217 code, as in genesis."""

    def say(self, korean: str, english: str) -> str:
        """The text in this set's language."""
        return korean if self.language == "ko" else english

    @property
    def money(self) -> str:
        """Grafana's unit for whole amounts of money: never abbreviated."""
        return f"currency:financial:{SYMBOLS.get(self.currency, self.currency)}"

    def money_per_kwh(self) -> str:
        """Grafana's unit for a price."""
        return f"suffix: {SYMBOLS.get(self.currency, self.currency)}/kWh"
