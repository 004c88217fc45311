"""The token without which the API changes nothing: reading needs only the network, trading needs this."""

from __future__ import annotations

import hmac
from pathlib import Path

from fastapi import Request

from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import load_or_create_seed

TOKEN_FILE = "api.token"  # noqa: S105  # a file's name, not a token
TOKEN_BYTES = 32


def load_or_create_token(directory: Path) -> str:
    """Read the token, or make it at first start: 64 hex digits in a file that only its owner reads.

    Raises:
        LocalFault: ``bad_key_file`` if an existing file is unusable.
    """
    return load_or_create_seed(directory / TOKEN_FILE, TOKEN_BYTES).hex()


class TokenCheck:
    """FastAPI dependency of every path that trades."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode("ascii")

    def __call__(self, request: Request) -> None:
        """Refuse a request that does not carry the token.

        Raises:
            LocalFault: ``not_authorised``.
        """
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._expected):
            raise LocalFault(Code.NOT_AUTHORISED, "Trading needs the token in the peer's data directory (api.token)")
