"""The consortium's certificate authority: what its certificates say (facts measured with Mosquitto 2.0 and 2.1).

* One certificate per process, ``CN = <member>.<service>``; the subject is built here, a request gives only its key.
* Extended key usage on everything that is signed: OpenSSL lets a certificate without any pass as a client's.
  Client certificates serve clients only, server certificates servers only.
* Valid from five minutes before now, so that a slightly slow clock elsewhere does not refuse it.
* The CA may sign certificates and revocation lists, and no further CA (path length 0).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minervas_admission.key_identity import tls_key_id
from minervas_admission.settings import is_server_name
from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import RESERVED_MEMBER, parse_principal

BACKDATE = dt.timedelta(minutes=5)
"""How far before now everything becomes valid."""

CLIENT_DAYS = 30
"""Life of a process' certificate; it is renewed when `RENEW_DAYS` are left."""

RENEW_DAYS = 10

SERVER_DAYS = 398
"""Default life of a server certificate: browsers accept no more."""

SERVER_RENEW_DAYS = 30
"""The broker's certificate is renewed when so many days are left; another server's end is warned of."""

CA_DAYS = 3653
"""Ten years."""

CLIENT = "client"
SERVER = "server"


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate with what the database records of it."""

    serial: str
    """Serial number in lower-case hex."""
    principal: str
    """Common name."""
    purpose: str
    """``client`` or ``server``."""
    key_id: str
    not_before_ms: int
    not_after_ms: int
    pem: str


def create_ca_certificate(key: ec.EllipticCurvePrivateKey, name: str, now_ms: int) -> x509.Certificate:
    """Make the CA's own certificate.

    Args:
        key: its key.
        name: the consortium's name, which becomes the organisation.
        now_ms: our clock.
    """
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Minervas CA {tls_key_id(key.public_key())[:8]}"),
        ]
    )
    begin = moment(now_ms) - BACKDATE
    public = key.public_key()
    usage = _key_usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
    return (
        x509.CertificateBuilder(subject, subject, public, x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """What an applicant is told beforehand: ``sha256:`` and the digest of the DER form in hex."""
    return "sha256:" + sha256_hex(certificate.public_bytes(Encoding.DER))


def moment(time_ms: int) -> dt.datetime:
    """A time in ms as certificates have it: in UTC, whole seconds."""
    return dt.datetime.fromtimestamp(time_ms // 1000, dt.UTC)


def moment_ms(time: dt.datetime) -> int:
    """A certificate's time in ms."""
    return int(time.timestamp()) * 1000


class CertificateAuthority:
    """Signs certificates. There is one way to do it, and it always sets one extended key usage."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, network: str) -> None:
        """Take up the CA.

        Args:
            key: the CA's key.
            certificate: the CA's certificate.
            network: network id, part of the names in client certificates.

        Raises:
            LocalFault: ``bad_key_file`` if key and certificate do not belong together.
        """
        if tls_key_id(key.public_key()) != tls_key_id(certificate.public_key()):
            raise LocalFault(Code.BAD_KEY_FILE, "The CA's key and its certificate do not belong together")
        self.key = key
        self.certificate = certificate
        self.pem: str = certificate.public_bytes(Encoding.PEM).decode()
        self._network = network

    @property
    def id(self) -> str:
        """Its key identifier in hex, which each certificate that it signs names."""
        return ca_id(self.certificate)

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.certificate)

    def issue_client(self, principal: str, key: CertificatePublicKeyTypes, now_ms: int) -> IssuedCertificate:
        """Sign the certificate with which a process comes to the broker.

        The alternative name says the same in a form that HTTPS servers use.

        Raises:
            PeerFault: ``bad_member_id`` if the name is not one of a process that can exist.
        """
        who = parse_principal(principal)
        uri = f"urn:minervas:{self._network}:member:{who.member}:service:{who.service}"
        names = [x509.UniformResourceIdentifier(uri)]
        return self._sign(principal, key, names, purpose=CLIENT, days=CLIENT_DAYS, now_ms=now_ms)

    def issue_server(
        self,
        principal: str,
        key: CertificatePublicKeyTypes,
        names: Sequence[str],
        now_ms: int,
        *,
        days: int = SERVER_DAYS,
    ) -> IssuedCertificate:
        """Sign the certificate of a server of the consortium.

        Args:
            principal: who it is, of the reserved member.
            key: its public key.
            names: DNS names and IP addresses under which clients reach it.
            now_ms: our clock.
            days: how long it is valid.

        Raises:
            PeerFault: ``bad_member_id`` for a principal that can not exist.
            LocalFault: ``bad_settings`` for a member's name, or without usable server names.
        """
        if parse_principal(principal).member != RESERVED_MEMBER:
            raise LocalFault(Code.BAD_SETTINGS, "Only the consortium has server certificates", name=principal)
        if not names or not all(is_server_name(name) for name in names):
            raise LocalFault(Code.BAD_SETTINGS, "Neither a DNS name nor an IP address", names=",".join(names))
        return self._sign(
            principal, key, [_server_name(name) for name in names], purpose=SERVER, days=days, now_ms=now_ms
        )

    def _sign(
        self,
        principal: str,
        key: CertificatePublicKeyTypes,
        names: Sequence[x509.GeneralName],
        *,
        purpose: str,
        days: int,
        now_ms: int,
    ) -> IssuedCertificate:
        usage = {CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH, SERVER: ExtendedKeyUsageOID.SERVER_AUTH}[purpose]
        begin = moment(now_ms) - BACKDATE
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, principal)])
        issuer_key = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            x509.CertificateBuilder(self.certificate.subject, subject, key, x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(moment(now_ms) + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return describe_certificate(certificate, purpose)


def describe_certificate(certificate: x509.Certificate, purpose: str) -> IssuedCertificate:
    """What is recorded of a certificate of ours."""
    common_name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return IssuedCertificate(
        serial=f"{certificate.serial_number:x}",
        principal=str(common_name),
        purpose=purpose,
        key_id=tls_key_id(certificate.public_key()),
        not_before_ms=moment_ms(certificate.not_valid_before_utc),
        not_after_ms=moment_ms(certificate.not_valid_after_utc),
        pem=certificate.public_bytes(Encoding.PEM).decode(),
    )


def ca_id(certificate: x509.Certificate) -> str:
    """Key identifier of a CA in hex, which each certificate that it signs names."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def issuer_id(certificate: x509.Certificate) -> str:
    """Which CA signed a certificate of ours: its key identifier in hex."""
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return (issuer.key_identifier or b"").hex()


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
