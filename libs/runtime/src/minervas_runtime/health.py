"""The HTTP server of /healthz and /metrics.

It runs on the service's own event loop on purpose: a service whose loop hangs does not answer, and is thus seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import prometheus_client

from minervas_core.errors import Code, LocalFault

log = logging.getLogger(__name__)

Status = Callable[[], dict[str, Any]]
"""Returns at least ``{"status": "ok" | "waiting" | "failing"}``; everything else is for people."""

REQUEST_TIMEOUT_S = 5
MAX_REQUEST_BYTES = 8_192


class HealthServer:
    """Serves ``/healthz`` (200, or 503 when failing) and ``/metrics``."""

    def __init__(self, host: str, port: int, status: Status) -> None:
        self._host = host
        self._port = port
        self._status = status
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port in use; another than asked for if that was 0."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            LocalFault: ``bad_settings`` if address or port cannot be used.
        """
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            raise LocalFault(
                Code.BAD_SETTINGS,
                "The health address [health] cannot be used; choose another port",
                host=self._host,
                port=self._port,
                reason=error.strerror or str(error),
            ) from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0].decode("latin-1")))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("health_request_failed", extra={"fields": {"reason": str(error)}})
        finally:
            writer.close()

    def _answer(self, request_line: str) -> bytes:
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", "text/plain", b"only GET\n")
        if path == "/healthz":
            status = self._status()
            line = "503 Service Unavailable" if status.get("status") == "failing" else "200 OK"
            return _response(line, "application/json", msgspec.json.encode(status, enc_hook=str) + b"\n")
        if path == "/metrics":
            return _response("200 OK", prometheus_client.CONTENT_TYPE_LATEST, prometheus_client.generate_latest())
        return _response("404 Not Found", "text/plain", b"/healthz or /metrics\n")


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
