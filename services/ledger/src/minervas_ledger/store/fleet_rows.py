"""Rows of `fleet`: what every service last said of itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from minervas_core.identifiers import Principal
from minervas_core.messages import ChainTip, Presence
from minervas_ledger.store.connection import Connection

UPSERT = """
INSERT INTO fleet AS f (
    member, service, state, version, last_seen_ms, changed_ms, certificate_expires_ms, tip_height, tip_hash,
    disk_use_per_mille, spool_use_per_mille, clock_offset_ms, low_disk,
    clock_synchronised, told_offset_ms, spool_readings
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (member, service) DO UPDATE SET
    state = excluded.state, version = excluded.version,
    last_seen_ms = greatest(f.last_seen_ms, excluded.last_seen_ms),
    changed_ms = CASE WHEN f.state = excluded.state THEN f.changed_ms ELSE excluded.changed_ms END,
    certificate_expires_ms = coalesce(excluded.certificate_expires_ms, f.certificate_expires_ms),
    tip_height = coalesce(excluded.tip_height, f.tip_height), tip_hash = coalesce(excluded.tip_hash, f.tip_hash),
    disk_use_per_mille = coalesce(excluded.disk_use_per_mille, f.disk_use_per_mille),
    spool_use_per_mille = coalesce(excluded.spool_use_per_mille, f.spool_use_per_mille),
    clock_offset_ms = coalesce(excluded.clock_offset_ms, f.clock_offset_ms), low_disk = excluded.low_disk,
    clock_synchronised = coalesce(excluded.clock_synchronised, f.clock_synchronised),
    told_offset_ms = coalesce(excluded.told_offset_ms, f.told_offset_ms),
    spool_readings = coalesce(excluded.spool_readings, f.spool_readings)
"""
"""Who is offline says nothing of the rest: what it said before stays."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A presence, and when and how it came."""

    who: Principal
    presence: Presence
    at_ms: int
    retained: bool
    """Whether it is from before we listened."""


def write_fleet(connection: Connection, heard: Iterable[Heard]) -> None:
    """Write what services said last."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(UPSERT, [_row(each) for each in heard])


def _row(heard: Heard) -> tuple[object, ...]:
    presence = heard.presence
    is_online = presence.state == "online"
    seen_ms = min(presence.sent_at_ms, heard.at_ms) if heard.retained else heard.at_ms
    tip = presence.tip if isinstance(presence.tip, ChainTip) else None
    return (
        *(heard.who.member, heard.who.service, presence.state, presence.version),
        seen_ms if is_online else None,
        heard.at_ms,
        presence.certificate_expires_ms or None,
        *((None, None) if tip is None else (tip.height, bytes.fromhex(tip.hash))),
        _or_null(presence.disk_use_per_mille),
        _or_null(presence.spool_use_per_mille),
        presence.sent_at_ms - heard.at_ms if is_online and not heard.retained else None,
        _or_null(presence.low_disk),
        *map(_or_null, (presence.clock_synchronised, presence.clock_offset_ms, presence.spool_readings)),
    )


def _or_null(value: int | str | msgspec.UnsetType) -> int | str | None:
    return None if isinstance(value, msgspec.UnsetType) else value
