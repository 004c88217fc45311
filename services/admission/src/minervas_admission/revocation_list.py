"""Keeps the revocation lists, one of each CA in use: issues them from the database and hands them to the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from minervas_admission.ca_set import CaSet
from minervas_admission.crl import (
    RevokedCertificate,
    build_list,
    export_ca,
    export_list,
    make_export_directory,
    next_number,
)
from minervas_admission.data_directory import DataDirectory
from minervas_admission.metrics import CRL_ENTRIES, CRL_ISSUED_AT
from minervas_admission.store.certificates import revoked_certificates
from minervas_admission.store.database import Database
from minervas_runtime.clock import Clock
from minervas_runtime.key_files import write_atomic

log = logging.getLogger(__name__)


def issue_lists(
    cas: CaSet, data: DataDirectory, export: Path, revoked: Mapping[str, list[RevokedCertificate]], now_ms: int
) -> None:
    """Issue a list of each CA in use, store them beside the CAs, then give them to the broker. Blocks on the disk.

    Args:
        cas: the CAs in use.
        data: where the lists are stored.
        export: where the broker's wrapper looks.
        revoked: what is on the lists, by the CA's key identifier; under "" what goes on all.
        now_ms: our clock.

    Raises:
        LocalFault: ``bad_key_file`` if something can not be read or written.
    """
    lists: list[bytes] = []
    for name, authority in cas.trusted.items():
        stored = data.ca(name).revocation_list
        previous = stored.read_bytes() if stored.exists() else None
        entries = [*revoked.get("", []), *revoked.get(authority.id, [])]
        lists.append(build_list(authority, entries, next_number(previous, now_ms), now_ms))
        write_atomic(stored, lists[-1])
    # While a CA is being added the lists come first, for a CA without a list is no use to the broker yet.
    if len(lists) > 1:
        make_export_directory(export)
        export_list(export, b"".join(lists))
    export_ca(export, cas.pem.encode())
    if len(lists) == 1:
        export_list(export, lists[0])


class RevocationListKeeper:
    """Issues lists one after another, each from what the database says at that moment."""

    def __init__(self, database: Database, cas: CaSet, clock: Clock, *, data: DataDirectory, export: Path) -> None:
        self._database = database
        self._cas = cas
        self._clock = clock
        self._data = data
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
            await asyncio.to_thread(issue_lists, self._cas, self._data, self._export, revoked, now_ms)
            self.issued_at_ms = now_ms
        CRL_ISSUED_AT.set(now_ms // 1000)
        entries = sum(map(len, revoked.values()))
        CRL_ENTRIES.set(entries)
        log.info("revocation_list_issued", extra={"fields": {"entries": entries}})
        return entries
