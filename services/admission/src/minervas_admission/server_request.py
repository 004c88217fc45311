"""The broker's side of its certificate: a key that stays where it is, and a request to have signed.

It is run in the broker's own container, with nothing of admission's at hand: the broker's image has no program for it.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_admission.commands.output import say
from minervas_runtime.key_files import PUBLIC_MODE, load_or_create_tls_key, write_atomic

SUBJECT = "consortium.broker"
"""Only for people: the authority builds the subject itself."""


def make_server_request(key_file: Path, request_file: Path) -> None:
    """Make a P-256 key and a certificate request, each unless it is there.

    Raises:
        LocalFault: ``bad_key_file`` if an existing key is unusable (it is never replaced) or a file cannot be written.
    """
    key = load_or_create_tls_key(key_file)
    if _requested(request_file) == key.public_key():
        say(f"{request_file}: the request is there already")
        return
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SUBJECT)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    write_atomic(request_file, request.public_bytes(Encoding.PEM), mode=PUBLIC_MODE)
    say(f"{request_file}: made a request for the key in {key_file}")


def _requested(request_file: Path) -> object:
    """The public key of an existing, undamaged request."""
    try:
        return x509.load_pem_x509_csr(request_file.read_bytes()).public_key()
    except (OSError, ValueError, InvalidSignature):
        return None
