"""What is done without anybody asking: reconcile after every connect and hourly, renew list and own certificates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from minervas_admission.authority import Consortium
from minervas_admission.broker_link import BrokerLink
from minervas_admission.certificate_sweep import CertificateSweep
from minervas_admission.crl import REISSUE_MS
from minervas_admission.data_directory import DataDirectory
from minervas_admission.forms import REMEMBERED_MS
from minervas_admission.issued_journal import record_remembered
from minervas_admission.own_certificates import ensure_own_certificates
from minervas_admission.personal_data import forget_rejected
from minervas_admission.sagas.reconciliation import Reconciliation
from minervas_admission.sagas.worker import DecisionWorker
from minervas_admission.server_renewal import renew_broker
from minervas_admission.store.certificates import DAY_MS, soonest_server_expiry
from minervas_admission.store.database import Database
from minervas_admission.store.forms import forget_old_forms
from minervas_core.errors import MinervasError
from minervas_core.rights import ADMISSION
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Pause before something that failed is tried again."""

SWEEP_S = 30.0
"""How often expired and superseded certificates are looked for."""

WARN_MS = 30 * DAY_MS
"""How long before its end a server's certificate is warned of."""


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """The regular duties."""

    database: Database
    consortium: Consortium
    data: DataDirectory
    server_names: list[str]
    broker_export: Path
    reconciliation: Reconciliation
    sweep: CertificateSweep
    link: BrokerLink
    worker: DecisionWorker
    clock: Clock
    rejected_ms: int
    """So long after its rejection an application's personal data is deleted."""
    reload_https: Callable[[], None]
    """Called after the HTTPS server's certificate was renewed."""

    async def after_connects(self) -> None:
        """Reconcile after every connect, then let failed steps try again."""
        while True:
            await self.link.wait_connected()
            self.worker.retry_now()
            await self._until_done("reconcile", self.reconciliation.repair_broker)

    async def sweep_certificates(self) -> None:
        """End what expired certificates still hold, and revoke those that have a successor."""
        while True:
            await self._once("sweep", self.sweep.end_sessions)
            await self._once("superseded certificates", self.sweep.revoke_superseded)
            await asyncio.sleep(SWEEP_S)

    async def hourly(self) -> None:
        """Every hour and at start: list, own certificates, old rejected applications, and the broker reconciled."""
        while True:
            await self._until_done("revocation list", self.reconciliation.renew_list)
            await self._until_done("certificates", self.renew_own)
            await self._once("personal data", self.forget_rejected)
            await asyncio.sleep(REISSUE_MS / 1000)
            await self._once("reconcile", self.reconciliation.repair_broker)

    async def grafana(self) -> None:
        """At start and every hour: everybody's access to Grafana compared, and new dashboards given out."""
        while True:
            await self._until_done("grafana", self.reconciliation.grafana.repair)
            await asyncio.sleep(REISSUE_MS / 1000)

    async def renew_own(self) -> str:
        """Renew our own certificates in time, and record those that were signed beside us.

        The broker's is renewed with them; another server's end is warned of.

        Raises:
            LocalFault: ``bad_key_file``.
            TransientFault: ``database_away``.
        """
        signed = await asyncio.to_thread(
            ensure_own_certificates,
            self.data,
            self.consortium.authority,
            self.server_names,
            self.clock.now_ms(),
        )
        authority, now_ms = self.consortium.authority, self.clock.now_ms()
        if await asyncio.to_thread(renew_broker, self.data, authority, self.broker_export, now_ms):
            signed.append("broker")
            log.info("broker_certificate_renewed")
        await record_remembered(self.data, self.database)
        if "server" in signed:
            self.reload_https()
        async with self.database.transaction() as connection:
            soonest = await soonest_server_expiry(connection, besides=str(ADMISSION))
        if soonest is not None and soonest.not_after_ms < self.clock.now_ms() + WARN_MS:
            fields = {"server": soonest.principal, "expires_ms": soonest.not_after_ms, "advice": "sign-server again"}
            log.warning("server_certificate_expires", extra={"fields": fields})
        return ", ".join(signed)

    async def forget_rejected(self) -> str:
        """Delete the personal data of applications that were rejected long ago.

        Raises:
            TransientFault: ``database_away``.
        """
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            await forget_old_forms(connection, now_ms, REMEMBERED_MS)
            count = await forget_rejected(connection, before_ms=now_ms - self.rejected_ms, now_ms=now_ms)
        return f"{count} applications"

    async def _until_done(self, duty: str, work: Callable[[], Awaitable[str]]) -> None:
        done = await self._once(duty, work)
        while not done:
            await asyncio.sleep(RETRY_S)
            done = await self._once(duty, work)

    async def _once(self, duty: str, work: Callable[[], Awaitable[str]]) -> bool:
        try:
            await work()
        except MinervasError as error:
            log.warning("duty_failed", extra={"fields": {"duty": duty, "code": error.code, "reason": str(error)}})
            return False
        except Exception:  # a bug in one duty must not end the others, least of all revocations
            log.exception("duty_failed", extra={"fields": {"duty": duty}})
            return False
        return True
