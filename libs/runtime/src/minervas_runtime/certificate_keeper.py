"""Keeps a service's certificate good: asks for the next one in time, takes it up when it comes, and waits for it.

Theory of operation. The keeper looks at the node's files once a second. Ten days before the end it makes a new key
beside the old one and leaves a request for the peer. When a certificate for the new key has been installed, key and
certificate change over together (`tls_identity`), and the bus connects anew. A certificate that has ended is not tried
on the broker: whoever wants to connect waits here until there is another, which also lets a node start that was off
for months.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from minervas_core.errors import MinervasError
from minervas_core.identifiers import Principal
from minervas_runtime.clock import Clock
from minervas_runtime.enrolment import Issued, certificate_file
from minervas_runtime.key_files import load_or_create_tls_key
from minervas_runtime.metrics import CERTIFICATE_EXPIRES
from minervas_runtime.renewal_files import read_report, remove_request, request_file, write_request
from minervas_runtime.settings import NodePaths
from minervas_runtime.tls_identity import NEXT_KEY_FILE, TLS_KEY_FILE, TlsIdentity, adopt_identity

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
RENEW_BEFORE_MS = 10 * DAY_MS
"""How long before its end a certificate is renewed: at 20 days of 30."""
SPREAD_MS = DAY_MS
"""Over this time processes come one after another, by their names."""
POLL_S = 1.0
"""How often the files are looked at."""
REMIND_S = 30.0
"""How often the log repeats that a new certificate is waited for."""


class CertificateKeeper:
    """Looks after the certificate of one service."""

    def __init__(self, paths: NodePaths, who: Principal, issued: Issued, clock: Clock, status: dict[str, Any]) -> None:
        """Take up what was issued.

        Args:
            paths: the node's directories.
            who: the service.
            issued: kept up to date.
            clock: says when certificates end.
            status: what /healthz shows; ``certificate`` in it is kept up to date.
        """
        self._paths = paths
        self._who = who
        self._issued = issued
        self._clock = clock
        self._status = status
        self._file = certificate_file(paths, who.service)
        self._seen = self._mark()
        self._identity = adopt_identity(paths.data, self._file, str(who))
        self._on_renewed: list[Callable[[], None]] = []
        self._said = ""
        self._changed = asyncio.Event()
        self._show()

    @property
    def expires_ms(self) -> int:
        """When the certificate ends."""
        return self._identity.expires_ms

    def is_renewing(self) -> bool:
        """Whether another certificate was asked for and is not in use yet: ours may have been revoked by now."""
        return request_file(self._paths, self._who.service).exists()

    def on_renewed(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the event loop after every change of key and certificate."""
        self._on_renewed.append(callback)

    async def wait_current(self) -> None:
        """Return as soon as the certificate is one that has not ended; at once if it is."""
        while not self._identity.is_current(self._clock.now_ms()):
            report = read_report(self._paths.issued)
            fields = {"expired_ms": self.expires_ms, "code": report.code, "reason": report.message}
            log.warning("waiting for a new certificate", extra={"fields": fields})
            await self._wait_change()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after the certificate for the length of the block."""
        task = asyncio.create_task(self._run(), name=f"certificate {self._who}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _wait_change(self) -> None:
        """Return when the certificate or the clock has changed so that it is current, or it is time for a reminder."""
        loop = asyncio.get_running_loop()
        remind_s = loop.time() + REMIND_S
        self._changed.clear()
        while not self._identity.is_current(self._clock.now_ms()) and loop.time() < remind_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):  # the clock may be set, too
                    await self._changed.wait()

    async def _run(self) -> None:
        while True:
            try:
                self._take_up()
                self._ask_if_due()
            except MinervasError as error:
                self._say("certificate_trouble", str(error))
            except Exception:
                log.exception("certificate_keeper_failed")
            self._show()
            await asyncio.sleep(POLL_S)

    def _take_up(self) -> None:
        """Change over if another certificate was installed."""
        mark = self._mark()
        if mark == self._seen:
            return
        identity = adopt_identity(self._paths.data, self._file, str(self._who))
        self._seen = mark
        if identity.certificate == self._identity.certificate:
            return
        self._identity = identity
        self._issued.certificate_expires_ms = identity.expires_ms
        self._changed.set()
        log.info("certificate_renewed", extra={"fields": {"expires_ms": identity.expires_ms}})
        for callback in self._on_renewed:
            callback()

    def _ask_if_due(self) -> None:
        """Leave a request if it is time and there is none; take it back once it was granted."""
        next_file = self._paths.data / NEXT_KEY_FILE
        request = request_file(self._paths, self._who.service)
        if not self._is_due():
            if not next_file.exists() and request.exists():  # a crash came between changing over and this
                remove_request(self._paths, self._who.service)
            return
        if request.exists() and next_file.exists():
            return
        next_file.unlink(missing_ok=True)  # nobody knows of it, or its request was refused: each request has a new key
        key = load_or_create_tls_key(self._paths.data / TLS_KEY_FILE)
        write_request(self._paths, self._who, self._identity.certificate, key, load_or_create_tls_key(next_file))
        log.info("certificate_renewal_asked", extra={"fields": {"expires_ms": self.expires_ms}})

    def _is_due(self) -> bool:
        return self._clock.now_ms() >= renewal_due_ms(self._identity, str(self._who)) or (
            self._identity.hash in read_report(self._paths.issued).replace
        )

    def _mark(self) -> tuple[int, int, int]:
        """Something that changes whenever another file takes the certificate's place."""
        try:
            found = self._file.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _show(self) -> None:
        """Tell people how the certificate stands."""
        CERTIFICATE_EXPIRES.labels(str(self._who)).set(self.expires_ms // 1000)
        report = read_report(self._paths.issued)
        asked = self.is_renewing()
        current = self._identity.is_current(self._clock.now_ms())
        state = "valid" if current and not asked else "renewing" if current else "waiting for a new certificate"
        self._status["certificate"] = {
            "expires_ms": self.expires_ms,
            "state": state,
            "trouble": f"{report.code}: {report.message}" if asked and report.code else "",
        }
        if asked and report.code:
            self._say("certificate_not_renewed", f"{report.code}: {report.message}")

    def _say(self, event: str, reason: str) -> None:
        """Log trouble once; /healthz goes on showing it."""
        if reason != self._said:
            self._said = reason
            log.warning(event, extra={"fields": {"reason": reason, "expires_ms": self.expires_ms}})


def renewal_due_ms(identity: TlsIdentity, principal: str) -> int:
    """When a certificate is renewed: up to a day after ten days are left, by the process' name."""
    digest = hashlib.sha256(principal.encode()).digest()
    return identity.expires_ms - RENEW_BEFORE_MS + int.from_bytes(digest[:8], "big") % SPREAD_MS
