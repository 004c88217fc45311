"""Certificates that come to their end: expired ones lose the broker, and those that have a successor are revoked.

The broker asks for the certificate only when a connection begins, so a session would outlive its certificate for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from minervas_admission import audit_log
from minervas_admission.metrics import SWEPT
from minervas_admission.store.certificates import DAY_MS
from minervas_admission.store.database import Database
from minervas_admission.store.renewals import expired_principals, supersede_certificates
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

GRACE_MS = DAY_MS
"""How long a certificate stays good beside its successor. A node installs the new one within seconds, or asks again
until it has it; whoever stole the old key has no more time than this (docs/adr/0034)."""


class CertificateSweep:
    """Looks after the end of certificates."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        repair_broker: Callable[[], Awaitable[str]],
        renew_list: Callable[[], Awaitable[str]],
    ) -> None:
        """Begin now: what expired before is the business of the reconciliation after the first connect.

        Args:
            database: says which certificates there are.
            clock: says which have expired.
            repair_broker: takes rights from whoever has no valid certificate.
            renew_list: publishes a revocation list.
        """
        self._database = database
        self._clock = clock
        self._repair_broker = repair_broker
        self._renew_list = renew_list
        self._swept_to_ms = clock.now_ms()

    async def end_sessions(self) -> str:
        """End the sessions of processes whose last certificate has expired since the last time; says whose.

        Raises:
            TransientFault: ``bus_offline``, ``timeout`` or ``database_away``; the next call does it then.
            DynsecRefused: if the broker refuses a command.
        """
        now_ms = self._clock.now_ms()
        async with self._database.transaction() as connection:
            names = await expired_principals(connection, self._swept_to_ms, now_ms)
        if names:
            await self._repair_broker()
            SWEPT.inc(len(names))
            log.warning("certificates_expired", extra={"fields": {"principals": ", ".join(names)}})
        self._swept_to_ms = now_ms
        return ", ".join(names)

    async def revoke_superseded(self) -> str:
        """Revoke certificates that have had a successor for a day; says whose.

        Raises:
            TransientFault: ``database_away``.
            LocalFault: ``bad_key_file`` if the revocation list can not be written.
        """
        now_ms = self._clock.now_ms()
        async with self._database.transaction() as connection:
            names = await supersede_certificates(connection, now_ms, GRACE_MS)
            if names:
                await audit_log.append(
                    connection, time_ms=now_ms, who=audit_log.SERVICE, action="supersede", subject="certificates",
                    principals=", ".join(names),
                )  # fmt: skip
        if names:
            await self._renew_list()
        return ", ".join(names)
