"""Refuses paths that name nothing before anybody looks them up."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from minervas_admission.http_errors import error_response
from minervas_core.errors import Code


class PrintablePaths:
    """Answers 404 where a path has characters that are no text: no id has them, and PostgreSQL takes no NUL."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and not scope["path"].isprintable():
            await error_response(404, Code.NOT_FOUND, "There is nothing here")(scope, receive, send)
        else:
            await self._app(scope, receive, send)
