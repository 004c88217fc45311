"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import contextlib
import socket
import threading

LOOPBACK = "127.0.0.1"

_handed_out: set[int] = set()
_lock = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports of the loopback interface that nobody listens on.

    A port is not handed out twice by this process. Another program may still take it before it is used: the server
    that then cannot bind says so.
    """
    ports: list[int] = []
    with _lock, contextlib.ExitStack() as held:
        while len(ports) < count:
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
            if port not in _handed_out:
                _handed_out.add(port)
                ports.append(port)
    return ports


def free_port() -> int:
    """Return one free TCP port of the loopback interface."""
    return free_ports(1)[0]
