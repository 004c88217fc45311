"""A line of tiles from one query of one row: the first tile asks, the others share its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tools.dashboards.board import Board, Query, Shared
from tools.dashboards.panels import keep, stat
from tools.dashboards.setting import Json


class Tile(NamedTuple):
    """A number of the row."""

    column: str
    unit: str
    decimals: int
    title: tuple[str, str]
    """Korean and English, as `description`."""
    description: tuple[str, str]


def add_tiles(board: Board, query: Query, tiles: Sequence[Tile], nothing: tuple[str, str]) -> None:
    """Add the tiles; `nothing` stands where there is no number."""
    say = board.setting.say
    first = board.reserve()
    for place, tile in enumerate(tiles):
        defaults: Json = {"unit": tile.unit, "decimals": tile.decimals, "noValue": say(*nothing)}
        look = stat(defaults, transformations=[keep(f"^{tile.column}$")])
        asked = Shared(first) if place else query
        board.add(say(*tile.title), say(*tile.description), (4, 4), look, asked, number=0 if place else first)
