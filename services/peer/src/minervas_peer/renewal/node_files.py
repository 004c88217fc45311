"""The node's files as the renewal sees them: what was issued, what is asked for, and where admission is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography import x509

from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import Code, LocalFault, MinervasError
from minervas_core.identifiers import Principal
from minervas_runtime.renewal_files import RenewalRequest, check_request, read_requests
from minervas_runtime.settings import NodePaths
from minervas_runtime.tls_identity import certificate_hash, public_der

log = logging.getLogger(__name__)

ADMISSION_FILE = "admission.json"


class AdmissionAddress(Record, frozen=True, kw_only=True):
    """Where the consortium's admission is."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https://[^\s]+\Z", max_length=500)]


@dataclass(frozen=True, slots=True)
class InstalledCertificate:
    """A certificate of one of the node's services."""

    service: str
    certificate: x509.Certificate

    @property
    def hash(self) -> str:
        """SHA-256 of it in hex."""
        return certificate_hash(self.certificate)

    @property
    def expires_ms(self) -> int:
        """When it ends."""
        return int(self.certificate.not_valid_after_utc.timestamp()) * 1000


def address_file(url: str) -> bytes:
    """Content of the file that says where admission is."""
    return encode(AdmissionAddress(url=url))


def read_address(issued: Path) -> str:
    """Where admission is.

    Raises:
        LocalFault: ``bad_enrolment`` if nobody has told.
    """
    file = issued / ADMISSION_FILE
    try:
        return decode(file.read_bytes(), AdmissionAddress, max_bytes=1_024).url
    except (OSError, MinervasError) as error:
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "It is not known where admission is; name it in the peer's settings, [admission] url",
            file=str(file),
        ) from error


def find_address(issued: Path) -> str:
    """Where admission is; empty if nobody has told."""
    try:
        return read_address(issued)
    except LocalFault:
        return ""


def installed_certificates(issued: Path) -> dict[str, InstalledCertificate]:
    """The certificates of all services of the node, by service; one that can not be read is left out."""
    found: dict[str, InstalledCertificate] = {}
    for file in sorted((issued / "certs").glob("*.crt")):
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("certificate_unusable", extra={"fields": {"file": str(file), "reason": str(error)}})
            continue
        found[file.stem] = InstalledCertificate(file.stem, certificate)
    return found


def open_requests(paths: NodePaths, member: str) -> dict[str, RenewalRequest]:
    """What the services ask for and do not have yet, by service; what may not be asked for is named in the log.

    Raises:
        LocalFault: ``bad_enrolment`` if the CA's certificate is missing.
    """
    requests = read_requests(paths.enrol)
    if not requests:
        return {}
    installed, ca_pem = installed_certificates(paths.issued), read_authorities(paths.issued)
    found: dict[str, RenewalRequest] = {}
    for service, request in requests.items():
        try:
            if service not in installed:
                raise LocalFault(Code.BAD_ENROLMENT, "The node has no such service", service=service)
            check_request(request, Principal(member, service), installed[service].certificate, ca_pem)
            wanted = x509.load_pem_x509_csr(request.csr.encode()).public_key()
        except (MinervasError, ValueError) as error:
            log.warning("renewal_request_refused", extra={"fields": {"service": service, "reason": str(error)}})
            continue
        if public_der(wanted) != public_der(installed[service].certificate.public_key()):
            found[service] = request
    return found


def read_authorities(issued: Path) -> bytes:
    """The CA certificates that the node trusts, in PEM.

    Raises:
        LocalFault: ``bad_enrolment``.
    """
    file = issued / "ca.crt"
    try:
        return file.read_bytes()
    except OSError as error:
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "A file that the consortium issued is missing or damaged; run `minervas join` again",
            file=str(file),
            reason=str(error),
        ) from error
