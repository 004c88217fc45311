"""Certificate revocation lists, and how the broker gets them.

Mosquitto refuses *everybody* when a list is from the future or past its next update, so a list becomes valid five
minutes before now, lasts a week and is issued again every hour. The broker's wrapper waits for a new digest file,
which is therefore written after the list.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_admission.ca import BACKDATE, CertificateAuthority, moment
from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic

NEXT_UPDATE = dt.timedelta(days=7)
REISSUE_MS = 3_600_000
"""A list is issued again after an hour, also when nothing changed."""

LIST_NAME = "ca.crl"
CA_NAME = "ca.crt"
EXPORT_MODE = 0o755


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """An entry of a revocation list."""

    serial: str
    """In hex."""
    revoked_ms: int


def next_number(previous: bytes | None, now_ms: int) -> int:
    """Number of the next list: the time in ms, but always above the previous list's (RFC 5280 section 5.2.3).

    Raises:
        LocalFault: ``bad_key_file`` if the previous list can not be read.
    """
    if previous is None:
        return now_ms
    try:
        number = x509.load_pem_x509_crl(previous).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (ValueError, x509.ExtensionNotFound) as error:
        raise LocalFault(Code.BAD_KEY_FILE, "The stored revocation list is damaged", reason=str(error)) from error
    return max(now_ms, number + 1)


def build_list(
    authority: CertificateAuthority, revoked: Sequence[RevokedCertificate], number: int, now_ms: int
) -> bytes:
    """Sign a revocation list, as PEM."""
    now = moment(now_ms)
    issuer_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - BACKDATE)
        .next_update(now + NEXT_UPDATE)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(int(entry.serial, 16))
            .revocation_date(moment(entry.revoked_ms))
            .build()
        )
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def export_list(directory: Path, pem: bytes) -> None:
    """Put a list where the broker's wrapper looks, then its digest.

    Raises:
        LocalFault: ``bad_key_file`` if the directory can not be written.
    """
    publish(directory, LIST_NAME, pem)


def publish(directory: Path, name: str, content: bytes) -> None:
    """Put a file where the broker's wrapper looks, then its digest, by which the wrapper knows that it is complete.

    Raises:
        LocalFault: ``bad_key_file`` if the directory can not be written.
    """
    write_atomic(directory / name, content, mode=PUBLIC_MODE)
    digest = hashlib.sha256(content).hexdigest()
    write_atomic(directory / f"{name}.sha256", f"{digest}  {name}\n".encode(), mode=PUBLIC_MODE)


def export_ca(directory: Path, pem: bytes) -> None:
    """Put the certificates of the CAs in use where the broker's wrapper looks, unless they are there already.

    Raises:
        LocalFault: ``bad_key_file`` if the directory can not be made or written.
    """
    make_export_directory(directory)
    target, digest = directory / CA_NAME, directory / f"{CA_NAME}.sha256"
    if not target.is_file() or not digest.is_file() or target.read_bytes() != pem:
        publish(directory, CA_NAME, pem)


def make_export_directory(directory: Path) -> None:
    """Make the directory for the broker, which runs as another user, if it is missing.

    Raises:
        LocalFault: ``bad_key_file``.
    """
    try:
        if not directory.is_dir():
            directory.mkdir(parents=True)
            directory.chmod(EXPORT_MODE)
    except OSError as error:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "The directory for the broker can not be made",
            directory=str(directory),
            reason=str(error),
        ) from error
