"""Logs: one JSON object per line, the event name fixed, everything that varies a field."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from minervas_runtime.logs import JsonFormatter, setup_logging


@pytest.fixture(autouse=True)
def untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def line_of(**fields: object) -> dict[str, object]:
    record = logging.LogRecord("minervas_x.y", logging.WARNING, __file__, 1, "block_refused", None, None)
    record.created = 1_700_000_000.5
    record.fields = fields
    text = JsonFormatter("ledger", "mokpo-univ").format(record)
    assert "\n" not in text
    decoded: dict[str, object] = json.loads(text)
    return decoded


def test_a_line_has_time_level_service_member_event_and_fields() -> None:
    assert line_of(height=7, code="block_work") == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "warning",
        "service": "ledger",
        "member": "mokpo-univ",
        "event": "block_refused",
        "logger": "minervas_x.y",
        "height": 7,
        "code": "block_work",
    }


def test_a_field_cannot_take_the_place_of_what_every_line_has() -> None:
    assert line_of(level="info", event="forged")["event"] == "block_refused"


def test_line_ends_in_a_field_do_not_break_the_line() -> None:
    assert line_of(topic="a\nb")["topic"] == "a\nb"


def test_an_exception_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("peer", "m", "info")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("t").exception("handler_failed", extra={"fields": {"kind": object}})
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in json.loads(line)["traceback"]


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("peer", "m", "warning")
    logging.getLogger("t").info("quiet")
    logging.getLogger("t").warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        setup_logging("peer", "m", "loud")
