"""The ledger's settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from minervas_runtime.settings import BrokerSettings, HealthSettings, LogSettings, NodePaths


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The node's PostgreSQL database and the role that works in it."""

    host: str
    """Name, address, or directory of a Unix socket (then it starts with a slash)."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
    name: str
    user: str
    password_file: Path


class DatabaseOwnerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The role that owns the tables; only `migrate` uses it."""

    user: str
    password_file: Path


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a ledger needs to know."""

    member: str
    paths: NodePaths
    database: DatabaseSettings
    database_owner: DatabaseOwnerSettings | None = None
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    broker: BrokerSettings | None = None
    """Overrides the address that the consortium issued."""
