"""How much memory a service and its children use; Linux only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one or more processes, in KiB."""

    resident: int = 0
    """Sum of resident sets (RSS): what `ps` shows; pages that processes share count in each."""
    proportional: int = 0
    """Sum of proportional sets (PSS): shared pages count once over all who share them."""

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.resident + other.resident, self.proportional + other.proportional)


def group_memory(leader: int | None) -> Memory:
    """Memory of a process that leads a session of its own, with all its children; nothing if it does not run."""
    total = Memory()
    for folder in PROC.iterdir() if leader is not None else ():
        if folder.name.isdigit() and _session(folder) == leader:
            total += _memory(folder)
    return total


def _session(folder: Path) -> int:
    """Session of a process (field 6 of its stat); 0 if it is gone."""
    try:
        return int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[3])
    except (OSError, IndexError):
        return 0


def _memory(folder: Path) -> Memory:
    try:
        lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return Memory()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:] if line.endswith("kB")}
    return Memory(resident=sizes.get("Rss", 0), proportional=sizes.get("Pss", 0))
