"""A member that asks admission for new certificates."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_core.encoding import decode, encode
from minervas_core.genesis import load_genesis
from minervas_core.keys import SigningKey
from minervas_core.renewal import Renewal, RenewalAnswer, RenewalBody, ServiceRequest, sign_renewal
from minervas_runtime.clock import SystemClock
from tests.support.admission import AdmissionHome, Applicant

DAY_MS = 86_400_000


def new_key() -> ec.EllipticCurvePrivateKey:
    """A TLS key as services make them."""
    return ec.generate_private_key(ec.SECP256R1())


def csr(key: Any, name: str = "whatever") -> str:
    """A certificate request for a key."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    digest = (
        None if not isinstance(key, ec.EllipticCurvePrivateKey) and not hasattr(key, "key_size") else hashes.SHA256()
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return request.public_bytes(Encoding.PEM).decode()


def renewal_of(
    home: AdmissionHome,
    applicant: Applicant,
    keys: dict[str, Any],
    *,
    wallet: SigningKey | None = None,
    now_ms: int | None = None,
    **changes: Any,
) -> Renewal:
    """A renewal with these new TLS keys by service; single fields can be changed."""
    network = load_genesis(home.data.genesis.read_bytes()).network
    values: dict[str, Any] = {
        "network": network,
        "member": applicant.member,
        "requests": [ServiceRequest(service=name, csr=csr(keys[name])) for name in sorted(keys)],
        "salt": secrets.token_hex(16),
        "sent_at_ms": SystemClock().now_ms() if now_ms is None else now_ms,
        **changes,
    }
    return sign_renewal(RenewalBody(**values), wallet or applicant.signing["peer"])


async def send(home: AdmissionHome, renewal: Renewal) -> httpx.Response:
    """Send a renewal."""
    async with home.http() as client:
        return await client.post("/v1/renewals", content=encode(renewal))


async def renewed(home: AdmissionHome, renewal: Renewal) -> RenewalAnswer:
    """Send a renewal that has to be carried out."""
    answer = await send(home, renewal)
    assert answer.status_code == 200, answer.text
    return decode(answer.content, RenewalAnswer, max_bytes=524_288)


async def refused(home: AdmissionHome, renewal: Renewal) -> tuple[int, str]:
    """Send a renewal that has to be refused; status and code."""
    answer = await send(home, renewal)
    assert answer.status_code != 200, answer.text
    return answer.status_code, answer.json()["code"]


def certificates_of(answer: RenewalAnswer) -> dict[str, x509.Certificate]:
    """The certificates of an answer by service."""
    return {each.service: x509.load_pem_x509_certificate(each.certificate.encode()) for each in answer.certificates}
