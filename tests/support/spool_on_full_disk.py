"""A process that fills a spool until its disk is full, waits for a line, and goes on (test_gateway_spool.py).

It prints how many readings it could append, how many wait, and the next number: when the disk is full, and at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from minervas_core.encoding import encode
from minervas_meter_gateway.spool import Spool
from minervas_meter_gateway.spool_file import SpoolTrouble
from tests.support.gateway import MEMBER, NETWORK, reading

AT_ONCE = 50


def main() -> None:
    """Fill the spool of the directory that is the only argument."""
    spool = Spool(Path(sys.argv[1]) / "spool.db", network=NETWORK, member=MEMBER, max_bytes=10**8, max_age_ms=10**12)
    appended = 0
    try:
        while True:
            append(spool)
            appended += AT_ONCE
    except SpoolTrouble as error:
        say(appended, spool, str(error))
    sys.stdin.readline()
    append(spool)
    say(appended + AT_ONCE, spool)
    spool.close()


def append(spool: Spool) -> None:
    """Append some readings with the next numbers."""
    numbers = range(spool.next_sequence, spool.next_sequence + AT_ONCE)
    spool.append([encode(reading(number, number, number)) for number in numbers], {}, [])


def say(appended: int, spool: Spool, trouble: str = "") -> None:
    """One line for the test."""
    sys.stdout.write(f"{appended} {spool.waiting_below(2**53)} {spool.next_sequence} {trouble}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
