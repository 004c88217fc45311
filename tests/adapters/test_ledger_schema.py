"""The ledger's schema: migrated by the owner, checked by the writer, who has no more rights than it needs."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from minervas_core.errors import Code, LocalFault
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger.store.connection import Connection, connect
from minervas_ledger.store.schema import WRITER_RIGHTS, check_schema, known_migrations, migrate
from tests.support.ledger import database_settings, migrated, owner_settings


@pytest.fixture
def writer(node_database: NodeDatabase) -> Iterator[Connection]:
    connection = connect(database_settings(node_database), application="test")
    yield connection
    connection.close()


@pytest.fixture
def owner(node_database: NodeDatabase) -> Iterator[Connection]:
    connection = connect(database_settings(node_database), role=owner_settings(node_database), application="test")
    yield connection
    connection.close()


def test_migrate_applies_every_migration_once(node_database: NodeDatabase, writer: Connection) -> None:
    settings, owner = database_settings(node_database), owner_settings(node_database)
    assert migrate(settings, owner) == known_migrations()
    assert migrate(settings, owner) == []
    check_schema(writer, "test")


def test_empty_database_is_refused_with_the_missing_migration(writer: Connection) -> None:
    with pytest.raises(LocalFault) as caught:
        check_schema(writer, "test")
    assert caught.value.code == Code.SCHEMA_VERSION
    assert caught.value.values == {"name": "test", "missing": known_migrations()[0]}
    assert "minervas-ledger migrate" in caught.value.message


def test_schema_of_a_newer_version_is_refused(node_database: NodeDatabase, owner: Connection) -> None:
    settings = migrated(node_database)
    owner.execute(
        "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc) VALUES ('x', '9999_later', now())"
    )
    with pytest.raises(LocalFault) as caught:
        check_schema(owner, "test")
    assert caught.value.values["unknown"] == "9999_later"
    with pytest.raises(LocalFault, match="newer version"):
        migrate(settings, owner_settings(node_database))


def test_lock_of_a_killed_migration_does_not_stop_the_next(node_database: NodeDatabase, owner: Connection) -> None:
    settings = migrated(node_database)
    owner.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 12345)")
    assert migrate(settings, owner_settings(node_database)) == []


def test_writer_has_exactly_the_rights_it_needs(node_database: NodeDatabase, writer: Connection) -> None:
    migrated(node_database)
    rows = writer.execute(
        """
        SELECT table_name, privilege_type FROM information_schema.role_table_grants
        WHERE grantee = current_user AND table_schema = 'public'
        """
    ).fetchall()
    expected = {(table, right) for table, rights in WRITER_RIGHTS.items() for right in rights.split(", ")}
    assert set(rows) == expected


@pytest.mark.parametrize("statement", ["DROP TABLE blocks", "CREATE TABLE mine (x int)", "TRUNCATE transactions"])
def test_writer_can_not_change_the_schema(node_database: NodeDatabase, writer: Connection, statement: str) -> None:
    migrated(node_database)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        writer.execute(statement.encode())
