"""One HTTPS request and its answer, with every failure as one clear error."""

from __future__ import annotations

import email.utils
import ipaddress
import ssl
from contextlib import AbstractContextManager
from dataclasses import dataclass

import httpx
import msgspec

from minervas_core.errors import Code, MinervasError, PeerFault, TransientFault

TIMEOUT_S = 10.0

MAX_ANSWER_BYTES = 524_288
"""A grant has about 15 kB."""


MAX_TEXT_LENGTH = 500
"""How much of a server's explanation is shown."""


class ErrorBody(msgspec.Struct, frozen=True):
    """What admission answers when it refuses."""

    code: str
    message: str = ""
    values: dict[str, str | int | bool] = {}


class Refused(PeerFault):
    """The server refused; the code is its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer."""

    body: bytes
    server_time_ms: int | None
    """From the Date header, in whole seconds."""


def open_client(url: str, context: ssl.SSLContext) -> httpx.Client:
    """A client for one server; on this machine itself a proxy from the environment would only be in the way."""
    return httpx.Client(base_url=url, verify=context, timeout=TIMEOUT_S, trust_env=not _is_loopback(url))


def read_answer(stream: AbstractContextManager[httpx.Response], url: str) -> Answer:
    """Send a request and read the answer, no further than an answer may be long.

    Args:
        stream: what `httpx.Client.stream` returned.
        url: the server, for errors.

    Raises:
        Refused: if the server refused, with its code.
        PeerFault: ``tls_intercepted`` or ``bad_enrolment`` if the server is not what it should be, ``too_large``.
        TransientFault: ``peer_unreachable``, or ``not_ready`` for the server's passing trouble.
    """
    body = bytearray()
    try:
        with stream as response:
            for part in response.iter_bytes():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise PeerFault(Code.TOO_LARGE, "The server's answer is too long; is the URL right?", url=url)
    except httpx.HTTPError as error:
        raise _transport_fault(error, url) from error
    if not response.is_success:
        raise _refusal(response.status_code, bytes(body), url)
    return Answer(bytes(body), _date_ms(response))


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _date_ms(response: httpx.Response) -> int | None:
    try:
        return round(email.utils.parsedate_to_datetime(response.headers["date"]).timestamp()) * 1000
    except (KeyError, ValueError):
        return None


def _transport_fault(error: httpx.HTTPError, url: str) -> MinervasError:
    """Say what kept us from the server."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        code, problem = _certificate_problem(cause.verify_code)
        return PeerFault(code, problem, url=url, reason=str(cause))
    if isinstance(cause, ssl.SSLError):
        return PeerFault(Code.BAD_ENROLMENT, "The server does not speak HTTPS as it should", url=url, reason=str(cause))
    if isinstance(error, httpx.ProxyError):
        return TransientFault(
            Code.PEER_UNREACHABLE,
            "The proxy of this machine (HTTPS_PROXY) does not let us through; name the server in NO_PROXY if it can be "
            "reached without",
            url=url,
            reason=str(error),
        )
    if isinstance(error, httpx.TimeoutException):
        reason = f"no answer in {TIMEOUT_S:.0f} s"
    else:
        reason = str(error) or type(error).__name__
    return TransientFault(
        Code.PEER_UNREACHABLE, "The server can not be reached; check URL and network", url=url, reason=reason
    )


def _certificate_problem(verify_code: int) -> tuple[Code, str]:
    """Code and sentence for one of OpenSSL's verification results (X509_V_ERR_...)."""
    match verify_code:
        case 9 | 10:
            problem = "The server's certificate is not valid now; check this machine's clock, tell the operator"
            return Code.BAD_ENROLMENT, problem
        case 62 | 64:
            return Code.BAD_ENROLMENT, "The server's certificate is for another name than the one in the URL"
        case _:
            return Code.TLS_INTERCEPTED, (
                "The server's certificate is not by the consortium's CA: a proxy, a virus scanner or somebody else is "
                "in between and could read what you send. Nothing was sent. Use a network without it, or have this "
                "server left out there; give --system-ca only if the operator says that the server's certificate is by "
                "a public CA"
            )


def _refusal(status: int, body: bytes, url: str) -> MinervasError:
    """The server's error as ours; its text is shown, its code kept if we know it."""
    try:
        said = msgspec.json.decode(body, type=ErrorBody)
        code = Code(said.code)
    except (msgspec.MsgspecError, ValueError):
        if status >= 500:
            return TransientFault(Code.NOT_READY, "The server has a problem; try again later", url=url, status=status)
        return Refused(Code.BAD_ENROLMENT, "This is not an admission server; is the URL right?", url=url, status=status)
    message = "".join(character if character.isprintable() else "?" for character in said.message[:MAX_TEXT_LENGTH])
    if status >= 500 or code is Code.RATE_LIMITED:
        return TransientFault(code, message, **said.values)
    return Refused(code, message, **said.values)
