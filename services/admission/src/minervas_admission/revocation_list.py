"""Keeps the consortium's revocation list: issues it from the database and hands it to the broker."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from minervas_admission.ca import CertificateAuthority
from minervas_admission.crl import RevokedCertificate, build_list, export_ca, export_list, next_number
from minervas_admission.metrics import CRL_ENTRIES, CRL_ISSUED_AT
from minervas_admission.store.certificates import revoked_certificates
from minervas_admission.store.database import Database
from minervas_runtime.clock import Clock
from minervas_runtime.key_files import write_atomic

log = logging.getLogger(__name__)


def issue_list(
    authority: CertificateAuthority, stored: Path, export: Path, revoked: list[RevokedCertificate], now_ms: int
) -> None:
    """Issue a list, store it beside the CA, then give it to the broker. Blocks on the disk.

    Raises:
        LocalFault: ``bad_key_file`` if something can not be read or written.
    """
    previous = stored.read_bytes() if stored.exists() else None
    pem = build_list(authority, revoked, next_number(previous, now_ms), now_ms)
    write_atomic(stored, pem)
    export_ca(export, authority)
    export_list(export, pem)


class RevocationListKeeper:
    """Issues lists one after another, each from what the database says at that moment."""

    def __init__(
        self, database: Database, authority: CertificateAuthority, clock: Clock, *, stored: Path, export: Path
    ) -> None:
        self._database = database
        self._authority = authority
        self._clock = clock
        self._stored = stored
        self._export = export
        self._lock = asyncio.Lock()
        self.issued_at_ms = 0
        """When the newest list of this process was issued; 0 before the first."""

    async def issue(self) -> int:
        """Issue a new list; returns how many certificates are in it.

        Raises:
            TransientFault: ``database_away``.
            LocalFault: ``bad_key_file`` if a directory can not be written.
        """
        async with self._lock:
            now_ms = self._clock.now_ms()
            async with self._database.transaction() as connection:
                revoked = await revoked_certificates(connection, now_ms)
            await asyncio.to_thread(issue_list, self._authority, self._stored, self._export, revoked, now_ms)
            self.issued_at_ms = now_ms
        CRL_ISSUED_AT.set(now_ms // 1000)
        CRL_ENTRIES.set(len(revoked))
        log.info("revocation_list_issued", extra={"fields": {"entries": len(revoked)}})
        return len(revoked)
