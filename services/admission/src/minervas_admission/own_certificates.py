"""Admission's own certificates: as a client of the broker and as the HTTPS server. It signs them itself, in time."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from minervas_admission.ca import CLIENT_DAYS, RENEW_DAYS, CertificateAuthority, IssuedCertificate, moment
from minervas_admission.data_directory import DataDirectory
from minervas_admission.issued_journal import remember
from minervas_admission.key_identity import tls_key_id
from minervas_core.rights import ADMISSION
from minervas_runtime.key_files import PUBLIC_MODE, load_or_create_tls_key, write_atomic


def ensure_own_certificates(
    data: DataDirectory, authority: CertificateAuthority, server_names: list[str], now_ms: int
) -> list[str]:
    """Sign what is missing, about to expire, or of another key, CA or set of names.

    Returns:
        Which were signed: ``client``, ``server``.

    Raises:
        LocalFault: ``bad_key_file`` if a key is unusable or a file can not be written.
    """
    name = str(ADMISSION)
    own = (
        _Own("client", data.bus_key, data.bus_certificate, (), lambda key: authority.issue_client(name, key, now_ms)),
        _Own(
            "server",
            data.https_key,
            data.https_certificate,
            tuple(server_names),
            lambda key: authority.issue_server(name, key, server_names, now_ms, days=CLIENT_DAYS),
        ),
    )
    return [item.purpose for item in own if _ensure(item, data, authority, now_ms)]


@dataclass(frozen=True, slots=True)
class _Own:
    """One of our own certificates."""

    purpose: str
    key_file: Path
    certificate_file: Path
    names: tuple[str, ...]
    """DNS names and addresses of a server."""
    sign: Callable[[CertificatePublicKeyTypes], IssuedCertificate]


def _ensure(own: _Own, data: DataDirectory, authority: CertificateAuthority, now_ms: int) -> bool:
    key = load_or_create_tls_key(own.key_file).public_key()
    if stays_good(own.certificate_file, authority, tls_key_id(key), own.names, now_ms, days_left=RENEW_DAYS):
        return False
    certificate = own.sign(key)
    remember(data, certificate)
    write_atomic(own.certificate_file, certificate.pem.encode(), mode=PUBLIC_MODE)
    return True


def stays_good(
    file: Path,
    authority: CertificateAuthority,
    key_id: str,
    names: Sequence[str],
    now_ms: int,
    *,
    days_left: int,
) -> bool:
    """Whether a certificate can stay in use: by this CA, for this key, under these names, and not about to end.

    Args:
        file: where it is, if it is.
        authority: the CA that signs.
        key_id: of the holder's key.
        names: DNS names and addresses of a server; a client has none.
        now_ms: our clock.
        days_left: how many days must be left.
    """
    if not file.exists():
        return False
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    left = certificate.not_valid_after_utc - moment(now_ms)
    return (
        left > dt.timedelta(days=days_left)
        and tls_key_id(certificate.public_key()) == key_id
        and (not names or _names_of(certificate) == {_normal(name) for name in names})
    )


def _normal(name: str) -> str:
    """A server name in the spelling that certificates give back."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _names_of(certificate: x509.Certificate) -> set[str]:
    """DNS names and addresses of a server certificate."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    }
