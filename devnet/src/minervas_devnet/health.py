"""Ask a service's /healthz and /metrics."""

from __future__ import annotations

from typing import Any

import httpx

from minervas_devnet.ports import LOOPBACK

TIMEOUT_S = 2.0

_client = httpx.Client(timeout=TIMEOUT_S, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""One for all questions, because making one loads all of the system's authorities; but a new connection for each,
because the service may be another process by now."""


def health(port: int) -> dict[str, Any]:
    """What /healthz of a service on a loopback port says; ``{"status": "away"}`` if nobody answers."""
    try:
        content = _client.get(f"http://{LOOPBACK}:{port}/healthz").json()
    except (httpx.HTTPError, ValueError):
        return {"status": "away"}
    return content if isinstance(content, dict) else {"status": "away"}


def is_status(port: int, *wanted: str) -> bool:
    """Whether a service is in one of these states."""
    return health(port).get("status") in wanted


def metric(port: int, name: str) -> float:
    """Value of a metric without labels on /metrics of a service; -1 if nobody answers or it has none of that name."""
    try:
        text = _client.get(f"http://{LOOPBACK}:{port}/metrics").text
    except httpx.HTTPError:
        return -1
    values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(values[0]) if values else -1
