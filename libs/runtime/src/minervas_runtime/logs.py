"""Logs: one JSON object per line on standard error, with an event name and fields, never secrets.

Use ``log.info("block_connected", extra={"fields": {"height": 7}})``: the message is a fixed event name, so that it can
be counted and searched; everything that varies is a field.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
from typing import Any

import msgspec

_LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, service, member, event, logger, then the fields."""

    def __init__(self, service: str, member: str) -> None:
        super().__init__()
        self._service = service
        self._member = member

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "member": self._member,
            "event": record.getMessage(),
            "logger": record.name,
        }
        for name, value in getattr(record, "fields", {}).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def setup_logging(service: str, member: str, level: str = "info") -> None:
    """Send everything that is logged in this process to standard error as JSON lines.

    Raises:
        ValueError: for a level other than debug, info, warning or error.
    """
    if level not in _LEVELS:
        raise ValueError(f"log level must be one of {', '.join(_LEVELS)}, not {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service, member))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
