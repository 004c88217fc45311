"""Looks at a host that every program's doctor takes: clock, disk, certificates, broker, ports, secrets."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from minervas_core.errors import LocalFault
from minervas_runtime.kernel_clock import kernel_clock
from minervas_runtime.support.findings import Finding, failure, good, warning
from minervas_runtime.tls_diagnosis import diagnose

DISK_WARNING_BYTES = 5_000_000_000
DISK_FAILURE_BYTES = 500_000_000
"""As the ledger's own limits: below, it refuses blocks."""

CLOCK_WARNING_MS = 500
CLOCK_FAILURE_MS = 120_000
"""Beyond two minutes certificates and statements are refused here and there (spec/limits.md)."""

RENEW_LATE_DAYS = 8
"""Certificates are renewed ten days before their end; two days later somebody should look why not."""
CA_LATE_DAYS = 180
PORT_WAIT_S = 3.0


def check_clock() -> Finding:
    """Whether the kernel's clock is kept by NTP or another source."""
    clock = kernel_clock()
    if not clock.synchronised:
        return warning("clock", "the kernel says that nothing keeps this clock", "run an NTP service on the host")
    return offset_finding("clock", clock.offset_ms, "its source")


def offset_finding(check: str, offset_ms: int, whose: str) -> Finding:
    """What a difference of clocks means."""
    detail = f"{offset_ms:+,} ms from {whose}"
    if abs(offset_ms) >= CLOCK_FAILURE_MS:
        return failure(check, detail, "set the clock: certificates and statements are refused like this")
    if abs(offset_ms) >= CLOCK_WARNING_MS:
        return warning(check, detail, "run an NTP service on the host")
    return good(check, detail)


def check_disk(name: str, directory: Path) -> Finding:
    """Whether there is room where a directory is."""
    check = f"disk of {name}"
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return failure(check, f"{directory}: {error.strerror}", "correct the path, or mount the volume")
    detail = f"{free / 1e9:,.1f} GB free at {directory}"
    if free < DISK_FAILURE_BYTES:
        return failure(check, detail, "make room: readings and blocks are refused")
    if free < DISK_WARNING_BYTES:
        return warning(check, detail, "make room, or archive old readings (docs/operating.md)")
    return good(check, detail)


def check_certificate(
    name: str, file: Path, authorities: Path | None, now: dt.datetime, *, late_days: int = RENEW_LATE_DAYS
) -> Finding:
    """Whether a certificate is valid, and signed by one of the CAs in a file (by anybody if None)."""
    check = f"certificate {name}"
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        trusted = x509.load_pem_x509_certificates(authorities.read_bytes()) if authorities is not None else None
    except (OSError, ValueError) as error:
        return failure(check, f"cannot be read: {error}", "run `minervas join` again, or `minervas renew`")
    left = certificate.not_valid_after_utc - now
    detail = f"valid to {certificate.not_valid_after_utc:%Y-%m-%d %H:%MZ}"
    if trusted is not None and not any(_signed(certificate, each) for each in trusted):
        return failure(check, "signed by none of the CAs that are trusted here", "run `minervas renew --force`")
    if now < certificate.not_valid_before_utc:
        return failure(check, f"valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%MZ}", "set the clock")
    if left <= dt.timedelta():
        return failure(check, detail, "run `minervas renew`; expired certificates are renewed, too")
    if left < dt.timedelta(days=late_days):
        return warning(check, detail, "it should have been renewed by now: look at the log of who renews it")
    return good(check, detail)


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def check_broker(host: str, port: int, ca_file: Path, cert_file: Path, key_file: Path) -> Finding:
    """What the broker says to our certificate, with the exact alert of TLS."""
    try:
        found = diagnose(host, port, ca_file, cert_file, key_file)
    except LocalFault as error:
        return failure("broker", str(error), "restore the file, or run `minervas join` again")
    detail = f"{host}:{port} {found.verdict}" + (f", {found.alert}" if found.alert else "")
    if found.verdict == "accepted":
        return good("broker", detail)
    return failure("broker", detail, found.cause)


def check_listening(name: str, host: str, port: int) -> Finding:
    """Whether somebody listens there."""
    check = f"port of {name}"
    try:
        with socket.create_connection((host, port), timeout=PORT_WAIT_S):
            return good(check, f"{host}:{port} answers")
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        return failure(check, f"{host}:{port}: {reason}", f"is {name} running, and the port let through?")


def check_secrets(name: str, directory: Path) -> Finding:
    """Whether the keys in a directory are for their owner only."""
    check = f"keys of {name}"
    try:
        files = [path for path in sorted(directory.rglob("*")) if path.is_file() and _is_secret(path)]
        opened = [path for path in files if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    except OSError as error:
        return warning(check, f"cannot be looked at: {error.strerror}", "run the doctor as the owner of the files")
    if opened:
        return failure(check, f"{opened[0]} is open to others", f"run chmod 600 on {len(opened)} files")
    if not files:
        return warning(check, f"none in {directory}", "start the service once, or correct the path")
    return good(check, f"{len(files)} files, for their owner only")


def _is_secret(path: Path) -> bool:
    return path.suffix in (".key", ".token", ".password", ".passphrase") or path.name == "tls.pem"
