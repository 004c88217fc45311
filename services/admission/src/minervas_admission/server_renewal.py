"""The broker's certificate: signed by hand once, for a key that never comes here, and renewed by itself from then on.

Its request is kept. The same key is certified anew before the end, and when another CA signs; the wrapper of the broker
takes the certificate from the directory that admission writes for it.
"""

from __future__ import annotations

from pathlib import Path

from minervas_admission.ca import SERVER_RENEW_DAYS, CertificateAuthority, IssuedCertificate
from minervas_admission.certificate_request import request_public_key
from minervas_admission.crl import make_export_directory, publish
from minervas_admission.data_directory import DataDirectory
from minervas_admission.issued_journal import remember
from minervas_admission.key_identity import tls_key_id
from minervas_admission.own_certificates import stays_good
from minervas_core.encoding import Count, Record, decode, encode
from minervas_core.errors import Code, InvalidEncoding, LocalFault
from minervas_runtime.key_files import write_atomic

BROKER = "consortium.broker"
"""The server whose certificate is renewed; others are signed by hand and warned of."""

CERTIFICATE_NAME = "server.crt"
MAX_REQUEST_BYTES = 65_536


class ServerRequest(Record, frozen=True, kw_only=True):
    """What a server asked for."""

    csr: str
    """In PEM."""
    names: list[str]
    """DNS names and addresses."""
    days: Count
    """How long each certificate is valid."""


def sign_broker(
    data: DataDirectory, authority: CertificateAuthority, export: Path, request: ServerRequest, now_ms: int
) -> IssuedCertificate:
    """Sign the broker's certificate, hand it over, and keep the request for the next time.

    Raises:
        LocalFault: ``bad_key_file`` if something can not be written; see `CertificateAuthority.issue_server`.
        PeerFault: if the request is malformed or its key too weak.
    """
    key = request_public_key(request.csr, service=BROKER)
    certificate = authority.issue_server(BROKER, key, request.names, now_ms, days=request.days)
    write_atomic(_request_file(data), encode(request))
    remember(data, certificate)
    make_export_directory(export)
    publish(export, CERTIFICATE_NAME, certificate.pem.encode())
    return certificate


def renew_broker(data: DataDirectory, authority: CertificateAuthority, export: Path, now_ms: int) -> bool:
    """Sign the broker's certificate anew if its end is near, or it is missing or by another CA; returns whether.

    Raises:
        LocalFault: ``bad_key_file`` if something is damaged or can not be written.
    """
    file = _request_file(data)
    if not file.exists():
        return False
    try:
        request = decode(file.read_bytes(), ServerRequest, max_bytes=MAX_REQUEST_BYTES)
    except InvalidEncoding as error:
        raise LocalFault(
            Code.BAD_KEY_FILE, "The broker's stored request is damaged; run sign-server again", file=str(file)
        ) from error
    key = tls_key_id(request_public_key(request.csr, service=BROKER))
    days_left = min(SERVER_RENEW_DAYS, request.days // 3)
    published = export / CERTIFICATE_NAME
    is_announced = published.with_name(f"{CERTIFICATE_NAME}.sha256").exists()
    if is_announced and stays_good(published, authority, key, request.names, now_ms, days_left=days_left):
        return False
    sign_broker(data, authority, export, request, now_ms)
    return True


def _request_file(data: DataDirectory) -> Path:
    return data.servers / f"{BROKER}.json"
