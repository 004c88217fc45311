"""What a request must be before anything looks at it: under a known host name, and small."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minervas_core.errors import Code
from minervas_peer.api.errors import error_response

MAX_BODY_BYTES = 16_384
"""The largest body is an offer that names 100 lots: 7 kB."""

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
        elif not await _is_small(headers, receive):
            response = error_response(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                Code.TOO_LARGE,
                "The request's body is too large",
                {"max_bytes": MAX_BODY_BYTES},
            )
        else:
            await self._app(scope, _nothing_more, send)
            return
        await response(scope, receive, send)


async def _is_small(headers: Headers, receive: Receive) -> bool:
    """Read the body and throw it away, unless it is too large: nothing in this API looks at it."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return False
    size_bytes, more = 0, True
    while more and size_bytes <= MAX_BODY_BYTES:
        message = await receive()
        size_bytes += len(message.get("body", b""))
        more = message.get("more_body", False)
    return size_bytes <= MAX_BODY_BYTES


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
