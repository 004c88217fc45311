"""Reading map files: the shipped ones of ``minervas_runtime``, and those of a directory that the settings name.

A user adds a map by dropping a file into that directory, or replaces a shipped one by a file of the same name. The name
of the file is the name of the map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from minervas_core.meter_maps.meter_map import Block, Field, MapFile, MeterMap
from minervas_meter_gateway.settings_problems import ManyProblems, load_or_explain
from minervas_runtime.settings import SettingsError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
"""It is the meter's model on the chain, which takes no other (`minervas_core.market.records.MeterDeclaration`)."""


def load_map(path: Path, *, shipped: bool = False) -> MeterMap:
    """Read and check a map file.

    Args:
        path: the file.
        shipped: whether it comes with the gateway.

    Raises:
        SettingsError: for the first mistake, naming file, key and what to do.
    """
    try:
        return _load(path, shipped=shipped)
    except ManyProblems as error:
        raise error.problems[0] from error


def load_maps(directory: Path | None = None) -> dict[str, MeterMap]:
    """All maps by id: the shipped ones, and those of a directory, which take precedence.

    Raises:
        SettingsError: for the first file that is unusable, or a directory that does not exist.
    """
    maps, problems = find_maps(directory)
    if problems:
        raise problems[0]
    return maps


def find_maps(directory: Path | None = None) -> tuple[dict[str, MeterMap], list[SettingsError]]:
    """All usable maps by id, and everything that is wrong with the others."""
    maps: dict[str, MeterMap] = {}
    problems: list[SettingsError] = []
    with as_file(files("minervas_runtime") / "meter_maps") as shipped:
        _add_all(shipped, maps, problems, shipped=True)
    if directory is not None and not directory.is_dir():
        problems.append(SettingsError("no such directory", file=directory, key="maps.directory", advice="make it"))
    elif directory is not None:
        _add_all(directory, maps, problems, shipped=False)
    return maps, problems


def _add_all(directory: Path, maps: dict[str, MeterMap], problems: list[SettingsError], *, shipped: bool) -> None:
    for path in sorted(directory.glob("*.toml")):
        try:
            maps[path.stem] = _load(path, shipped=shipped)
        except ManyProblems as error:
            problems += error.problems


def _load(path: Path, *, shipped: bool) -> MeterMap:
    """Read and check a map file.

    Raises:
        ManyProblems: with everything that is wrong with it.
    """
    if not _NAME.match(path.stem):
        name_problem = SettingsError(
            "the name of a map has 1 to 32 of a-z, 0-9 and -, and begins with no -",
            file=path,
            advice="give the file another name",
        )
        raise ManyProblems([name_problem])
    content = load_or_explain(path, MapFile, with_environment=False)
    problems = [*_block_problems(path, content), *_field_problems(path, content)]
    if problems:
        raise ManyProblems(problems)
    return MeterMap(path.stem, content, shipped)


def _block_problems(path: Path, content: MapFile) -> Iterator[SettingsError]:
    most = content.bus.max_registers
    for name, block in content.blocks.items():
        key = f"blocks.{name}"
        if block.count > most:
            problem = f"{block.count} registers are more than bus.max_registers = {most}"
            yield SettingsError(problem, file=path, key=f"{key}.count", advice="make it two blocks")
        if block.start + block.count > 0x10000:
            yield SettingsError(
                "goes beyond the last register, 0xFFFF", file=path, key=f"{key}.count", advice="make it shorter"
            )
        if block.models:
            yield from _model_problems(path, content, key, block)


def _model_problems(path: Path, content: MapFile, key: str, block: Block) -> Iterator[SettingsError]:
    if len(content.blocks) > 1:
        problem = "addresses that count from a model must be in the map's only block"
        yield SettingsError(problem, file=path, key=f"{key}.models", advice="make a map of its own for them")
    if block.start != 0:
        problem = "the block of a model begins with the model's number"
        yield SettingsError(problem, file=path, key=f"{key}.start", advice="write 0")
    if block.function != 3:
        problem = "SunSpec models are holding registers"
        yield SettingsError(problem, file=path, key=f"{key}.function", advice="write 3")


def _field_problems(path: Path, content: MapFile) -> Iterator[SettingsError]:
    for input_name, each in content.inputs.items():
        for quantity, field in each.fields().items():
            key = f"inputs.{input_name}.{quantity}"
            if not any(block.holds(field) for block in content.blocks.values()):
                yield SettingsError(_homeless(field), file=path, key=key, advice="add or widen a block")
            if field.scale[0] == 0 or field.scale[1] < 1 or (quantity == "energy" and field.scale[0] < 0):
                yield SettingsError(
                    f"{field.scale} is no scale", file=path, key=f"{key}.scale", advice="write [numerator, denominator]"
                )
            if field.width == 1 and any(raw > 0xFFFF for raw in field.sentinels):
                yield SettingsError(
                    "one register never holds more than 0xFFFF", file=path, key=f"{key}.sentinels", advice="correct it"
                )


def _homeless(field: Field) -> str:
    where = f"register {field.register:#06x} ({field.width} wide)"
    together = "" if field.scale_register is None else f" together with its scale register {field.scale_register:#06x}"
    return f"{where} is in no block{together}"
