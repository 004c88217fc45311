"""A TCP proxy that can lose the connection: put between a service and a server to cut it off and join it again.

While *cut*, every connection is gone (reset) and new ones are refused, as with a pulled cable whose other end was
noticed; while *stalled*, connections stay but nothing passes, as with one that nobody has noticed yet. The proxy keeps
its port over all of this. It runs in a thread of its own, so it serves synchronous and asyncio code alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self

from minervas_devnet.ports import LOOPBACK, free_port

CHUNK_BYTES = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing sends RST at once, as a cut does."""


class TcpProxy:
    """Forwards a loopback port to another address. A context manager.

    Args:
        target_host: where connections go.
        target_port: and on which port.
        name: for messages.
        port: the loopback port to listen on; a free one if not given.
    """

    def __init__(self, target_host: str, target_port: int, *, name: str = "proxy", port: int | None = None) -> None:
        self.name = name
        self.host = LOOPBACK
        self.port = port or free_port()
        self._target = (target_host, target_port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()

    @property
    def connections(self) -> int:
        """Number of connections that pass through it now."""
        return len(self._serving)

    @property
    def is_cut(self) -> bool:
        """Whether connections are refused."""
        return self._server is None

    def start(self) -> None:
        """Listen and forward."""
        if not self._thread.is_alive():
            self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """End all connections and the proxy itself; it cannot be started again. A second time nothing happens."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._run(self._drop_all())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._run(self._drop_all())

    def restore(self) -> None:
        """Accept connections again, and let data pass again."""
        self._loop.call_soon_threadsafe(self._passing.set)
        self._run(self._listen())

    def stall(self) -> None:
        """Keep all connections, accept new ones, but let nothing pass until `restore`."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port, reuse_address=True)

    async def _drop_all(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            sock: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # closed by the other side, and its task has not noticed yet
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # a stream handler always runs as a task; this satisfies the type
            return
        self._serving.add(task)
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            target_reader, onward = await asyncio.open_connection(*self._target)
            self._writers.add(onward)
            await asyncio.gather(self._pump(reader, onward), self._pump(target_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # the target refused, or one side is gone: the other one learns it now
        finally:
            for each in filter(None, (writer, onward)):
                self._writers.discard(each)
                each.transport.abort()
            self._serving.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy one direction until its end, and pass the end on."""
        while data := await reader.read(CHUNK_BYTES):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
