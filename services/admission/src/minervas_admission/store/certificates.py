"""Issued certificates in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from psycopg.rows import class_row

from minervas_admission.ca import CLIENT, IssuedCertificate, issuer_id
from minervas_admission.crl import RevokedCertificate
from minervas_admission.store.database import Connection

DAY_MS = 86_400_000
CRL_OVERLAP_MS = 8 * DAY_MS
"""An expired certificate stays on the list until no list that lacks it can matter (RFC 5280 section 3.3)."""

_COLUMNS = "serial, principal, purpose, key_id, not_before_ms, not_after_ms, pem"


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate and whether it was revoked."""

    serial: str
    principal: str
    purpose: str
    key_id: str
    not_before_ms: int
    not_after_ms: int
    pem: str
    revoked_ms: int | None


async def record_certificate(connection: Connection, certificate: IssuedCertificate) -> bool:
    """Store a certificate; one that is already there changes nothing. Returns whether it was new."""
    cursor = await connection.execute(
        """
        INSERT INTO certificates (serial, principal, member, purpose, key_id, not_before_ms, not_after_ms, pem, issuer)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (
            certificate.serial,
            certificate.principal,
            certificate.principal.partition(".")[0],
            certificate.purpose,
            certificate.key_id,
            certificate.not_before_ms,
            certificate.not_after_ms,
            certificate.pem,
            issuer_id(x509.load_pem_x509_certificate(certificate.pem.encode())),
        ),
    )
    return cursor.rowcount == 1


async def member_certificates(connection: Connection, member: str, now_ms: int) -> list[IssuedCertificate]:
    """The newest valid client certificate of each of a member's processes, by name."""
    async with connection.cursor(row_factory=class_row(IssuedCertificate)) as cursor:
        await cursor.execute(
            f"""
            SELECT DISTINCT ON (principal) {_COLUMNS} FROM certificates
            WHERE member = %s AND purpose = %s AND revoked_ms IS NULL AND not_after_ms > %s
            ORDER BY principal, not_after_ms DESC, serial
            """,  # noqa: S608 - a constant
            (member, CLIENT, now_ms),
        )
        return await cursor.fetchall()


async def principals_of_member(connection: Connection, member: str) -> list[str]:
    """All processes that a member ever had a client certificate for."""
    cursor = await connection.execute(
        "SELECT DISTINCT principal FROM certificates WHERE member = %s AND purpose = %s ORDER BY principal",
        (member, CLIENT),
    )
    return [str(name) for (name,) in await cursor.fetchall()]


async def revoke_certificates(connection: Connection, member: str, now_ms: int, *, besides: Sequence[str]) -> int:
    """End a member's client certificates, but for those of the keys `besides`; returns how many ended now."""
    cursor = await connection.execute(
        """
        UPDATE certificates SET revoked_ms = %s
        WHERE member = %s AND purpose = %s AND revoked_ms IS NULL AND NOT key_id = ANY(%s)
        """,
        (now_ms, member, CLIENT, list(besides)),
    )
    return cursor.rowcount


async def entitled_principals(connection: Connection, now_ms: int, *, member: str | None = None) -> list[str]:
    """Processes that may use the broker: of a member whose membership has not ended, with a valid certificate.

    Args:
        connection: the database.
        now_ms: our clock.
        member: of this member only; of all if not given.
    """
    cursor = await connection.execute(
        """
        SELECT DISTINCT c.principal FROM certificates c JOIN members m USING (member)
        WHERE m.ended_ms IS NULL AND c.purpose = %(purpose)s AND c.revoked_ms IS NULL AND c.not_after_ms > %(now_ms)s
              AND (%(member)s::text IS NULL OR c.member = %(member)s)
        ORDER BY c.principal
        """,
        {"purpose": CLIENT, "now_ms": now_ms, "member": member},
    )
    return [str(name) for (name,) in await cursor.fetchall()]


async def revoked_certificates(connection: Connection, now_ms: int) -> dict[str, list[RevokedCertificate]]:
    """What belongs on the revocation lists, by the key identifier of the CA that signed it."""
    cursor = await connection.execute(
        """
        SELECT issuer, serial, revoked_ms FROM certificates WHERE revoked_ms IS NOT NULL AND not_after_ms > %s
        ORDER BY revoked_ms, serial
        """,
        (now_ms - CRL_OVERLAP_MS,),
    )
    revoked: dict[str, list[RevokedCertificate]] = {}
    for issuer, serial, revoked_ms in await cursor.fetchall():
        revoked.setdefault(str(issuer), []).append(RevokedCertificate(str(serial), int(revoked_ms)))
    return revoked


async def valid_by_issuer(connection: Connection, now_ms: int) -> dict[str, list[tuple[str, int]]]:
    """Members' processes with a valid certificate, and its last end, by the key identifier of the CA that signed it.

    Also one that was renewed counts: the node may not have installed the new one.
    """
    cursor = await connection.execute(
        """
        SELECT c.issuer, c.principal, max(c.not_after_ms) FROM certificates c JOIN members m USING (member)
        WHERE m.ended_ms IS NULL AND c.purpose = %s AND c.revoked_ms IS NULL AND c.not_after_ms > %s
        GROUP BY c.issuer, c.principal ORDER BY c.principal
        """,
        (CLIENT, now_ms),
    )
    found: dict[str, list[tuple[str, int]]] = {}
    for issuer, principal, not_after_ms in await cursor.fetchall():
        found.setdefault(str(issuer), []).append((str(principal), int(not_after_ms)))
    return found


async def soonest_server_expiry(connection: Connection, *, besides: str) -> IssuedCertificate | None:
    """Of the newest certificates of all servers besides one, the one that ends first."""
    async with connection.cursor(row_factory=class_row(IssuedCertificate)) as cursor:
        await cursor.execute(
            f"""
            SELECT {_COLUMNS} FROM (
                SELECT DISTINCT ON (principal) * FROM certificates
                WHERE purpose = 'server' AND revoked_ms IS NULL AND principal <> %s
                ORDER BY principal, not_after_ms DESC
            ) newest ORDER BY not_after_ms LIMIT 1
            """,  # noqa: S608 - a constant
            (besides,),
        )
        return await cursor.fetchone()


async def certificates_of_member(connection: Connection, member: str) -> list[CertificateRow]:
    """All client certificates that a member ever had, by process, newest first."""
    async with connection.cursor(row_factory=class_row(CertificateRow)) as cursor:
        await cursor.execute(
            f"""
            SELECT {_COLUMNS}, revoked_ms FROM certificates WHERE member = %s AND purpose = %s
            ORDER BY principal, not_before_ms DESC, serial
            """,  # noqa: S608 - a constant
            (member, CLIENT),
        )
        return await cursor.fetchall()
