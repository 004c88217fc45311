"""How much memory a ledger process has with many lots: all its code, its chain opened from the database.

Also the process that is measured: `python -m benchmarks.memory SETTINGS GENESIS` opens a chain and waits for the end of
its input.
"""

from __future__ import annotations

import subprocess
import sys

import msgspec
import psycopg

from benchmarks.databases import Databases, databases, opener
from benchmarks.results import Result
from benchmarks.world import make_world
from minervas_core.genesis import load_genesis
from minervas_devnet.memory import group_memory
from minervas_ledger import service
from minervas_ledger.settings import DatabaseSettings
from tests.support.builders import FAR_FUTURE_MS

READY = "ready"
MANY_TRANSACTIONS = """
INSERT INTO transactions (id, block, position, kind, raw)
SELECT sha256(('lot ' || number)::bytea), hash, 1000000 + number, 'generation', raw
FROM generate_series(1, %(lots)s) AS number,
    (SELECT hash, (SELECT raw FROM transactions WHERE kind = 'generation' LIMIT 1) FROM blocks
     WHERE best_chain ORDER BY height DESC LIMIT 1) AS head
"""
MANY_LOTS = """
INSERT INTO lots (id, owner, energy_wh, parent, origins, origin_wh, joined, created_height)
SELECT id, 'm' || number %% 10, 100 + number %% 900, id, ARRAY[id], ARRAY[100 + number %% 900], '{}', %(height)s
FROM (SELECT sha256(('lot ' || number)::bytea) AS id, number FROM generate_series(1, %(lots)s) AS number) AS made
"""


def measure(*, lots: int = 100_000) -> list[Result]:
    """Measure; takes about 10 seconds.

    The lots are written into the tables of a short chain as if statements had minted them on the last day, each with
    its transaction: a ledger that opens the database has them in memory just like those that it saw coming.
    """
    with databases() as made:
        settings, genesis_hex = _fill(made, lots)
        child = subprocess.Popen(  # noqa: S603 - fixed command
            [
                sys.executable,
                "-m",
                "benchmarks.memory",
                msgspec.json.encode(settings, enc_hook=str).decode(),
                genesis_hex,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        with child:
            said = child.stdout.readline() if child.stdout else ""
            resident_mb = group_memory(child.pid).resident * 1024 / 1e6
            child.communicate()
    if not said.startswith(READY):
        raise RuntimeError("the ledger did not open the chain")
    return [Result("memory.ledger", resident_mb, "MB", goal=300, better="lower")]


def _fill(made: Databases, lots: int) -> tuple[DatabaseSettings, str]:
    """Make a chain with the lots; returns where it is, and its genesis in hex."""
    world = make_world(1, 100)
    settings = made.fresh()
    ledger = opener(settings, world.genesis).open()
    ledger.take_blocks(world.all_blocks, FAR_FUTURE_MS, origin="")
    ledger.close()
    with psycopg.connect(made.superuser_conninfo(settings.name), autocommit=True) as connection:
        connection.execute(MANY_TRANSACTIONS, {"lots": lots})
        connection.execute(MANY_LOTS, {"lots": lots, "height": world.all_blocks[-1].header.height})
    return settings, world.genesis.raw.hex()


def main() -> None:
    """Be the process that is measured."""
    settings = msgspec.json.decode(sys.argv[1], type=DatabaseSettings, dec_hook=lambda kind, value: kind(value))
    ledger = opener(settings, load_genesis(bytes.fromhex(sys.argv[2]))).open()
    ledger.view()
    sys.stdout.write(f"{READY} {service.SERVICE}\n")
    sys.stdout.flush()
    sys.stdin.read()
    ledger.close()


if __name__ == "__main__":
    main()
