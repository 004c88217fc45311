"""kill -9 at any moment: the ledger starts again, its database passes the audit, and no promise is broken.

Each kill comes at another moment, in the middle of whatever the process does; the seed of the run decides all of it.
How much a process does before is counted in what it promised, not in seconds: that is the same on a slow machine.
There are ten of them in every run, and two hundred in `make soak`.
"""

from __future__ import annotations

import logging
import os
import random
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import msgspec
import psycopg
import pytest
from psycopg import sql

from minervas_core.errors import TransientFault
from minervas_devnet.postgres import PostgresServer
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.columns import as_bytes
from minervas_ledger.store.connection import Connection
from tests.support import killed_ledger
from tests.support.builders import FAR_FUTURE_MS
from tests.support.fix_ledger import TRUNCATE_ALL
from tests.support.ledger import VOTER, StoredChain, audit
from tests.support.seed import seeded_random
from tests.support.wait import wait_until

log = logging.getLogger(__name__)

KILLS = 10
SOAK_KILLS = 200
KILLS_PER_CHAIN = 10
"""Then a new chain begins, so that thousands of kills do not audit an ever longer one."""
FEWEST_LINES = 15
MOST_LINES = 50
"""Of what a process acknowledges before it is killed."""
MOMENT_S = 0.1
"""And then it works up to so long, so that the kill comes anywhere between two acknowledgements."""
EARLY_EVERY = 5
"""One in so many is killed while it starts, mostly before the chain is open."""
START_S = 0.8
"""After up to so long."""
ENOUGH_PROMISES = 8
"""Per kill on average, without repetitions: fewer would mean that hardly anything was tested."""


@dataclass
class Promises:
    """What all processes so far have acknowledged."""

    transactions: set[str] = field(default_factory=set)
    blocks: set[str] = field(default_factory=set)
    votes: set[str] = field(default_factory=set)
    opened: int = 0

    def hear(self, output: bytes) -> None:
        """Take in what one process said, without a last line that was cut."""
        for line in output[: output.rfind(b"\n") + 1].decode().splitlines():
            kind, _, name = line.partition(" ")
            if kind == "open":
                self.opened += 1
            else:
                {"tx": self.transactions, "block": self.blocks, "vote": self.votes}[kind].add(name)


@dataclass
class Victim:
    """A database, processes on it that are killed, and what must hold afterwards."""

    database: DatabaseSettings
    superuser: Connection
    settings_file: Path
    promises: Promises = field(default_factory=Promises)

    def begin(self) -> None:
        """A new chain."""
        self.superuser.execute(TRUNCATE_ALL)
        self.promises = Promises()
        stored = StoredChain(self.database, killed_ledger.genesis())
        stored.take(*killed_ledger.first_blocks())
        stored.now.close()

    def kill_one(self, name: str, choose: random.Random, *, early: bool = False) -> None:
        """Let a process work for a while, and kill it."""
        command = [sys.executable, "-m", "tests.support.killed_ledger", str(self.settings_file), name]
        lines = 0 if early else choose.randrange(FEWEST_LINES, MOST_LINES)
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            output = b"".join(process.stdout.readline() for _ in range(lines))
            output += listen(process.stdout.fileno(), choose.random() * (START_S if early else MOMENT_S))
            assert process.poll() is None, f"it ended by itself: {output[-2_000:]!r}"
            process.kill()
            output += process.stdout.read()
        self.promises.hear(output)

    def open_again(self) -> NodeChain:
        """The next start; the server may take a moment to notice that the last one is gone."""
        opened: list[NodeChain] = []

        def try_it() -> bool:
            try:
                opened.append(ChainOpener(self.database, killed_ledger.genesis(), [VOTER]).open())
            except TransientFault:
                return False
            return True

        wait_until(try_it, describe="the database is free again")
        return opened[0]

    def check(self) -> None:
        """The database follows from genesis, memory agrees with it, and everything promised is there."""
        chain = self.open_again()
        queued = {each.id for each in chain._mempool}
        view = chain.view()
        chain.close()
        report = audit(self.database, killed_ledger.genesis())
        assert (report.height, report.tip_hash) == (view.tip.height, view.tip.hash)
        assert self._ids("SELECT id FROM mempool") == queued
        lost_blocks = self.promises.blocks - self._ids("SELECT hash FROM blocks")
        in_blocks = self._ids("SELECT t.id FROM transactions t JOIN blocks b ON b.hash = t.block WHERE b.best_chain")
        lost = self.promises.transactions - queued - in_blocks
        assert not lost_blocks
        assert not self.promises.votes - self._ids("SELECT id FROM votes WHERE own")
        assert not lost

    def _ids(self, query: str) -> set[str]:
        rows = self.superuser.execute(sql.SQL(query), binary=True).fetchall()
        return {as_bytes(row[0]).hex() for row in rows}


def listen(descriptor: int, for_s: float) -> bytes:
    """What comes within a time."""
    output, end = b"", monotonic() + for_s
    while (left := end - monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            part = os.read(descriptor, 65_536)
            if not part:
                break
            output += part
    return output


@pytest.fixture
def victim(postgres_server: PostgresServer, ledger_database: DatabaseSettings, tmp_path: Path) -> Iterator[Victim]:
    file = tmp_path / "database.json"
    file.write_bytes(msgspec.json.encode(ledger_database, enc_hook=str))
    with psycopg.connect(postgres_server.superuser_conninfo(ledger_database.name), autocommit=True) as superuser:
        yield Victim(ledger_database, superuser, file)


@pytest.mark.parametrize("kills", [KILLS, pytest.param(SOAK_KILLS, marks=pytest.mark.soak)])
def test_killed_at_any_moment_it_starts_again_and_keeps_its_promises(victim: Victim, kills: int) -> None:
    choose = seeded_random("kills")
    early = choose.randrange(EARLY_EVERY)
    promised = depth = 0
    for number in range(kills):
        if number % KILLS_PER_CHAIN == 0:
            victim.begin()
            before = 0
        victim.kill_one(f"{choose.randrange(10**6)}-{number}", choose, early=number % EARLY_EVERY == early)
        victim.check()
        now = len(victim.promises.transactions) + len(victim.promises.blocks)
        promised, before = promised + now - before, now
        row = victim.superuser.execute("SELECT reorganisations FROM node_state").fetchone()
        depth = max(depth, int(str(row[0])) if row else 0)
    assert promised >= ENOUGH_PROMISES * kills
    assert depth > 0, "no reorganisation was among it"
    log.warning("%d kills survived, %d promises kept", kills, promised)


def test_the_chain_goes_on_after_a_kill(victim: Victim) -> None:
    """What survives is not only readable: the next blocks connect upon it."""
    victim.begin()
    victim.kill_one("goes-on", seeded_random("goes on"))
    chain = victim.open_again()
    block = killed_ledger.found(chain.draft("m0", chain.view().tip_time_ms + 1_000))
    [outcome] = chain.take_blocks([block], FAR_FUTURE_MS, origin="test")
    assert outcome.status == "connected"
    chain.close()
    victim.check()
