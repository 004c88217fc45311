"""What the pages say, in every language: one TOML file for each page and language, with the same keys.

``queue.title`` is the key ``title`` of ``texts/<language>/queue.toml``; tables make longer keys (``queue.state.done``).
Texts hold values in braces, as for `str.format`, and no markup.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TEXTS = Path(__file__).parent / "texts"

LANGUAGES = {"en": "English", "ko": "한국어"}
"""Languages with their own names; the first one is taken when a browser asks for none of them."""

DEFAULT_LANGUAGE = "en"


class Texts:
    """The texts of one language."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with the values in place of its braces.

        Raises:
            KeyError: if there is no such text; a test sees to it that every key in a page has one.
        """
        return self._texts[key].format(**values)

    def choice(self, family: str, value: str) -> str:
        """The text ``family.value``; the value itself if it has none, as of an error that is new."""
        return self._texts.get(f"{family}.{value}", value)

    def keys(self) -> set[str]:
        """All keys."""
        return set(self._texts)


@functools.cache
def texts_of(language: str) -> Texts:
    """The texts of a language of `LANGUAGES`."""
    texts: dict[str, str] = {}
    for file in sorted((TEXTS / language).glob("*.toml")):
        texts.update(_flat(file.stem, tomllib.loads(file.read_text("utf-8"))))
    return Texts(language, texts)


def _flat(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", str(value)


def wanted_language(accept_language: str) -> str:
    """The language of ours that a browser likes best (RFC 9110 section 12.5.4)."""
    best, best_quality = DEFAULT_LANGUAGE, 0.0
    for part in accept_language[:500].split(","):
        name, _, parameters = part.partition(";")
        language = name.strip().lower().partition("-")[0]
        if language in LANGUAGES and (quality := _quality(parameters)) > best_quality:
            best, best_quality = language, quality
    return best


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
