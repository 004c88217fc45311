"""Settings of the miner (example: services/miner/README.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_runtime.settings import NodeSettings


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the search process works."""

    batch_ms: Annotated[int, msgspec.Meta(ge=1, le=50)] = 15
    """How long it searches before it looks for a new template. At most 50: a template interrupts within 50 ms."""
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    """How much it steps back for other programs on the machine (nice(1)); 19 takes only what nobody else wants."""


class MinerSettings(NodeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a miner is told from outside."""

    search: SearchSettings = SearchSettings()
