"""The command line's way to the peer's HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from minervas_core.errors import Code, LocalFault, MinervasError, TransientFault

TIMEOUT_S = 15.0
"""The peer itself waits up to 10 s for its ledger."""

Json = dict[str, Any]


class ApiClient:
    """Asks one peer. Use as a context manager."""

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: where the API is, e.g. ``http://127.0.0.1:8730``.
            token_file: the peer's ``api.token``, needed to trade.
        """
        self._url = url
        self._token_file = token_file
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **query: int | str) -> Json:
        """Get one page as parsed JSON.

        Raises:
            TransientFault: ``peer_unreachable`` if nothing answers there.
            MinervasError: what the peer refused, with its code.
        """
        return self._exchange(self._client.build_request("GET", path, params=query))

    def post(self, path: str, body: Json) -> Json:
        """Send what trades; the answer as parsed JSON.

        Raises:
            LocalFault: ``bad_key_file`` if the token can not be read.
            TransientFault: ``peer_unreachable`` if nothing answers there.
            MinervasError: what the peer refused, with its code.
        """
        return self._exchange(self._client.build_request("POST", path, json=body, headers=self._headers()))

    def put(self, path: str, body: Json) -> Json:
        """Set what the peer keeps; raises as `post`."""
        return self._exchange(self._client.build_request("PUT", path, json=body, headers=self._headers()))

    def delete(self, path: str, **query: str) -> Json:
        """Remove what the peer keeps; raises as `post`."""
        return self._exchange(self._client.build_request("DELETE", path, params=query, headers=self._headers()))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {read_token(self._token_file)}"}

    def _exchange(self, request: httpx.Request) -> Json:
        try:
            response = self._client.send(request)
            content = response.json()
        except httpx.HTTPError as error:
            raise TransientFault(
                Code.PEER_UNREACHABLE,
                "The peer's API does not answer; is the peer running and approved? Name it with --api or MINERVAS_API",
                url=self._url,
                reason=str(error) or type(error).__name__,
            ) from error
        except ValueError as error:
            raise _not_ours(self._url) from error
        if not isinstance(content, dict):
            raise _not_ours(self._url)
        if not response.is_success:
            raise _refusal(content, self._url)
        return content


def read_token(token_file: Path | None) -> str:
    """The token that trading needs.

    Raises:
        LocalFault: ``bad_key_file`` if it was not named or can not be read.
    """
    if token_file is None:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "Trading needs the peer's token: name its api.token with --token-file or MINERVAS_API_TOKEN_FILE",
        )
    try:
        return token_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalFault(
            Code.BAD_KEY_FILE, "The peer's token can not be read", file=str(token_file), reason=str(error)
        ) from error


def _refusal(content: Mapping[str, Any], url: str) -> MinervasError:
    try:
        code = Code(str(content.get("code")))
    except ValueError:
        return _not_ours(url)
    family = LocalFault if code is Code.WRONG_SHAPE else TransientFault
    values = content.get("values")
    return family(code, str(content.get("message")), **(values if isinstance(values, dict) else {}))


def _not_ours(url: str) -> LocalFault:
    return LocalFault(Code.BAD_SETTINGS, "What answers there is not a peer of this version", url=url)
