"""Settings of the ledger (example: services/ledger/README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.identifiers import check_member_id
from minervas_runtime.settings import NodeSettings, SettingsError, load_settings


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


class DiskSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Free space below which nothing more is stored; 0 switches a limit off."""

    directory: Path | None = None
    """On the disk that is watched: best where PostgreSQL keeps its data; the ledger's data directory if not given."""
    readings_min_free_mb: Annotated[int, msgspec.Meta(ge=0)] = 2_000
    """Readings are refused below it; the gateways' spools keep them."""
    blocks_min_free_mb: Annotated[int, msgspec.Meta(ge=0)] = 500
    """Blocks are refused below it."""


class ArchiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When and where to old readings go; without it they stay in the database."""

    directory: Path
    keep_days: Annotated[int, msgspec.Meta(ge=7, le=36_500)] = 400
    """Days that readings stay in the database at least."""
    dispute_days: Annotated[int, msgspec.Meta(ge=0, le=3_650)] = 60
    """Days after a statement's block in which its readings stay at hand."""


class LedgerSettings(NodeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a ledger is told from outside."""

    database: DatabaseSettings
    database_owner: DatabaseOwnerSettings | None = None
    disk: DiskSettings = DiskSettings()
    archive: ArchiveSettings | None = None
    expected_output: Path | None = None
    """Directory with files of the expected-output job; the operator's ledger takes those of all members."""
    readings: Literal["own", "all"] = "own"
    """Whose readings to store; the operator's ledger stores those of all members."""
    readings_flush_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 1_000
    """How often readings are stored."""
    readings_pull_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300
    """How often each member's ledger is asked for readings that we miss, with `readings` = "all"."""


def load_ledger_settings(path: Path) -> LedgerSettings:
    """Read and check the settings file.

    Raises:
        SettingsError: naming file, key and what to do.
    """
    settings = load_settings(path, LedgerSettings)
    try:
        check_member_id(settings.member)
    except MinervasError as error:
        raise SettingsError(error.message, file=path, key="member", advice="use the id you applied with") from error
    disk = settings.disk
    if disk.readings_min_free_mb < disk.blocks_min_free_mb:
        raise SettingsError(
            "blocks would be refused before readings are",
            file=path,
            key="disk.readings_min_free_mb",
            advice="make it larger than disk.blocks_min_free_mb",
        )
    return settings
