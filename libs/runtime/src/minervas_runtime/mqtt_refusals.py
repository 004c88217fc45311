"""What the broker's reason codes mean for us: refused for good, passing trouble, or a missing right."""

from __future__ import annotations

import ssl

from paho.mqtt.reasoncodes import ReasonCode

from minervas_core.errors import Code
from minervas_runtime.bus import BusDenied, BusOffline, BusRefused, PayloadTooLarge, revoked_refusal, taken_over_refusal
from minervas_runtime.daemon_thread import run_in_daemon_thread
from minervas_runtime.mqtt_connection import BusSettings, Closed
from minervas_runtime.tls_diagnosis import Diagnosis, diagnose, explain_tls_error

SESSION_TAKEN_OVER = 0x8E
PACKET_TOO_LARGE = 0x95
QUOTA_EXCEEDED = 0x97
ADMINISTRATIVE_ACTION = 0x98

_PASSING = frozenset({0x80, 0x83, 0x88, 0x89, 0x8B, 0x97, 0x9F})
"""CONNACK codes that a retry may mend: unspecified, implementation, unavailable, busy, shutting down, quota, rate."""


async def judge_connect(closed: Closed, settings: BusSettings) -> BusRefused | None:
    """Whether a failed attempt to connect means that the broker refuses us, and why.

    A connection that just closes after the TLS handshake is probed for the alert that paho could not see.
    """
    if closed.reason is not None:
        if closed.reason in _PASSING:
            return None
        return _refusal(Diagnosis("refused", "", f"it answers {closed.text}"), settings)
    if isinstance(closed.error, ssl.SSLError):
        diagnosis = explain_tls_error(closed.error, settings.cert_file)
    elif closed.error is None:
        diagnosis = await run_in_daemon_thread(lambda: _probe(settings), f"diagnose {settings.principal}")
    else:
        return None
    return _refusal(diagnosis, settings) if diagnosis.verdict == "refused" else None


def judge_loss(closed: Closed, settings: BusSettings) -> BusRefused | None:
    """Whether the end of a working connection means that we should stay away for a while."""
    if closed.reason == ADMINISTRATIVE_ACTION:
        return revoked_refusal(settings.principal)
    if closed.reason == SESSION_TAKEN_OVER:
        return taken_over_refusal(settings.principal)
    return None


def judge_puback(code: ReasonCode, topic: str, size_bytes: int) -> BusDenied | PayloadTooLarge | BusOffline:
    """What a failure in PUBACK means."""
    reason = code.getName()
    if code.value == PACKET_TOO_LARGE:
        return PayloadTooLarge(Code.PAYLOAD_TOO_LARGE, "Too large for the broker", topic=topic, size_bytes=size_bytes)
    if code.value == QUOTA_EXCEEDED:
        return BusOffline(Code.BUS_OFFLINE, "The broker's quota is exceeded", topic=topic, reason=reason)
    return BusDenied(Code.BUS_DENIED, "The broker does not let us publish this", topic=topic, reason=reason)


def judge_suback(code: ReasonCode, topic_filter: str) -> BusDenied:
    """What a failure in SUBACK means."""
    return BusDenied(
        Code.BUS_DENIED, "The broker does not let us subscribe to this", topic=topic_filter, reason=code.getName()
    )


def _probe(settings: BusSettings) -> Diagnosis:
    return diagnose(
        settings.host,
        settings.port,
        settings.ca_file,
        settings.cert_file,
        settings.key_file,
        timeout_s=settings.connect_timeout_s,
    )


def _refusal(diagnosis: Diagnosis, settings: BusSettings) -> BusRefused:
    return BusRefused(
        Code.BUS_REFUSED,
        f"The broker refuses us: {diagnosis.cause}",
        principal=settings.principal,
        broker=f"{settings.host}:{settings.port}",
        alert=diagnosis.alert,
    )
