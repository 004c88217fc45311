"""Settings of the miner (example: services/miner/README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.identifiers import check_member_id
from minervas_runtime.settings import NodeSettings, SettingsError, load_settings


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the search process works."""

    batch_ms: Annotated[int, msgspec.Meta(ge=1, le=50)] = 15
    """How long it searches before it looks for a new template. At most 50: a template interrupts within 50 ms."""
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    """How much it steps back for other programs on the machine (nice(1)); 19 takes only what nobody else wants."""


class MinerSettings(NodeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a miner is told from outside."""

    search: SearchSettings = SearchSettings()


def load_miner_settings(path: Path) -> MinerSettings:
    """Read and check the settings file.

    Raises:
        SettingsError: naming file, key and what to do.
    """
    settings = load_settings(path, MinerSettings)
    try:
        check_member_id(settings.member)
    except MinervasError as error:
        raise SettingsError(error.message, file=path, key="member", advice="use the id you applied with") from error
    return settings
