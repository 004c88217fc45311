"""Memberships in PostgreSQL: every change is committed, restored, taken back and audited; the queue follows."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import psycopg
import pytest

from minervas_core.errors import Code, LocalFault
from minervas_core.node_messages import RosterEntry, WaitingRecovery
from minervas_devnet.postgres import PostgresServer
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import Connection
from tests.support.builders import FAR_FUTURE_MS, TINY, LocalChain, admit, bid, revoke, service_keys
from tests.support.ledger import StoredChain, audit
from tests.support.membership import leave, recover, rotate, suspend, veto, wallet

WAIT_MS = 2_500
PARAMETERS = msgspec.structs.replace(TINY, recovery_wait_ms=WAIT_MS, max_expiry_blocks=50, diversity_per_mille=0)
MEMBERS = ("m0", "m1", "m2", "m3")
EXPIRES = 40


@pytest.fixture
def local() -> LocalChain:
    return LocalChain(PARAMETERS)


@pytest.fixture
def stored(ledger_database: DatabaseSettings, local: LocalChain) -> Iterator[StoredChain]:
    """A stored chain whose block 1 admits four members."""
    chain = StoredChain(ledger_database, local.genesis)
    chain.take(local.extend("m0", [admit(member, expires=EXPIRES) for member in MEMBERS]))
    yield chain
    chain.now.close()


@pytest.fixture
def superuser(postgres_server: PostgresServer, ledger_database: DatabaseSettings) -> Iterator[Connection]:
    with psycopg.connect(postgres_server.superuser_conninfo(ledger_database.name), autocommit=True) as connection:
        yield connection


def same_chain(stored: StoredChain, local: LocalChain) -> None:
    """The stored chain's state is the one in memory, also after a restart; the audit agrees."""
    for chain in (stored.now, stored.reopen()):
        assert chain._chain.state.snapshot() == local.chain.state.snapshot()
    assert audit(stored.settings, stored.genesis).tip_hash == local.tip.hash


def entry(stored: StoredChain, member: str) -> RosterEntry:
    return next(each for each in stored.now.roster().members if each.member == member)


def test_every_change_survives_a_restart_and_passes_the_audit(stored: StoredChain, local: LocalChain) -> None:
    request = recover("m2", "m2 new", expires=EXPIRES)
    for transactions in (
        [suspend("m0", expires=EXPIRES)],
        [leave("m1", expires=EXPIRES), rotate("m3", "m3 new", "wallet", "box", "vote", expires=EXPIRES)],
        [request],
        [veto("m2", request, expires=EXPIRES)],
        [recover("m2", "m2 newer", expires=EXPIRES)],
        [],
        [],
        [],
        [],
    ):
        assert stored.take(local.extend("m0", transactions)) == ["connected"]
        same_chain(stored, local)
    assert entry(stored, "m0").suspended_height == 2
    assert (entry(stored, "m1").status, entry(stored, "m1").ended_height) == ("left", 3)
    assert entry(stored, "m2").keys == msgspec.structs.replace(service_keys("m2"), wallet=wallet("m2 newer").public)
    assert entry(stored, "m3").keys == msgspec.structs.replace(service_keys("m3 new"), block=service_keys("m3").block)


def test_a_waiting_recovery_is_told_with_the_roster(stored: StoredChain, local: LocalChain) -> None:
    request = recover("m2", "m2 new", expires=EXPIRES)
    stored.take(local.extend("m0", [request]))
    assert entry(stored, "m2").recovery == WaitingRecovery(
        wallet=wallet("m2 new").public, transaction=request.id, height=2, effective_ms=local.tip.time_ms + WAIT_MS
    )
    assert entry(stored, "m0").recovery is msgspec.UNSET


def test_a_reorganisation_takes_every_change_back(stored: StoredChain, local: LocalChain) -> None:
    base = local.tip
    request = recover("m2", "m2 new", expires=EXPIRES)
    losing = [
        local.extend("m0", [request, suspend("m0", expires=EXPIRES)]),
        local.extend("m0", [rotate("m3", "m3 new", "wallet", expires=EXPIRES), leave("m1", expires=EXPIRES)]),
    ]
    stored.take(*losing)
    same_chain(stored, local)
    other = LocalChain(PARAMETERS)
    for node in list(base.blocks())[::-1]:
        other.receive(local.chain._stored(node))
    winning = [other.extend("m0", [rotate("m2", "m2 other", "box", expires=EXPIRES)], start=1_000)]
    winning += [other.extend("m0", start=1_000) for _ in range(2)]
    assert stored.take(*winning)[-1] == "connected"
    same_chain(stored, other)
    assert request.id in {each.id for each in stored.now._mempool}


def test_what_an_old_wallet_signed_leaves_the_stored_queue_too(stored: StoredChain, local: LocalChain) -> None:
    old, other = bid("m3", 50, 5, expires=EXPIRES), bid("m2", 50, 5, expires=EXPIRES)
    assert stored.now.submit([old, other], FAR_FUTURE_MS) == [True, True]
    stored.take(local.extend("m0", [rotate("m3", "m3 new", "wallet", expires=EXPIRES)]))
    for chain in (stored.now, stored.reopen()):
        assert [each.id for each in chain._mempool] == [other.id]


def test_what_a_revoked_member_signed_leaves_the_queue(stored: StoredChain, local: LocalChain) -> None:
    assert stored.now.submit([bid("m3", 50, 5, expires=EXPIRES)], FAR_FUTURE_MS) == [True]
    stored.take(local.extend("m0", [revoke("m3", expires=EXPIRES)]))
    assert len(stored.now._mempool) == 0


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE roster SET suspended_height = 0 WHERE member = 'm0'", "roster"),
        ("UPDATE roster SET status = 'revoked' WHERE member = 'm1'", "roster"),
        ("DELETE FROM state_rows WHERE name = 'recoveries'", "state_rows"),
        ("DELETE FROM state_rows WHERE name = 'used_keys'", "state_rows"),
    ],
)
def test_the_audit_finds_what_somebody_changed(
    stored: StoredChain, local: LocalChain, superuser: Connection, statement: str, table: str
) -> None:
    changes = [suspend("m0", expires=EXPIRES), leave("m1", expires=EXPIRES), recover("m2", "m2 new", expires=EXPIRES)]
    stored.take(local.extend("m0", changes))
    assert superuser.execute(statement.encode()).rowcount > 0
    with pytest.raises(LocalFault) as caught:
        audit(stored.settings, stored.genesis)
    assert caught.value.code == Code.AUDIT_MISMATCH
    assert caught.value.values["table"] == table
