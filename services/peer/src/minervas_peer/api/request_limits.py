"""What a request must be before anything looks at it: under a known host name, and small."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minervas_core.errors import Code
from minervas_peer.api.errors import error_response

MAX_BODY_BYTES = 73_728
"""The largest body is an addition, below 65,536 bytes; an offer that names 100 lots has 7 kB."""

MAX_PATH_LENGTH = 1_024

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def allowed_names(host: str, names: Sequence[str]) -> frozenset[str] | None:
    """Host names to answer under, or None for any.

    While the API listens on a loopback address, others are refused: a web page whose name was made to point to this
    machine could read the member's trades otherwise (DNS rebinding).
    """
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return frozenset((*LOOPBACK_NAMES, *names)) if is_loopback or names else None


class RequestLimits:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, names: frozenset[str] | None) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._names is not None and _name_of(headers.get("host", "")) not in self._names:
            response = error_response(
                HTTPStatus.MISDIRECTED_REQUEST,
                "unknown_host",
                "The API does not answer under this name; add it to [api] names",
                {"host": headers.get("host", "")[:200]},
            )
        elif len(scope["path"]) > MAX_PATH_LENGTH:
            response = error_response(HTTPStatus.REQUEST_URI_TOO_LONG, Code.TOO_LARGE, "The path is too long", {})
        elif (body := await _small_body(headers, receive)) is None:
            response = error_response(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                Code.TOO_LARGE,
                "The request's body is too large",
                {"max_bytes": MAX_BODY_BYTES},
            )
        else:
            await self._app(scope, _receive_again(body, receive), send)
            return
        await response(scope, receive, send)


async def _small_body(headers: Headers, receive: Receive) -> bytes | None:
    """Read the body; None if it is too large."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return None
    body, more = b"", True
    while more and len(body) <= MAX_BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body if len(body) <= MAX_BODY_BYTES else None


def _receive_again(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, and then whatever comes (that the client has gone)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
