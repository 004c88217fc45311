"""What gateways state is compared with the readings that we stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from minervas_core.keys import SigningKey
from minervas_core.metering import Generation, Reading, RegisterPoint, readings_root
from minervas_core.transactions import Transaction, sign_transaction
from minervas_ledger.audit_command import run_audit
from minervas_ledger.settings import DatabaseSettings, LedgerSettings
from minervas_ledger.statement_checks import PATIENCE_MS, check_all, check_new
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.readings_aside import ReceivedReading
from minervas_ledger.store.readings_writes import ReadingsStore
from minervas_runtime.settings import NodePaths
from tests.support.builders import MARKET, gateway_key, make_genesis, statement
from tests.support.ledger import MEMBER, StoredChain
from tests.support.ledger_market import SPOOL, TradingChain, missing, reading

OTHER_SPOOL = "cd" * 16


class Stating:
    """A chain, stored, and a gateway that states what it samples."""

    def __init__(self, database: DatabaseSettings, connection: Connection) -> None:
        self.genesis = make_genesis(MARKET)
        self.stored = StoredChain(database, self.genesis)
        self.trading = TradingChain(self.stored)
        self.connection = connection
        self.store = ReadingsStore(database)
        meter = self.trading.local.chain.state.market.meters.get(f"{MEMBER}/roof")
        assert meter is not None
        self.start_ms = meter.registered_ms

    def samples(self, count: int = 6) -> list[Reading]:
        """Samples of a second, of which one is missing."""
        made = [reading(number, self.start_ms + 100 * number, energy_mwh=5_000 * number) for number in range(count)]
        return [missing(each.sequence, each.time_ms) if each.sequence == 2 else each for each in made]

    def state(self, samples: list[Reading], *, root: str = "") -> Transaction:
        """State samples, in a block of their own."""
        made = generation(samples, root=root)
        self.trading.block(made)
        return made

    def keep(self, samples: list[Reading], *, spool: str = SPOOL) -> None:
        """What arrives in the database."""
        key: SigningKey = gateway_key(MEMBER)
        self.store.store([ReceivedReading(MEMBER, key.public, spool, each) for each in samples], self.now_ms)

    @property
    def now_ms(self) -> int:
        return self.trading.local.tip.time_ms

    def check(self, *, later_ms: int = 0, final: int = 9) -> list[tuple[str, str]]:
        """Statements that were compared now, with the results."""
        self.connection.execute("UPDATE node_state SET final_height = %s", (final,))
        found = check_new(self.connection, MEMBER, self.now_ms + later_ms)
        return [(span.id, result) for span, result in found]


def generation(samples: list[Reading], *, root: str = "") -> Transaction:
    first, last = samples[0], samples[-1]
    assert isinstance(first.energy_mwh, int)
    assert isinstance(last.energy_mwh, int)
    after = samples[1:]
    plain = statement(MEMBER, (0, 0), (1, 0), salt=f"{first.sequence} {root}")
    assert isinstance(plain.body, Generation)
    body = msgspec.structs.replace(
        plain.body,
        start=RegisterPoint(time_ms=first.time_ms, register_wh=first.energy_mwh // 1_000),
        end=RegisterPoint(time_ms=last.time_ms, register_wh=last.energy_mwh // 1_000),
        measured=sum(each.quality == "measured" for each in after),
        missing=sum(each.quality == "missing" for each in after),
        readings_root=root or readings_root(samples),
    )
    return sign_transaction(body, gateway_key(MEMBER))


@pytest.fixture
def stating(ledger_database: DatabaseSettings) -> Iterator[Stating]:
    with contextlib.closing(connect(ledger_database, application="test")) as connection:
        made = Stating(ledger_database, connection)
        yield made
        made.store.close()
        made.stored.now.close()


def test_statement_over_what_is_stored_matches_once(stating: Stating) -> None:
    samples = stating.samples()
    stating.keep(samples)
    made = stating.state(samples)
    assert stating.check(final=2) == []
    assert stating.check() == [(made.id, "match")]
    assert stating.check() == []
    assert stating.connection.execute("SELECT result, readings FROM statement_checks").fetchall() == [("match", 6)]


def test_statement_over_other_readings_is_a_mismatch(stating: Stating) -> None:
    samples = stating.samples()
    stating.keep(samples)
    made = stating.state(samples, root="ab" * 32)
    assert stating.check() == []  # readings may still come
    assert stating.check(later_ms=PATIENCE_MS) == [(made.id, "mismatch")]


def test_changed_reading_is_a_mismatch(stating: Stating) -> None:
    samples = stating.samples()
    made = stating.state(samples)
    stating.keep([*samples[:3], reading(3, samples[3].time_ms, power_mw=1), *samples[4:]])
    assert stating.check(later_ms=PATIENCE_MS) == [(made.id, "mismatch")]


def test_statement_waits_for_its_readings_and_is_incomplete_without_them(stating: Stating) -> None:
    samples = stating.samples()
    stating.keep(samples[:4])
    made = stating.state(samples)
    assert stating.check() == []
    stating.keep(samples[4:5])
    assert stating.check(later_ms=PATIENCE_MS) == [(made.id, "incomplete")]


def test_statement_after_a_lost_spool_matches_with_the_new_one(stating: Stating) -> None:
    """The gateway sampled the same moments again, under new numbers."""
    samples = stating.samples()
    stating.keep(samples[:3], spool=OTHER_SPOOL)
    stating.keep(samples)
    made = stating.state(samples)
    assert stating.check() == [(made.id, "match")]


def test_audit_tells_of_statements_that_do_not_match(stating: Stating, tmp_path: Path) -> None:
    samples = stating.samples()
    stating.keep(samples)
    first = stating.state(samples[:4])
    second = stating.state(samples[3:], root="ab" * 32)
    found = check_all(stating.connection, MEMBER, 0)
    assert {result: [span.id for span in spans] for result, spans in found.items()} == {
        "match": [first.id],
        "mismatch": [second.id],
        "incomplete": [],
    }
    (tmp_path / "genesis.json").write_bytes(stating.genesis.raw)
    paths = NodePaths(data=tmp_path, enrol=tmp_path, issued=tmp_path, secrets=tmp_path)
    settings = LedgerSettings(member=MEMBER, paths=paths, database=stating.stored.settings)
    said: list[str] = []
    assert run_audit(settings, said.append, lambda _: None) == 0
    assert said[1:] == [
        "readings: 1 of our statements match the stored ones, 1 do not, 0 cannot be compared",
        f"readings: statement {second.id} of {MEMBER}/roof/dc rests on others than those stored",
    ]
