"""What a form sends: read within limits of size and time, and only if one of our own pages sent it."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from fastapi import Request

from minervas_admission.web.faults import PageFault

MAX_BYTES = 65_536
MAX_FIELDS = 500
TIMEOUT_S = 10.0
"""How long a browser may take to send a form."""

FORM_TYPE = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """The first value of a field, without surrounding space; empty if there is none."""
        return self.raw(name).strip()

    def raw(self, name: str) -> str:
        """The first value of a field exactly as it was sent: for passwords."""
        return next((value for key, value in self._fields if key == name), "")

    def texts(self, name: str) -> list[str]:
        """All values of a field."""
        return [value.strip() for key, value in self._fields if key == name]

    def checked(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.text(name) == "yes"


EMPTY = Form([])


async def read_form(request: Request) -> Form:
    """Read a form.

    Raises:
        PageFault: 415, 413, 408, or 400 for what is no form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise PageFault(415, "bad_form")
    body = bytearray()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BYTES:
                    raise PageFault(413, "too_large")
    except TimeoutError as error:
        raise PageFault(408, "too_slow") from error
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise PageFault(400, "bad_form") from error
    if any("\0" in value for _, value in fields):
        raise PageFault(400, "bad_form")  # PostgreSQL has no such character in a text
    return Form(fields)


def check_origin(request: Request) -> None:
    """Check that the browser says one of our own pages sent this form; every browser of today does.

    Raises:
        PageFault: 403.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is None and origin is None:
        raise PageFault(403, "foreign_form")
    if site is not None and site != "same-origin":
        raise PageFault(403, "foreign_form")
    if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host', '')}":
        raise PageFault(403, "foreign_form")
