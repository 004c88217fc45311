"""How long a found block takes until it is the tip of every node, from the times in the services' logs.

All services run on one machine, so their clocks are one and the times can be compared.
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Propagation:
    """Times from a found block to the same tip on all nodes."""

    seconds: tuple[float, ...]
    """One for each block that became the tip everywhere, sorted."""

    @property
    def median_s(self) -> float:
        """Half of the blocks were faster."""
        return statistics.median(self.seconds) if self.seconds else 0.0

    @property
    def slowest_s(self) -> float:
        """The slowest block."""
        return self.seconds[-1] if self.seconds else 0.0


def measure(miner_logs: Iterable[Path], ledger_logs: Iterable[Path]) -> Propagation:
    """Compare when blocks were found with when each ledger connected them.

    Blocks from before the youngest ledger's first one are left out (it got them by catching up), and so are blocks
    that lost against another one or came to a ledger together with others after a reorganisation.
    """
    connected = [dict(_times(log, "block_connected")) for log in ledger_logs]
    since = max((min(times.values(), default=0.0) for times in connected), default=0.0)
    found = {key: time for log in miner_logs for key, time in _times(log, "block_found") if time > since}
    everywhere = [key for key in found if all(key in times for times in connected)]
    seconds = [max(times[key] for times in connected) - found[key] for key in everywhere]
    return Propagation(tuple(sorted(seconds)))


def _times(log: Path, event: str) -> Iterator[tuple[str, float]]:
    """Yield block hash and time of each record of an event."""
    marker = f'"event":"{event}"'
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else ():
        if marker in line and line.startswith("{") and line.endswith("}"):
            record = json.loads(line)
            yield record["hash"], dt.datetime.fromisoformat(record["time"]).timestamp()
