"""Admission and its database: schema, rights, one service at a time, and what happens while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from minervas_admission.instance import Instance
from minervas_admission.service import run_admission
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import service_is_running
from minervas_admission.store.migrate import WORKING_RIGHTS, migrate
from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_devnet.ports import free_port
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.clock import SystemClock
from minervas_runtime.service import ServiceContext
from tests.support.admission import AdmissionHome, Applicant
from tests.support.wait import wait_until_async


@pytest.fixture
async def database(admission_home: AdmissionHome) -> AsyncIterator[Database]:
    opened = Database(admission_home.settings.database, application="test")
    yield opened
    await opened.close()


async def start(home: AdmissionHome) -> None:
    await run_admission(ServiceContext("admission", "consortium", home.settings, SystemClock()))


def test_migrations_are_applied_once(admission_home: AdmissionHome) -> None:
    assert migrate(admission_home.settings) == []
    assert migrate(admission_home.settings) == []


def test_a_migration_whose_run_was_killed_does_not_block_the_next(admission_home: AdmissionHome) -> None:
    admission_home.as_owner("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    assert migrate(admission_home.settings) == []


def test_the_working_role_has_its_rights_and_no_more(admission_home: AdmissionHome) -> None:
    rows = admission_home.as_owner(
        "SELECT table_name, string_agg(privilege_type, ', ' ORDER BY privilege_type) "
        "FROM information_schema.role_table_grants WHERE grantee = %s GROUP BY 1",
        admission_home.database.writer.user,
    )
    assert {name: set(rights.split(", ")) for name, rights in rows} == {
        name: set(rights.split(", ")) for name, rights in WORKING_RIGHTS.items()
    }


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("DELETE FROM _yoyo_migration", "run minervas-admission migrate"),
        ("DROP TABLE _yoyo_migration", "run minervas-admission migrate"),
        ("UPDATE _yoyo_migration SET migration_id = '9999_later'", "run minervas-admission migrate"),
        (
            "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', '9999_later')",
            "newer than this program",
        ),
    ],
)
async def test_run_refuses_a_schema_that_is_not_current(
    admission_home: AdmissionHome, change: str, advice: str
) -> None:
    admission_home.as_owner(change)
    with pytest.raises(LocalFault, match=advice) as refusal:
        await start(admission_home)
    assert refusal.value.code == Code.SCHEMA_VERSION


def test_migrate_refuses_a_newer_schema(admission_home: AdmissionHome) -> None:
    admission_home.as_owner("INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', '9999_later')")
    with pytest.raises(LocalFault, match="newer"):
        migrate(admission_home.settings)


async def test_one_service_works_on_a_database(admission_home: AdmissionHome, database: Database) -> None:
    async with database.transaction() as connection:
        assert not await service_is_running(connection)
    first, second = Instance(admission_home.settings.database), Instance(admission_home.settings.database)
    await first.acquire()
    async with database.transaction() as connection:
        assert await service_is_running(connection)
    taking_over = asyncio.create_task(second.acquire())
    await first.release()
    await taking_over
    await second.release()

    async def free() -> bool:
        async with database.transaction() as connection:
            return not await service_is_running(connection)

    await wait_until_async(free)  # the server notices the end of the connection a moment later


async def test_a_second_service_is_refused(admission_home: AdmissionHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minervas_admission.instance.TAKE_OVER_S", 0.3)
    async with admission_home.running():
        with pytest.raises(LocalFault, match="Another admission service"):
            await start(admission_home)


async def test_the_service_waits_for_a_database_that_is_away(
    work_dir: Path, node_database: NodeDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    home = AdmissionHome(work_dir, node_database)
    nowhere = msgspec.structs.replace(home.settings.database, port=free_port())
    home.settings = msgspec.structs.replace(home.settings, database=nowhere)
    starting = asyncio.create_task(start(home))
    await wait_until_async(lambda: "waiting_for_database" in caplog.text)
    assert not starting.done()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


async def test_the_service_survives_a_loss_of_its_database(
    admission_home: AdmissionHome, postgres_server: PostgresServer
) -> None:
    """Connections are cut and refused for a while: errors are said, and afterwards everything goes on."""
    home, name = admission_home, admission_home.database.name

    def allow(yes: bool) -> None:
        with psycopg.connect(postgres_server.superuser_conninfo(), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {yes}".encode())
            if not yes:
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    async with home.running():
        application = encode(Applicant("alpha").application())
        allow(False)
        async with home.http() as client:
            answer = await client.post("/v1/applications", content=application)
            assert (answer.status_code, answer.json()["code"]) == (503, Code.DATABASE_AWAY)
            assert "password" not in answer.text
            assert home.database.host not in answer.text
            await wait_until_async(lambda: unhealthy(home))
        allow(True)
        await wait_until_async(lambda: accepted(home, application))
        await wait_until_async(lambda: listening(home))
        await home.decisions().reject("alpha", "works again")


async def unhealthy(home: AdmissionHome) -> bool:
    async with home.http() as client:
        return (await client.get("/healthz")).status_code == 503


async def accepted(home: AdmissionHome, application: bytes) -> bool:
    async with home.http() as client:
        return (await client.post("/v1/applications", content=application)).status_code in (200, 201)


def listening(home: AdmissionHome) -> bool:
    return bool(home.as_owner("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"))


async def test_a_transaction_that_fails_leaves_a_usable_connection(database: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with database.transaction() as connection:
            await connection.execute("SELECT * FROM nothing")
    async with database.transaction() as connection:
        cursor = await connection.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)


async def test_a_connection_that_the_server_has_ended_is_replaced_unnoticed(
    admission_home: AdmissionHome, database: Database
) -> None:
    """Or the first applicant after a restart of PostgreSQL would be sent away."""
    async with database.transaction() as connection:
        ended = connection.info.backend_pid
    other = Database(admission_home.settings.database, application="other")
    async with other.transaction() as connection:
        await connection.execute("SELECT pg_terminate_backend(%s)", (ended,))
    await other.close()
    async with database.transaction() as connection:
        assert connection.info.backend_pid != ended


async def test_a_cancelled_transaction_changes_nothing(admission_home: AdmissionHome, database: Database) -> None:
    began = asyncio.Event()

    async def hang() -> None:
        async with database.transaction() as connection:
            await connection.execute("UPDATE operator_tip SET height = 77")
            began.set()
            await connection.execute("SELECT pg_sleep(5)")

    task = asyncio.create_task(hang())
    await began.wait()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, TransientFault)):
        await task
    assert admission_home.as_owner("SELECT height FROM operator_tip") == [(0,)]
    async with database.transaction() as connection:
        await connection.execute("SELECT 1")
