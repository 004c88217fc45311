"""The devnet's proxy: forwards, cuts, refuses, restores on the same port, and stalls."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from minervas_devnet.ports import free_port
from minervas_devnet.proxy import TcpProxy
from tests.support.wait import HANG_S, wait_until


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := self.request.recv(65_536):
                self.request.sendall(data)


@pytest.fixture
def echo_port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo_port: int) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", echo_port) as running:
        yield running


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=HANG_S)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    received = b""
    while len(received) < len(data):
        received += connection.recv(65_536)
    return received


def test_data_passes_both_ways(proxy: TcpProxy) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        assert exchange(one, b"x" * 300_000) == b"x" * 300_000
        assert exchange(other, b"there") == b"there"
        assert proxy.connections == 2
    wait_until(lambda: proxy.connections == 0)


def test_end_of_one_direction_is_passed_on(proxy: TcpProxy) -> None:
    with connect(proxy) as connection:
        assert exchange(connection, b"last") == b"last"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""


def test_cut_resets_all_connections_and_refuses_new_ones(proxy: TcpProxy) -> None:
    with connect(proxy) as connection:
        assert exchange(connection, b"before") == b"before"
        proxy.cut()
        assert proxy.is_cut
        with pytest.raises(ConnectionResetError):
            connection.recv(10)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert proxy.connections == 0


def test_restore_serves_the_same_port_again(proxy: TcpProxy) -> None:
    port = proxy.port
    for _ in range(3):
        proxy.cut()
        proxy.restore()
        assert (proxy.port, proxy.is_cut) == (port, False)
        with connect(proxy) as connection:
            assert exchange(connection, b"again") == b"again"


def test_stall_holds_data_back_until_restored(proxy: TcpProxy) -> None:
    with connect(proxy) as connection:
        assert exchange(connection, b"before") == b"before"
        proxy.stall()
        connection.sendall(b"held")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        connection.settimeout(10)
        proxy.restore()
        assert connection.recv(10) == b"held"


def test_stalled_connection_can_be_cut(proxy: TcpProxy) -> None:
    with connect(proxy) as connection:
        assert exchange(connection, b"before") == b"before"
        proxy.stall()
        connection.sendall(b"held")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)


def test_target_that_refuses_closes_the_connection() -> None:
    with TcpProxy("127.0.0.1", free_port()) as proxy, connect(proxy) as connection:
        try:
            assert connection.recv(10) == b""
        except ConnectionResetError:
            return  # as good an end as any: which one is seen depends on timing


def test_stop_ends_everything_and_may_be_repeated(echo_port: int) -> None:
    proxy = TcpProxy("127.0.0.1", echo_port)
    proxy.start()
    with connect(proxy) as connection:
        assert exchange(connection, b"before") == b"before"
        proxy.stop()
        proxy.stop()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)


def test_cut_takes_a_connection_that_closed_itself_a_moment_ago(proxy: TcpProxy) -> None:
    """Its socket is closed already, but its task has not run since."""
    closed = socket.socket()
    closed.close()
    closing = Mock()
    closing.get_extra_info.return_value = closed
    proxy._writers.add(closing)
    proxy.cut()
    assert closing.transport.abort.called
    proxy._writers.clear()
