"""What the miner and its search process say to each other: fixed-size records over two pipes.

The miner writes jobs, the process writes reports. A job replaces the one before; job number 0 means rest. A process
ends when its pipe ends, so it never outlives the miner.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Self

REST = 0
"""Job number of the order to search for nothing."""

_JOB = struct.Struct(">Q32s32sQ")
_REPORT = struct.Struct(">QB?Q32sQ")

JOB_BYTES = _JOB.size
REPORT_BYTES = _REPORT.size

STARTED, RUNNING, ENDED = 0, 1, 2
"""Stages that a report tells of: the job was taken up, goes on, or is over."""


class Job(NamedTuple):
    """An order to search under one seal."""

    number: int
    """Numbers the jobs of one miner; `REST` for none."""
    seal: bytes = b"\0" * 32
    target: bytes = b"\0" * 32
    """Exclusive upper limit of a good hash, 32 bytes big-endian."""
    first_nonce: int = 0

    def pack(self) -> bytes:
        """Return the record."""
        return _JOB.pack(*self)

    @classmethod
    def unpack(cls, record: bytes) -> Self:
        """Read a record of `JOB_BYTES`."""
        return cls._make(_JOB.unpack(record))


class Report(NamedTuple):
    """How a job goes. The numbers count from its start."""

    job: int
    stage: int
    found: bool
    """Whether the lowest hash is good; the job is over then."""
    tries: int
    lowest: bytes
    lowest_nonce: int

    def pack(self) -> bytes:
        """Return the record."""
        return _REPORT.pack(*self)

    @classmethod
    def unpack(cls, record: bytes) -> Self:
        """Read a record of `REPORT_BYTES`."""
        return cls._make(_REPORT.unpack(record))
