"""Serves the API on the service's own event loop, so that it stops with the service and hangs if the service hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from minervas_core.errors import Code, LocalFault
from minervas_peer.settings import ApiSettings

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 128
MAX_HEAD_BYTES = 16_384
KEEP_ALIVE_S = 30
STOP_GRACE_S = 1


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    """Listens from its making on, so that a port in use is known at once; `run` serves."""

    def __init__(self, settings: ApiSettings) -> None:
        """Listen.

        Raises:
            LocalFault: ``bad_settings`` if address or port can not be used.
        """
        self._socket = _listen(settings)
        self.host, self.port = self._socket.getsockname()[:2]

    async def run(self, app: FastAPI) -> None:
        """Serve until cancelled."""
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            http="h11",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_GRACE_S,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its start and stop messages say nothing new
        server = _Server(config)
        log.info("api_listening", extra={"fields": {"host": self.host, "port": self.port}})
        serving = asyncio.create_task(server.serve(sockets=[self._socket]), name="api")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise

    def close(self) -> None:
        """Stop listening if `run` was never called."""
        self._socket.close()


def _listen(settings: ApiSettings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            undo.pop_all()
    except OSError as error:
        raise LocalFault(
            Code.BAD_SETTINGS,
            "The address of the API [api] cannot be used; choose another port",
            host=settings.host,
            port=settings.port,
            reason=error.strerror or str(error),
        ) from error
    return listener
