"""Languages of the pages: the same texts in each, all of them used, and times as the consortium has them."""

from __future__ import annotations

import re
import string
import zoneinfo
from pathlib import Path

import pytest

from minervas_admission.web.formats import Formats
from minervas_admission.web.site import HERE
from minervas_admission.web.texts import LANGUAGES, texts_of, wanted_language
from tests.support.admission import AdmissionHome
from tests.support.admission_web import LOGIN, Browser, words_of


def sources() -> str:
    """Everything that can name a text."""
    files = [*HERE.rglob("*.py"), *(HERE / "templates").rglob("*.html")]
    return "\n".join(file.read_text("utf-8") for file in files)


def test_every_language_has_the_same_texts_with_the_same_values() -> None:
    for language in LANGUAGES:
        texts, other = texts_of(language), texts_of("en")
        assert texts.keys() == other.keys(), sorted(texts.keys() ^ other.keys())
        for key in sorted(other.keys()):
            assert _values(texts._texts[key]) == _values(other._texts[key]), (language, key)
            assert texts._texts[key].strip(), (language, key)
    files = {language: {file.name for file in (HERE / "texts" / language).iterdir()} for language in LANGUAGES}
    assert len({frozenset(names) for names in files.values()}) == 1, files


def _values(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_text_is_used_and_every_used_text_exists() -> None:
    """A key stands in quotes in a page or template; of a key that is put together, the part that is always the same."""
    text, known = sources(), texts_of("en").keys()
    literals = set(re.findall(r"""["']([a-z_][\w ]*(?:\.[\w .]*)+)["']""", text))
    begun = tuple(literal for literal in literals if literal[-1] in "._" and not re.fullmatch(r"\w+\.", literal))
    for key in sorted(known):
        parts = key.split(".")
        families = {".".join(parts[:count]) for count in range(2, len(parts))}
        assert key in literals or families & literals or key.startswith(begun), key
    for named in re.findall(r"""\bt\(\s*["']([a-z_.]+[a-z])["']\s*[,)]""", text):
        assert named in known, named
    for family in re.findall(r"""\bchoice\(\s*["']([a-z_.]+)["']""", text):
        assert any(key.startswith(family.rstrip(".") + ".") for key in known), family


def test_templates_have_no_texts_of_their_own() -> None:
    """Words in a template would be of one language."""
    for file in (HERE / "templates").rglob("*.html"):
        markup = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", " ", file.read_text("utf-8"), flags=re.DOTALL)
        bare = re.sub(r"""<[^>]*>|&\w+;|[\w-]+="[^"]*\"""", " ", markup)
        bare = bare.replace("minervas-admission reset-password", "")
        assert not re.search(r"[a-zA-Z가-힣]{3,}", bare), (file.name, re.findall(r"[a-zA-Z가-힣]{3,}", bare))


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en-GB,en;q=0.9,ko;q=0.8", "en"),
        ("en;q=0.5, ko;q=0.9", "ko"),
        ("de, fr;q=0.9, ko;q=0.1", "ko"),
        ("de, fr", "en"),
        ("ko;q=0", "en"),
        ("ko;q=what", "en"),
        (",;,=;q", "en"),
    ],
)
def test_language_is_the_one_that_the_browser_likes_best(header: str, language: str) -> None:
    assert wanted_language(header) == language


def test_times_and_numbers_are_of_the_zone_and_language() -> None:
    zone = zoneinfo.ZoneInfo("Asia/Seoul")
    english, korean = Formats("en", zone), Formats("ko", zone)
    time_ms = 1_793_289_305_000
    assert english.when(time_ms) == "30 Oct 2026, 00:55:05"
    assert korean.when(time_ms) == "2026. 10. 30. 00:55:05"
    assert english.machine_time(time_ms) == "2026-10-29T15:55:05Z"
    assert (english.when(None), english.when(0)) == ("-", "-")
    assert english.number(1_234_567) == "1,234,567"
    assert english.milliseconds(1_234_567) == "1,234.6 ms"
    assert english.seconds(1_234) == "1.234 s"


async def test_language_is_chosen_in_the_page_and_kept(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home, language="ko-KR") as browser:
        page = await browser.get(LOGIN)
        assert "컨소시엄 운영자를 위한 페이지입니다." in words_of(page)
        assert '<html lang="ko">' in page.text
        assert "Asia/Seoul" in words_of(page)
        answer = await browser.get("/language/en", params={"back": LOGIN})
        assert (answer.status_code, answer.headers["location"]) == (303, LOGIN)
        assert "secure" in answer.headers["set-cookie"].lower()
        page = await browser.get(LOGIN)
        assert "These pages are for the operators of the consortium." in words_of(page)
        page = await browser.log_in("kim", "not the password")
        assert "Name or password is wrong" in words_of(page)
        assert (await browser.get("/language/fr")).status_code == 404


def test_style_sheet_is_plain_and_our_own() -> None:
    style = Path(HERE / "static" / "site.css").read_text("utf-8")
    assert "@import" not in style
    assert "url(" not in style
    assert "prefers-color-scheme: dark" in style
