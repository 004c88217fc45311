"""Why the broker does not let us in: the exact TLS alert, and in plain language what is behind it.

In TLS 1.3 the broker judges the client's certificate after the client has finished its handshake. An MQTT client has
then already written CONNECT and mostly sees only a closed connection. The probe here connects, writes nothing, and
reads: so the alert is always seen (facts measured on Mosquitto 2.0 and 2.1 with OpenSSL 3).
"""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509

from minervas_core.errors import Code, LocalFault

QUIET_S = 1.0
"""A broker that says nothing for so long after the handshake has accepted the certificate; refusals take 15 ms."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a broker thinks of a certificate."""

    verdict: Literal["accepted", "refused", "unreachable"]
    alert: str
    """OpenSSL's name of the alert or error, e.g. ``SSLV3_ALERT_CERTIFICATE_REVOKED``; empty if there was none."""
    cause: str
    """For people: what it means and what to do."""


_ALERTS = (
    ("CERTIFICATE_REVOKED", "our certificate is revoked: the operator has ended this membership or renewed the key"),
    ("CERTIFICATE_EXPIRED", "our certificate has expired: renew it"),
    ("CERTIFICATE_REQUIRED", "the broker saw no client certificate"),
    ("UNKNOWN_CA", "our certificate was not issued by the certificate authority of this consortium"),
    ("UNSUPPORTED_CERTIFICATE", "our certificate is not meant for clients (extended key usage is not clientAuth)"),
    ("BAD_CERTIFICATE", "the broker finds our certificate not valid yet, or damaged: are both clocks right?"),
    ("CERTIFICATE_UNKNOWN", "the broker cannot judge our certificate: has it the revocation list of our authority?"),
    ("PROTOCOL_VERSION", "the two sides have no TLS version in common; TLS 1.3 is required"),
    ("HANDSHAKE_FAILURE", "the two sides have no cipher in common"),
    ("WRONG_VERSION_NUMBER", "what listens there does not speak TLS"),
)

_EXPIRED_BY_OTHER_CLOCK = (
    "the broker finds our certificate or its own revocation list expired, but by our clock the certificate is valid: "
    "are both clocks right, and is admission running?"
)


def client_context(ca_file: Path, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """TLS settings of every client: 1.3 only, the broker checked by CA and name, our certificate if given.

    Raises:
        LocalFault: ``bad_key_file`` naming the file that is missing or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for file in (ca_file, cert_file, key_file):
        if file is not None and not file.is_file():
            raise LocalFault(Code.BAD_KEY_FILE, "A TLS file is missing", file=str(file))
    try:
        context.load_verify_locations(ca_file)
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as error:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "The TLS files cannot be used: unreadable, damaged, or key and certificate do not belong together",
            ca_file=str(ca_file),
            cert_file=str(cert_file),
            key_file=str(key_file),
            reason=getattr(error, "reason", None) or str(error),
        ) from error
    return context


def diagnose(
    host: str,
    port: int,
    ca_file: Path,
    cert_file: Path | None,
    key_file: Path | None,
    *,
    timeout_s: float = 5.0,
    quiet_s: float = QUIET_S,
) -> Diagnosis:
    """Connect without speaking MQTT and report what the broker thinks of our certificate. Blocks.

    Args:
        host: of the broker.
        port: of the broker.
        ca_file: whom we trust.
        cert_file: our certificate, or None to try without.
        key_file: its key.
        timeout_s: for TCP and TLS each.
        quiet_s: how long to wait for an alert; no alert means that we are accepted.

    Raises:
        LocalFault: ``bad_key_file`` if our own files are unusable.
    """
    context = client_context(ca_file, cert_file, key_file)
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            return _listen(secured, quiet_s)
    except ssl.SSLError as error:
        return explain_tls_error(error, cert_file)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        return Diagnosis("unreachable", "", f"no connection to {host}:{port} ({reason})")


def _listen(secured: ssl.SSLSocket, quiet_s: float) -> Diagnosis:
    """Wait for an alert after the handshake."""
    secured.settimeout(quiet_s)
    try:
        data = secured.recv(1)
    except TimeoutError:
        return Diagnosis("accepted", "", "the broker accepts our certificate")
    if data:
        return Diagnosis("unreachable", "", "what listens there is not an MQTT broker: it speaks first")
    return Diagnosis("unreachable", "", "the broker closed the connection without a reason")


def explain_tls_error(error: ssl.SSLError, cert_file: Path | None) -> Diagnosis:
    """Translate an error of the TLS layer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Diagnosis(
            "refused",
            error.reason or "CERTIFICATE_VERIFY_FAILED",
            f"we do not trust the broker's certificate ({error.verify_message}): is this the right broker and CA file?",
        )
    alert = error.reason or ""
    if "CERTIFICATE_EXPIRED" in alert and cert_file is not None and not _is_outside_validity(cert_file):
        return Diagnosis("refused", alert, _EXPIRED_BY_OTHER_CLOCK)
    for name, cause in _ALERTS:
        if name in alert:
            return Diagnosis("refused", alert, cause)
    if "ALERT" in alert:
        return Diagnosis("refused", alert, "the broker refuses the TLS connection")
    return Diagnosis("unreachable", alert, f"the TLS connection broke off ({alert or error})")


def _is_outside_validity(cert_file: Path) -> bool:
    """Whether our certificate is expired or not yet valid by our own clock."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except (OSError, ValueError):
        return False
    now = dt.datetime.now(dt.UTC)
    return not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
