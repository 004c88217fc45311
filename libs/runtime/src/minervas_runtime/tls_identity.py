"""A service's TLS identity on disk: its key and the certificate for it, changed together or not at all.

In the service's private directory::

    tls.key         the key that the newest certificate is for
    tls.next.key    the key of a renewal under way
    tls.pem         certificate and key in one file: what the bus connection uses

``issued/certs/<service>.crt`` is written by others: by `minervas join`, later by the member's peer. Which of our keys
it is for says where we are, so a crash between any two steps is continued at the next look. The old key is gone once
the new one has taken its place.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import load_or_create_tls_key, read_secret, write_atomic

log = logging.getLogger(__name__)

TLS_KEY_FILE = "tls.key"
NEXT_KEY_FILE = "tls.next.key"
IDENTITY_FILE = "tls.pem"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A certificate and the file that holds it with its key."""

    certificate: x509.Certificate
    file: Path
    """Certificate and key, for OpenSSL's certificate chain file; nobody else can read it."""

    @property
    def hash(self) -> str:
        """SHA-256 of the certificate (DER) in hex."""
        return certificate_hash(self.certificate)

    @property
    def expires_ms(self) -> int:
        """When it ends."""
        return int(self.certificate.not_valid_after_utc.timestamp()) * 1000

    def is_current(self, now_ms: int) -> bool:
        """Whether the broker would take it at this time."""
        return now_ms < self.expires_ms


def adopt_identity(data: Path, certificate_file: Path, principal: str) -> TlsIdentity:
    """The identity to use: of the issued certificate, with whichever of our keys it is for.

    Args:
        data: the service's private directory.
        certificate_file: what the consortium issued last.
        principal: the name that has to be in it.

    Raises:
        LocalFault: ``bad_enrolment`` if the certificate is damaged, for another name or for none of our keys, and
            there is none from before; ``bad_key_file`` if one of our own files is unusable.
    """
    try:
        issued = _read_certificate(certificate_file, principal)
        return _adopt(data, issued, certificate_file, principal)
    except LocalFault as error:
        earlier = _earlier(data, principal) if error.code is Code.BAD_ENROLMENT else None
        if earlier is None:
            raise
        log.warning("issued_certificate_unusable", extra={"fields": {"reason": str(error), "kept": str(earlier.file)}})
        return earlier


def _adopt(data: Path, issued: x509.Certificate, certificate_file: Path, principal: str) -> TlsIdentity:
    key_file, next_file = data / TLS_KEY_FILE, data / NEXT_KEY_FILE
    key = load_or_create_tls_key(key_file)
    promoted = False
    if not is_for(issued, key):
        next_key = load_or_create_tls_key(next_file) if next_file.exists() else None
        if next_key is None or not is_for(issued, next_key):
            raise LocalFault(
                Code.BAD_ENROLMENT,
                "The issued certificate is for another name or key; run `minervas join` again",
                file=str(certificate_file),
                certified=principal,
                expected=principal,
            )
        key, promoted = next_key, True
    identity = TlsIdentity(issued, data / IDENTITY_FILE)
    content = issued.public_bytes(serialization.Encoding.PEM) + _pem(key)
    if not identity.file.exists() or identity.file.read_bytes() != content:
        write_atomic(identity.file, content)
    if promoted:
        next_file.replace(key_file)
    return identity


def _earlier(data: Path, principal: str) -> TlsIdentity | None:
    """The identity that we used last, if its file is good."""
    file = data / IDENTITY_FILE
    if not file.exists():
        return None
    try:
        pem = read_secret(file)
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE") :], password=None)
    except (ValueError, TypeError):
        return None
    matches = isinstance(key, ec.EllipticCurvePrivateKey) and is_for(certificate, key)
    return TlsIdentity(certificate, file) if matches and common_names(certificate) == [principal] else None


def _read_certificate(file: Path, principal: str) -> x509.Certificate:
    """Read an issued certificate.

    Raises:
        LocalFault: ``bad_enrolment``; one for another service or member would only fail at the broker, without a
            clear reason.
    """
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "A file that the consortium issued is missing or damaged; run `minervas join` again",
            file=str(file),
            reason=str(error),
        ) from error
    if common_names(certificate) != [principal]:
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "The issued certificate is for another name or key; run `minervas join` again",
            file=str(file),
            certified=",".join(common_names(certificate)),
            expected=principal,
        )
    return certificate


def common_names(certificate: x509.Certificate) -> list[str]:
    """The common names in a certificate's subject; ours have one."""
    return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def certificate_hash(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate (DER) in hex."""
    return sha256_hex(certificate.public_bytes(serialization.Encoding.DER))


def is_for(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether a certificate is for this key."""
    return public_der(certificate.public_key()) == public_der(key.public_key())


def public_der(key: CertificatePublicKeyTypes) -> bytes:
    """A public key as bytes that can be compared."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
