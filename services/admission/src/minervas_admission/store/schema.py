"""The version of the tables: set by `migrate`, checked by everything else."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql

from minervas_admission.store.database import Connection
from minervas_core.errors import Code, LocalFault

MIGRATIONS = Path(__file__).parent / "migrations"
"""Plain SQL files, applied in the order of their names."""

MIGRATION_TABLE = "_yoyo_migration"


def known_migrations() -> list[str]:
    """Names of the migrations that this program brings, in order."""
    return sorted(file.stem for file in MIGRATIONS.glob("*.sql"))


async def check_schema(connection: Connection) -> None:
    """Check that the database is as this program expects it.

    Raises:
        LocalFault: ``schema_version`` with what to do.
    """
    applied: set[str] = set()
    cursor = await connection.execute("SELECT to_regclass(%s)::text", (MIGRATION_TABLE,))
    row = await cursor.fetchone()
    if row is not None and row[0] is not None:
        cursor = await connection.execute(
            sql.SQL("SELECT migration_id FROM {}").format(sql.Identifier(MIGRATION_TABLE))
        )
        applied = {str(name) for (name,) in await cursor.fetchall()}
    if missing := sorted(set(known_migrations()) - applied):
        raise LocalFault(
            Code.SCHEMA_VERSION,
            "The database is older than this program; run minervas-admission migrate",
            missing=",".join(missing),
        )
    check_not_newer(applied)


def check_not_newer(applied: set[str]) -> None:
    """Check that there is no migration that this program does not know.

    Raises:
        LocalFault: ``schema_version``.
    """
    if unknown := sorted(applied - set(known_migrations())):
        raise LocalFault(
            Code.SCHEMA_VERSION, "The database is newer than this program; update it", unknown=",".join(unknown)
        )
