"""Certificate and key of the HTTPS server: ours, or those that the operator brings (``[http] certificate_file``)."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from minervas_admission.ca import moment
from minervas_admission.data_directory import DataDirectory
from minervas_admission.key_identity import tls_key_id
from minervas_admission.settings import AdmissionSettings
from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import read_secret


def server_files(settings: AdmissionSettings, now_ms: int) -> tuple[Path, Path]:
    """Files of certificate and key, checked if the operator brings them.

    Raises:
        LocalFault: ``bad_key_file`` saying what is wrong with them.
    """
    certificate, key = settings.http.certificate_file, settings.http.key_file
    if certificate is None or key is None:
        data = DataDirectory(settings.paths.data)
        return data.https_certificate, data.https_key
    check_brought(certificate, key, now_ms)
    return certificate, key


def check_brought(certificate_file: Path, key_file: Path, now_ms: int) -> None:
    """Check that a certificate can be used now, with this key.

    Raises:
        LocalFault: ``bad_key_file``.
    """
    try:
        certificate = x509.load_pem_x509_certificates(certificate_file.read_bytes())[0]
    except OSError as error:
        raise _fault("The HTTPS certificate can not be read", certificate_file, error.strerror or str(error)) from error
    except ValueError as error:
        raise _fault("The HTTPS certificate is not PEM", certificate_file, str(error)) from error
    try:
        key = load_pem_private_key(read_secret(key_file), None)
    except TypeError as error:
        raise _fault("The HTTPS key is encrypted; store it without a passphrase", key_file, str(error)) from error
    except ValueError as error:
        raise _fault("The HTTPS key is not a private key in PEM", key_file, str(error)) from error
    if tls_key_id(certificate.public_key()) != tls_key_id(key.public_key()):  # type: ignore[arg-type]  # any public key will do
        raise _fault("The HTTPS certificate is for another key", certificate_file, str(key_file))
    if not certificate.not_valid_before_utc <= moment(now_ms) < certificate.not_valid_after_utc:
        validity = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
        raise _fault("The HTTPS certificate is not valid now", certificate_file, validity)


def _fault(message: str, file: Path, reason: str) -> LocalFault:
    return LocalFault(Code.BAD_KEY_FILE, message, file=str(file), reason=" ".join(reason.split())[:200])
