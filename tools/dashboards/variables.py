"""Variables at the head of a dashboard. In SQL they stand only as ``${name:sqlstring}``, which Grafana quotes."""

from __future__ import annotations

from collections.abc import Mapping

from tools.dashboards.board import DATA_SOURCE
from tools.dashboards.setting import Json
from tools.dashboards.spans import CHANNEL

CHANNELS = f"SELECT {CHANNEL} FROM reading_channels ORDER BY 1 LIMIT 100"

ONE_OF_CHANNELS = "c.meter || '/' || c.channel IN (${channel:sqlstring})"
"""The channels that were chosen."""


def channel(label: str) -> Json:
    """Any of the member's channels, all at first."""
    return {
        "type": "query",
        "name": "channel",
        "label": label,
        "datasource": DATA_SOURCE,
        "query": CHANNELS,
        "refresh": 1,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def choice(name: str, label: str, options: Mapping[str, str], first: str) -> Json:
    """One of several values, each with a text."""
    listed = [{"text": text, "value": value, "selected": value == first} for value, text in options.items()]
    return {
        "type": "custom",
        "name": name,
        "label": label,
        "query": ",".join(f"{text} : {value}" for value, text in options.items()),
        "options": listed,
        "current": {"text": options[first], "value": first},
        "multi": False,
        "includeAll": False,
    }


def number(name: str, label: str, first: str) -> Json:
    """Something to type in."""
    return {
        "type": "textbox",
        "name": name,
        "label": label,
        "query": first,
        "options": [{"text": first, "value": first, "selected": True}],
        "current": {"text": first, "value": first},
    }
