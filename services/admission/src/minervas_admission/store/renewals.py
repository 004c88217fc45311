"""Renewals in the database, and what follows from them for certificates."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from minervas_admission.ca import BACKDATE, CLIENT, IssuedCertificate
from minervas_admission.store.applications import KeyClaim
from minervas_admission.store.database import Connection
from minervas_core.errors import Code, InvalidEnrolment

_COLUMNS = "c.serial, c.principal, c.purpose, c.key_id, c.not_before_ms, c.not_after_ms, c.pem"
_BACKDATE_MS = round(BACKDATE.total_seconds()) * 1000


@dataclass(frozen=True, slots=True)
class RenewalRow:
    """A renewal that was carried out."""

    id: str
    member: str
    received_ms: int


async def find_renewal(connection: Connection, renewal_id: str) -> RenewalRow | None:
    """A renewal by its id."""
    async with connection.cursor(row_factory=class_row(RenewalRow)) as cursor:
        await cursor.execute("SELECT * FROM renewals WHERE id = %s", (renewal_id,))
        return await cursor.fetchone()


async def insert_renewal(connection: Connection, row: RenewalRow) -> None:
    """Enter a renewal."""
    await connection.execute(
        "INSERT INTO renewals (id, member, received_ms) VALUES (%s, %s, %s)", (row.id, row.member, row.received_ms)
    )


async def add_certificate(connection: Connection, renewal_id: str, serial: str) -> None:
    """Enter which certificate a renewal led to."""
    await connection.execute("INSERT INTO renewed_certificates (renewal, serial) VALUES (%s, %s)", (renewal_id, serial))


async def certificates_of_renewal(connection: Connection, renewal_id: str, now_ms: int) -> list[IssuedCertificate]:
    """Certificates that a renewal led to and that are still good, by name."""
    async with connection.cursor(row_factory=class_row(IssuedCertificate)) as cursor:
        await cursor.execute(
            f"""
            SELECT {_COLUMNS} FROM certificates c JOIN renewed_certificates r USING (serial)
            WHERE r.renewal = %s AND c.revoked_ms IS NULL AND c.not_after_ms > %s ORDER BY c.principal
            """,  # noqa: S608 - a constant
            (renewal_id, now_ms),
        )
        return await cursor.fetchall()


async def count_renewals(connection: Connection, member: str, since_ms: int) -> int:
    """How often a member has renewed since a time."""
    cursor = await connection.execute(
        "SELECT count(*) FROM renewals WHERE member = %s AND received_ms > %s", (member, since_ms)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def find_certificate(
    connection: Connection, principal: str, key_id: str, valid_to_ms: int
) -> IssuedCertificate | None:
    """A client certificate of a process for this very key that is good beyond a time."""
    async with connection.cursor(row_factory=class_row(IssuedCertificate)) as cursor:
        await cursor.execute(
            f"""
            SELECT {_COLUMNS} FROM certificates c
            WHERE c.principal = %s AND c.key_id = %s AND c.purpose = %s AND c.revoked_ms IS NULL AND c.not_after_ms > %s
            ORDER BY c.not_after_ms DESC LIMIT 1
            """,  # noqa: S608 - a constant
            (principal, key_id, CLIENT, valid_to_ms),
        )
        return await cursor.fetchone()


async def claim_key(connection: Connection, member: str, claim: KeyClaim) -> None:
    """Take a new key for a member.

    Raises:
        InvalidEnrolment: ``key_reused`` if it is or was in use, by whomever.
    """
    cursor = await connection.execute(
        "INSERT INTO claimed_keys (key_id, member, purpose) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (claim.key_id, member, claim.purpose),
    )
    if cursor.rowcount == 0:
        raise InvalidEnrolment(
            Code.KEY_REUSED, "This key is or was in use; a renewal brings a new key", key=claim.purpose
        )


async def supersede_certificates(connection: Connection, now_ms: int, grace_ms: int) -> list[str]:
    """Revoke certificates that have had a successor with another key for so long; returns whose they were."""
    cursor = await connection.execute(
        """
        UPDATE certificates old SET revoked_ms = %(now_ms)s
        WHERE old.purpose = %(purpose)s AND old.revoked_ms IS NULL AND old.not_after_ms > %(now_ms)s AND EXISTS (
            SELECT 1 FROM certificates newer
            WHERE newer.principal = old.principal AND newer.purpose = old.purpose AND newer.revoked_ms IS NULL
                  AND newer.key_id <> old.key_id AND newer.not_before_ms > old.not_before_ms
                  AND newer.not_before_ms <= %(since_ms)s)
        RETURNING old.principal
        """,
        {"now_ms": now_ms, "purpose": CLIENT, "since_ms": now_ms - grace_ms - _BACKDATE_MS},
    )
    return sorted({str(name) for (name,) in await cursor.fetchall()})


async def expired_principals(connection: Connection, after_ms: int, now_ms: int) -> list[str]:
    """Processes whose last client certificate has ended since a time."""
    cursor = await connection.execute(
        """
        SELECT principal FROM certificates WHERE purpose = %s AND revoked_ms IS NULL
        GROUP BY principal HAVING max(not_after_ms) > %s AND max(not_after_ms) <= %s ORDER BY principal
        """,
        (CLIENT, after_ms, now_ms),
    )
    return [str(name) for (name,) in await cursor.fetchall()]
