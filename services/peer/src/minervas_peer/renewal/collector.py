"""Collects what the node's services ask for and renews it, again and again until it works, and tells how it stands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minervas_core.errors import Code, LocalFault, MinervasError
from minervas_peer.join.http_exchange import Refused
from minervas_peer.renewal.exchange import RenewalExchange
from minervas_peer.renewal.node_files import InstalledCertificate, installed_certificates, open_requests
from minervas_runtime.clock import Clock
from minervas_runtime.randomness import new_salt
from minervas_runtime.renewal_files import RenewalReport, RenewalRequest, read_report, remove_request, write_report
from minervas_runtime.settings import NodePaths

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often the requests are looked at."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited before admission is asked (again)."""

    gather_ms: int = 2_000
    """After the first request: so the services of a node come together."""
    retry_ms: int = 15_000
    """After the first failure; doubles with each further one."""
    longest_ms: int = 3_600_000
    """Longest pause between two attempts."""
    expired_ms: int = 300_000
    """Longest pause while a certificate has expired: its service stands still."""
    refused_ms: int = 6 * 3_600_000
    """After a refusal that only people can mend, such as the end of the membership."""


@dataclass(frozen=True, slots=True)
class CertificateState:
    """How the certificate of one service stands."""

    installed: InstalledCertificate
    state: Literal["valid", "renewing", "expired"]


class RenewalCollector:
    """Renews for all services of the node."""

    def __init__(
        self, paths: NodePaths, member: str, exchange: RenewalExchange, clock: Clock, patience: Patience | None = None
    ) -> None:
        """Prepare.

        Args:
            paths: the node's directories.
            member: whose node it is.
            exchange: does a renewal.
            clock: says what has expired, and when to ask again.
            patience: pauses.
        """
        self._paths = paths
        self._member = member
        self._exchange = exchange
        self._clock = clock
        self._patience = patience or Patience()
        self._failures = 0
        self._next_ms: int | None = None
        """When admission may be asked; None while nobody wants anything."""
        self._soon = asyncio.Event()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            try:
                await self._look()
            except MinervasError as error:
                log.warning("renewal_trouble", extra={"fields": {"code": error.code, "reason": str(error)}})
            except Exception:
                log.exception("renewal_failed")
            try:
                async with asyncio.timeout(POLL_S):
                    await self._soon.wait()
            except TimeoutError:
                continue
            self._soon.clear()

    def renew_now(self, *, force: bool) -> None:
        """Ask admission as soon as possible for what is asked for.

        Args:
            force: renew all certificates, also those that are not due.

        Raises:
            LocalFault: ``bad_key_file`` if the services can not be told.
        """
        if force:
            hashes = tuple(each.hash for each in installed_certificates(self._paths.issued).values())
            report = read_report(self._paths.issued)
            write_report(self._paths.issued, RenewalReport(at_ms=report.at_ms, replace=hashes))
        self._failures = 0
        self._next_ms = None
        self._soon.set()

    def certificates(self) -> list[CertificateState]:
        """How all certificates of the node stand, by service."""
        asked, now_ms = open_requests(self._paths, self._member), self._clock.now_ms()
        forced = read_report(self._paths.issued).replace
        found: list[CertificateState] = []
        for service, installed in installed_certificates(self._paths.issued).items():
            renewing = service in asked or installed.hash in forced
            expired = installed.expires_ms <= now_ms
            found.append(CertificateState(installed, "expired" if expired else "renewing" if renewing else "valid"))
        return found

    def report(self) -> RenewalReport:
        """How renewing stands."""
        return read_report(self._paths.issued)

    async def _look(self) -> None:
        requests, now_ms = open_requests(self._paths, self._member), self._clock.now_ms()
        if not requests:
            self._next_ms = None
            self._tidy()
            return
        if self._next_ms is None:  # what was begun before a restart goes on at once
            self._next_ms = now_ms + (0 if self._exchange.is_under_way else self._patience.gather_ms)
        if now_ms >= self._next_ms or self._next_ms > now_ms + self._patience.refused_ms:  # or the clock went back
            await self._attempt(requests)

    async def _attempt(self, requests: dict[str, RenewalRequest]) -> None:
        try:
            renewed = await self._exchange.renew({service: each.csr for service, each in requests.items()})
        except MinervasError as error:
            self._failed(error, list(requests))
        else:
            log.info("certificates_renewed", extra={"fields": {"services": ", ".join(renewed)}})
            self._failures, self._next_ms = 0, None
            self._tell(RenewalReport(at_ms=self._clock.now_ms(), replace=self._still_forced()))

    def _failed(self, error: MinervasError, services: Sequence[str]) -> None:
        """Say what is wrong, and decide when to try again."""
        now_ms, patience = self._clock.now_ms(), self._patience
        if error.code is Code.KEY_REUSED:  # the services make new keys as soon as their requests are gone
            for service in services:
                remove_request(self._paths, service)
        final = isinstance(error, Refused) and error.code not in (Code.KEY_REUSED, Code.CLOCK_OFFSET)
        if final:
            pause_ms = patience.refused_ms
        else:
            expired = any(each.state == "expired" for each in self.certificates())
            longest = patience.expired_ms if expired else patience.longest_ms
            pause_ms = min(longest, patience.retry_ms * 2 ** min(self._failures, 16))
            pause_ms -= pause_ms * int(new_salt()[:2], 16) // 1_024  # up to a quarter less: not all at once
        self._failures += 1
        self._next_ms = now_ms + pause_ms
        fields = {"code": error.code, "reason": str(error), "services": ", ".join(services), "again_in_ms": pause_ms}
        log.warning("renewal_refused" if final else "renewal_failed", extra={"fields": fields})
        self._tell(
            RenewalReport(
                at_ms=now_ms, code=error.code, message=str(error), next_ms=self._next_ms, replace=self._still_forced()
            )
        )

    def _tidy(self) -> None:
        """Forget trouble that is over, and what was to be replaced and is."""
        report = self.report()
        if report.code or report.replace != self._still_forced():
            self._tell(RenewalReport(at_ms=report.at_ms, replace=self._still_forced()))

    def _still_forced(self) -> tuple[str, ...]:
        installed = {each.hash for each in installed_certificates(self._paths.issued).values()}
        return tuple(each for each in self.report().replace if each in installed)

    def _tell(self, report: RenewalReport) -> None:
        try:
            write_report(self._paths.issued, report)
        except LocalFault as error:  # a certificate that was installed counts more than what is said of it
            log.warning("renewal_not_told", extra={"fields": {"reason": str(error)}})
