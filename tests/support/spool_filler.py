"""A program that fills a spool as fast as it can and prints what is on the disk, until it is killed.

Usage: python spool_filler.py FILE. Each line is the number below which all readings were committed when it was printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from minervas_core.encoding import encode
from minervas_meter_gateway.channel_state import ChannelState
from minervas_meter_gateway.spool import Spool
from tests.support.gateway import MEMBER, NETWORK, reading


def main() -> None:
    """Fill until killed."""
    spool = Spool(Path(sys.argv[1]), network=NETWORK, member=MEMBER, max_bytes=10**9, max_age_ms=10**12)
    while True:
        first = spool.next_sequence
        bodies = [encode(reading(number, number, number)) for number in range(first, first + 1 + first % 3)]
        state = msgspec.structs.replace(ChannelState(), last_energy_mwh=first + len(bodies) - 1)
        spool.append(bodies, {("pv1", "dc"): state}, [])
        sys.stdout.write(f"{spool.next_sequence}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
