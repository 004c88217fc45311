"""The shipped meter maps, and those of a folder: for whoever reads raw frames again.

Gateways read them with more care for who writes them (`minervas_meter_gateway.map_files`); here a map only has to be
usable.
"""

from __future__ import annotations

import tomllib
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from minervas_core.errors import Code, LocalFault
from minervas_core.meter_maps.meter_map import MapFile


def load_meter_maps(directory: Path | None = None) -> dict[str, MapFile]:
    """All maps by model: the shipped ones, and those of a folder, which take precedence.

    Raises:
        LocalFault: ``bad_settings`` for a folder or file that cannot be used.
    """
    with as_file(files("minervas_runtime") / "meter_maps") as shipped:
        maps = _load_all(shipped)
    return maps if directory is None else maps | _load_all(directory)


def _load_all(directory: Path) -> dict[str, MapFile]:
    if not directory.is_dir():
        raise LocalFault(Code.BAD_SETTINGS, "There is no such folder of meter maps", folder=str(directory))
    return {path.stem: _load(path) for path in sorted(directory.glob("*.toml"))}


def _load(path: Path) -> MapFile:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), MapFile)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise LocalFault(
            Code.BAD_SETTINGS, "The meter map cannot be used", file=str(path), reason=str(error)
        ) from error
