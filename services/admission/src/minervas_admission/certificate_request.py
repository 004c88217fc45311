"""Certificate signing requests: only the public key counts, after its proof of possession and strength are checked."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from minervas_core.errors import Code, InvalidEnrolment

MIN_RSA_BITS = 3072
"""About the strength of P-256 (NIST SP 800-57 part 1, table 2)."""


def request_public_key(pem: str, *, service: str) -> CertificatePublicKeyTypes:
    """The public key of a request, P-256, Ed25519 or RSA of 3072 bits and more.

    Subject and extensions of the request are ignored: admission names the holder.

    Args:
        pem: the request.
        service: whose it is, for the error.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if it is not a request, ``bad_signature`` if it is not signed by its own
            key, ``bad_key`` if the key is of another kind or too weak.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise InvalidEnrolment(
            Code.BAD_ENROLMENT, "The certificate request can not be read", service=service, reason=_first_line(error)
        ) from error
    if not signed:
        raise InvalidEnrolment(
            Code.BAD_SIGNATURE, "The certificate request is not signed by the key in it", service=service
        )
    if not _is_strong(key):
        raise InvalidEnrolment(
            Code.BAD_KEY,
            f"A certificate takes a P-256, Ed25519 or RSA key of at least {MIN_RSA_BITS} bits",
            service=service,
            key_type=describe_key(key),
        )
    return key


def _is_strong(key: CertificatePublicKeyTypes) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1)
    return isinstance(key, ed25519.Ed25519PublicKey)


def describe_key(key: CertificatePublicKeyTypes) -> str:
    """Kind and size of a key, for people."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.strip("_").removesuffix("PublicKey")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
