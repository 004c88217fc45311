"""HTTPS to admission: its CA first, unverified, to be compared with the fingerprint; then all else, verified."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Self, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from minervas_core.applicant import ApplicationForm
from minervas_core.encoding import Record, decode
from minervas_core.enrolment import ApplicationReceipt, ApplicationState, ConsortiumInfo
from minervas_core.errors import Code, InvalidEncoding, LocalFault, PeerFault
from minervas_core.renewal import RenewalAnswer
from minervas_peer.join.fingerprint import check_ca
from minervas_peer.join.http_exchange import MAX_ANSWER_BYTES, open_client, read_answer

MAX_CLOCK_OFFSET_MS = 120_000
"""Beyond this our clock is called wrong. Certificates are backdated by five minutes only."""

Content = TypeVar("Content", bound=Record)


def fetch_ca(url: str, fingerprint: str, now_ms: int) -> bytes:
    """Get the CA's certificate and compare it with the fingerprint.

    Returns:
        That certificate (PEM) and no other: what came may have held more, which would be trusted too.

    Raises:
        PeerFault: ``ca_mismatch`` if it is another one, ``bad_enrolment`` if it is none.
        LocalFault: ``clock_offset``: with a wrong clock the next, verified connection would fail without saying why.
        TransientFault: ``peer_unreachable`` if the server does not answer.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what comes is only believed if its fingerprint is the expected one
    with open_client(url, context) as client:
        answer = read_answer(client.stream("GET", "/ca.crt"), url)
    authority = check_ca(answer.body, fingerprint)
    if answer.server_time_ms is not None:
        check_clock(now_ms, answer.server_time_ms)
    return authority.public_bytes(Encoding.PEM)


class AdmissionClient:
    """A verified connection to admission. Use as a context manager. Errors of all requests: see `read_answer`."""

    def __init__(self, url: str, ca_pem: bytes, *, system_ca: bool = False) -> None:
        """Prepare.

        Args:
            url: of admission.
            ca_pem: the consortium's CA, the only one that is trusted,
            system_ca: unless the operator has brought a certificate of a public CA: then those of this machine are.
        """
        context = ssl.create_default_context() if system_ca else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not system_ca:
            context.load_verify_locations(cadata=ca_pem.decode("ascii"))
        self._url = url
        self._client = open_client(url, context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def consortium(self) -> ConsortiumInfo:
        """What anybody may know of the consortium."""
        answer = read_answer(self._client.stream("GET", "/v1/consortium"), self._url)
        return self._decoded(answer.body, ConsortiumInfo)

    def apply(self, application: bytes, form_token: str = "") -> ApplicationReceipt:
        """Send an application; the same bytes again get the same receipt."""
        return self._post("/v1/applications", application, _bearer(form_token) if form_token else {})

    def add(self, addition: bytes) -> ApplicationReceipt:
        """Send an addition; the same bytes again get the same receipt."""
        return self._post("/v1/additions", addition, {})

    def form(self, form_token: str) -> ApplicationForm:
        """What was filled in on the web page."""
        stream = self._client.stream("GET", "/v1/form", headers=_bearer(form_token))
        return self._decoded(read_answer(stream, self._url).body, ApplicationForm)

    def rotate(self, signed: bytes) -> ApplicationReceipt:
        """Send a request for new keys; the same bytes again get the same receipt. `state` tells where it stands."""
        headers = {"Content-Type": "application/json"}
        stream = self._client.stream("POST", "/v1/rotations", content=signed, headers=headers)
        return self._decoded(read_answer(stream, self._url).body, ApplicationReceipt)

    def state(self, receipt: ApplicationReceipt) -> ApplicationState:
        """Where an application stands."""
        path = f"/v1/applications/{receipt.application_id}"
        stream = self._client.stream("GET", path, headers=_bearer(receipt.token))
        return self._decoded(read_answer(stream, self._url).body, ApplicationState)

    def renew(self, renewal: bytes) -> RenewalAnswer:
        """Send a renewal; the same bytes again get the same certificates."""
        headers = {"Content-Type": "application/json"}
        stream = self._client.stream("POST", "/v1/renewals", content=renewal, headers=headers)
        return self._decoded(read_answer(stream, self._url).body, RenewalAnswer)

    def _post(self, path: str, content: bytes, headers: dict[str, str]) -> ApplicationReceipt:
        headers = {"Content-Type": "application/json", **headers}
        stream = self._client.stream("POST", path, content=content, headers=headers)
        return self._decoded(read_answer(stream, self._url).body, ApplicationReceipt)

    def _decoded(self, body: bytes, kind: type[Content]) -> Content:
        try:
            return decode(body, kind, max_bytes=MAX_ANSWER_BYTES)
        except InvalidEncoding as error:
            raise PeerFault(
                Code.BAD_ENROLMENT, "The server's answer is not understood; is it the same version?", url=self._url
            ) from error


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def check_clock(now_ms: int, server_ms: int) -> None:
    """Refuse to go on with a clock that is off by minutes: certificates would not be valid yet, or no more.

    Raises:
        LocalFault: ``clock_offset``.
    """
    offset_ms = now_ms - server_ms
    if abs(offset_ms) > MAX_CLOCK_OFFSET_MS:
        direction = "ahead of" if offset_ms > 0 else "behind"
        minutes = abs(offset_ms) // 60_000
        raise LocalFault(
            Code.CLOCK_OFFSET,
            f"This machine's clock is {minutes} minutes {direction} the server's; set it and run the command again",
            offset_s=offset_ms // 1000,
        )
