"""Files through which the services of a node and their peer renew certificates.

::

    enrol/renewals/<service>.json   a service asks: the request for its next key
    issued/renewal.json             the peer tells how renewing stands

The peer, which holds the wallet, asks for all of them. So it must know that a request comes from the service that it
names: the service signs it with the key of the certificate that it has, which may have expired.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minervas_core.encoding import Hash, Record, TimeMs, decode, encode
from minervas_core.enrolment import Pem
from minervas_core.errors import Code, LocalFault, MinervasError, PeerFault
from minervas_core.identifiers import Principal
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic
from minervas_runtime.settings import NodePaths
from minervas_runtime.tls_identity import common_names

log = logging.getLogger(__name__)

REQUESTS = "renewals"
REPORT_FILE = "renewal.json"
MAX_FILE_BYTES = 32_768

_DOMAIN = b"minervas/v1/renewal_request\0"

Proof = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16,160}\Z")]


class RenewalRequest(Record, frozen=True, kw_only=True):
    """A service asks its peer for the next certificate."""

    certificate: Pem
    """The one that it has."""
    csr: Pem
    """For the next key."""
    proof: Proof
    """ECDSA signature (SHA-256, DER) over the request by the key of `certificate`."""


class RenewalReport(Record, frozen=True, kw_only=True):
    """How renewing stands, for the node's services and for people."""

    at_ms: TimeMs = 0
    """When admission was last asked; 0 if it never was."""
    code: str = ""
    """Why it came to nothing; empty if it went well."""
    message: str = ""
    """The same for people, with what to do."""
    next_ms: TimeMs = 0
    """When admission will be asked again; 0 if there is nothing to ask."""
    replace: tuple[Hash, ...] = ()
    """SHA-256 of certificates (DER) that are renewed at once: somebody asked for it."""


def request_file(paths: NodePaths, service: str) -> Path:
    """Where a service's request is."""
    return paths.enrol / REQUESTS / f"{service}.json"


def write_request(
    paths: NodePaths, who: Principal, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey,
    next_key: ec.EllipticCurvePrivateKey,
) -> None:  # fmt: skip
    """Ask for a certificate for the next key.

    Args:
        paths: the node's directories.
        who: the service.
        certificate: that it has.
        key: of that certificate.
        next_key: the new one.

    Raises:
        LocalFault: ``bad_key_file`` if the file can not be written.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(who))])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(next_key, hashes.SHA256())
    pem = csr.public_bytes(serialization.Encoding.PEM)
    request = RenewalRequest(
        certificate=certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        csr=pem.decode("ascii"),
        proof=key.sign(_DOMAIN + pem, ec.ECDSA(hashes.SHA256())).hex(),
    )
    write_atomic(request_file(paths, who.service), encode(request), mode=PUBLIC_MODE)


def read_requests(enrol: Path) -> dict[str, RenewalRequest]:
    """All requests by service, as they are; a file that can not be read is named in the log and left out."""
    found: dict[str, RenewalRequest] = {}
    directory = enrol / REQUESTS
    for file in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        if file.name.startswith("."):  # being written
            continue
        try:
            found[file.stem] = decode(file.read_bytes(), RenewalRequest, max_bytes=MAX_FILE_BYTES)
        except (OSError, MinervasError) as error:
            log.warning("renewal_request_unusable", extra={"fields": {"file": str(file), "reason": str(error)}})
    return found


def check_request(request: RenewalRequest, who: Principal, installed: x509.Certificate, ca_pem: bytes) -> None:
    """Check that a request comes from the service that it is for.

    Args:
        request: what lies in its file.
        who: whose file it is.
        installed: the certificate that the service was issued last.
        ca_pem: the consortium's CA certificates.

    Raises:
        PeerFault: ``bad_enrolment`` or ``bad_signature``.
    """
    try:
        certificate = x509.load_pem_x509_certificate(request.certificate.encode())
    except ValueError as error:
        raise PeerFault(Code.BAD_ENROLMENT, "The certificate in a request is damaged", service=who.service) from error
    ours = certificate == installed or any(
        _issued_by(certificate, authority) for authority in x509.load_pem_x509_certificates(ca_pem)
    )
    if not ours or common_names(certificate) != [str(who)]:
        raise PeerFault(Code.BAD_ENROLMENT, "The certificate in a request is not this service's", service=who.service)
    key = certificate.public_key()
    try:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidSignature  # one way for everything that does not hold
        key.verify(bytes.fromhex(request.proof), _DOMAIN + request.csr.encode(), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise PeerFault(
            Code.BAD_SIGNATURE, "A request is not signed by the service that it is for", service=who.service
        ) from error


def read_report(issued: Path) -> RenewalReport:
    """How renewing stands; nothing in particular if nobody has told yet."""
    try:
        return decode((issued / REPORT_FILE).read_bytes(), RenewalReport, max_bytes=MAX_FILE_BYTES)
    except (OSError, MinervasError):
        return RenewalReport()


def write_report(issued: Path, report: RenewalReport) -> None:
    """Tell how renewing stands.

    Raises:
        LocalFault: ``bad_key_file`` if the file can not be written.
    """
    write_atomic(issued / REPORT_FILE, encode(report), mode=PUBLIC_MODE)


def remove_request(paths: NodePaths, service: str) -> None:
    """Take a request back.

    Raises:
        LocalFault: ``bad_key_file``.
    """
    file = request_file(paths, service)
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise LocalFault(
            Code.BAD_KEY_FILE, "The file can not be removed", file=str(file), reason=error.strerror or str(error)
        ) from error


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
