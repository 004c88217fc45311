"""Prometheus metrics that every service has; they are in the default registry, which /metrics serves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

REFUSALS = Counter(
    "minervas_refusals",
    "Things refused, by the service that refused, the kind of message and the stable error code.",
    ["service", "kind", "code"],
)
BUS_RECEIVED = Counter("minervas_bus_received", "Messages handed to a handler.", ["filter"])
BUS_DROPPED = Counter("minervas_bus_dropped", "Messages dropped because a handler was too slow.", ["filter"])
HANDLER_ERRORS = Counter("minervas_handler_errors", "Unexpected exceptions in message handlers.", ["handler"])
BUS_CONNECTED = Gauge("minervas_bus_connected", "1 while connected to the broker.", ["principal"])
BUS_CONNECTS = Counter("minervas_bus_connects", "Successful connections to the broker.", ["principal"])
CERTIFICATE_EXPIRES = Gauge(
    "minervas_certificate_expires_seconds", "When the certificate for the broker ends (Unix time).", ["principal"]
)
