"""What a service tells about its host in its presence: the disk that holds its data, and the clock."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from minervas_core.messages import Presence
from minervas_runtime.kernel_clock import kernel_clock


def with_host_state(presence: Presence, data: Path) -> Presence:
    """A presence with the state of the host added.

    Args:
        presence: of a service.
        data: directory that the service keeps its data in.
    """
    clock = kernel_clock()
    disk = disk_use_per_mille(data)
    return msgspec.structs.replace(
        presence,
        clock_synchronised=clock.synchronised,
        clock_offset_ms=clock.offset_ms if clock.synchronised else msgspec.UNSET,
        disk_use_per_mille=msgspec.UNSET if disk is None else disk,
    )


def disk_use_per_mille(directory: Path) -> int | None:
    """How much of a directory's file system is taken, of what we could use; None if it cannot be asked."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return None
    usable = usage.used + usage.free  # blocks reserved for root are neither
    return usage.used * 1000 // usable if usable else 1000
