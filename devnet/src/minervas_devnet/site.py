"""What a member of a devnet meters: its panels and arrays, and how good its RS-485 bus is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MeteredChannel:
    """One panel or array with a meter of its own."""

    meter: str
    """Id of the meter within its member."""
    channel: str
    model: Literal["pzem-003", "sdm630"]
    address: int
    """Slave address on the bus."""
    rated_w: int
    start_wh: int = 0
    """What the energy register shows at the start."""

    @property
    def step_wh(self) -> int:
        """Resolution of the energy register."""
        return {"pzem-003": 1, "sdm630": 10}[self.model]

    @property
    def key(self) -> tuple[str, str]:
        """Meter and channel."""
        return self.meter, self.channel


@dataclass(frozen=True, slots=True)
class Site:
    """One bus with all meters of a member."""

    channels: tuple[MeteredChannel, ...]
    baud: int = 9_600
    interval_ms: int = 1_000
    """How often the gateway reads every meter."""
    drop_per_mille: int = 0
    """Replies that get lost by chance."""
    bad_crc_per_mille: int = 0
    """Replies that come with a wrong checksum by chance."""
    start_time: str = "10:00"
    """Time of the measured day at which it begins."""
