"""The fingerprint of the consortium's CA, which the applicant has from the operator by another way."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, PeerFault

_PREFIX = "sha256:"


def parse_fingerprint(text: str) -> str:
    """Read ``sha256:`` and 64 hex digits, in either case and with or without colons; returns the usual form.

    Raises:
        ValueError: if it is not one.
    """
    digits = re.sub(r"[:\s]", "", text.lower().removeprefix(_PREFIX))
    if not text.lower().startswith(_PREFIX) or not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(f"not of the form {_PREFIX} and 64 hex digits: {text!r}")
    return _PREFIX + digits


def check_ca(pem: bytes, fingerprint: str) -> x509.Certificate:
    """Find the CA certificate that was announced; while the CA is being replaced there are two.

    Raises:
        PeerFault: ``ca_mismatch`` if it is not among them, ``bad_enrolment`` if there is no certificate at all.
    """
    found: list[str] = []
    for certificate in read_cas(pem):
        found.append(_PREFIX + sha256_hex(certificate.public_bytes(Encoding.DER)))
        if found[-1] == fingerprint:
            return certificate
    raise PeerFault(
        Code.CA_MISMATCH,
        "The server's CA has another fingerprint: a wrong URL or fingerprint, or somebody in between. Nothing was "
        "sent. Ask the operator by phone",
        expected=fingerprint,
        found=",".join(found),
    )


def read_cas(pem: bytes) -> list[x509.Certificate]:
    """Read one or several certificates.

    Raises:
        PeerFault: ``bad_enrolment`` if there is none.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise PeerFault(Code.BAD_ENROLMENT, "The server did not give a CA certificate; is the URL right?") from error


def as_pem(certificates: list[x509.Certificate]) -> bytes:
    """Certificates in one file, with nothing between them."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
