"""Runs the HTTPS API on the service's own event loop, with a certificate that can be renewed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from minervas_core.errors import Code, LocalFault

log = logging.getLogger(__name__)

GRACE_S = 0.4
"""How long requests under way may take when the service stops."""

STOP_S = 1
"""After this time the server gives up on connections that do not end; the runner allows 1.8 s for everything."""

MAX_CONNECTIONS = 200

WATCH_S = 10.0
"""How often the certificate's files are looked at."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: `minervas_runtime.service` deals with signals."""
        yield


class HttpsServer:
    """The HTTPS server."""

    def __init__(self, app: FastAPI, host: str, port: int, *, certificate: Path, key: Path) -> None:
        """Load the certificate and take the port.

        Raises:
            LocalFault: ``bad_settings`` if address or port can not be used, ``bad_key_file`` for unusable TLS files.
        """
        self._certificate = certificate
        self._key = key
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.reload()
        self._socket = _listen(host, port)
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                lifespan="off",
                ws="none",
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=STOP_S,
                ssl_context_factory=lambda config, default: self._context,  # noqa: ARG005 - the factory's form
            )
        )

    def reload(self) -> None:
        """Use the certificate on the disk for the next handshakes; if it can not be used, the one before stays.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        self._stamp = self._files_stamp()
        try:
            for context in (ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), self._context):
                context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise LocalFault(
                Code.BAD_KEY_FILE,
                "Certificate or key of the HTTPS server can not be used",
                file=str(self._certificate),
                reason=str(error),
            ) from error

    def _files_stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever one of the files does."""
        found: list[tuple[int, int]] = []
        for file in (self._certificate, self._key):
            try:
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_ino))
            except OSError:
                found.append((0, 0))
        return tuple(found)

    async def watch(self) -> None:
        """Use a certificate that was replaced on the disk, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._files_stamp() == self._stamp:
                continue
            try:
                self.reload()
            except LocalFault as error:  # perhaps only one of the two files is new yet
                log.warning("https_certificate_kept", extra={"fields": {"code": error.code, "reason": str(error)}})
            else:
                log.info("https_certificate_reloaded", extra={"fields": {"file": str(self._certificate)}})

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            LocalFault: ``internal`` if the server ends by itself.
        """
        serving = asyncio.create_task(self._server.serve([self._socket]), name="https")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._server.should_exit = True
            await asyncio.wait({serving}, timeout=GRACE_S)
            self._server.force_exit = True  # idle connections are not worth waiting for
            await serving
            raise
        raise LocalFault(Code.INTERNAL, "The HTTPS server has ended")


def _no_password() -> str:
    """Asked for by OpenSSL when a key is encrypted, instead of asking on the terminal."""
    raise ssl.SSLError("the key is encrypted; store it without a passphrase")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise LocalFault(
            Code.BAD_SETTINGS,
            "The HTTPS address [http] can not be used; choose another port",
            host=host,
            port=port,
            reason=error.strerror or str(error),
        ) from error
