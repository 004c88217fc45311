"""A throw-away certificate authority for tests, with the certificate profile of the consortium.

It can also make every kind of wrong certificate that the broker has to refuse.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT_AUTH = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER_AUTH = (ExtendedKeyUsageOID.SERVER_AUTH,)
CODE_SIGNING = (ExtendedKeyUsageOID.CODE_SIGNING,)

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CertFiles:
    """The three TLS files of one client, and the certificate itself."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    certificate: x509.Certificate


class Authority:
    """A certificate authority that lives in memory and writes what it issues below a directory."""

    def __init__(self, directory: Path, name: str = "Test consortium CA") -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._revoked: list[int] = []
        self._crl_number = 0
        self._issued = 0
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - HOUR)
            .not_valid_after(now + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file = directory / "ca.crt"
        self.ca_file.write_bytes(self.ca_pem)

    @property
    def ca_pem(self) -> bytes:
        """The authority's own certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        *common_names: str,
        usages: tuple[x509.ObjectIdentifier, ...] | None = CLIENT_AUTH,
        valid_from: dt.timedelta = -HOUR,
        valid_to: dt.timedelta = DAY,
        trusting: Path | None = None,
    ) -> CertFiles:
        """Issue a client certificate with a new key; every field can be made wrong.

        Args:
            common_names: usually one, the principal.
            usages: extended key usage; None leaves the extension out.
            valid_from: relative to now.
            valid_to: relative to now.
            trusting: CA file that the client will trust; ours if not given.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
        builder = self._builder(x509.Name(names), key.public_key(), valid_from, valid_to)
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._issued += 1
        folder = self.directory / f"{self._issued}-{common_names[0] if common_names else 'nobody'}".replace("/", "_")
        folder.mkdir()
        files = CertFiles(trusting or self.ca_file, folder / "tls.crt", folder / "tls.key", certificate)
        files.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(files.key_file, key)
        return files

    def sign_server(
        self,
        csr_pem: bytes,
        *,
        host: str = "localhost",
        address: str = "127.0.0.1",
        valid_from: dt.timedelta = -HOUR,
        valid_to: dt.timedelta = DAY,
    ) -> bytes:
        """Sign a server's request: serverAuth only, with the names that clients check; times are relative to now."""
        request = x509.load_pem_x509_csr(csr_pem)
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address(address))]
        public_key = request.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        certificate = (
            self._builder(request.subject, public_key, valid_from, valid_to)
            .add_extension(x509.ExtendedKeyUsage(SERVER_AUTH), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def revoke(self, certificate: x509.Certificate) -> None:
        """Put a certificate on the next revocation list."""
        self._revoked.append(certificate.serial_number)

    def crl_pem(self, *, last_update: dt.timedelta = -HOUR, next_update: dt.timedelta = DAY) -> bytes:
        """Make a revocation list; times are relative to now."""
        now = dt.datetime.now(dt.UTC)
        self._crl_number += 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now + last_update)
            .next_update(now + next_update)
            .add_extension(x509.CRLNumber(self._crl_number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - HOUR).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        valid_from: dt.timedelta,
        valid_to: dt.timedelta,
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + valid_from)
            .not_valid_after(now + valid_to)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def publish_crl(export_dir: Path, pem: bytes, *, digest: str | None = None) -> None:
    """Write a revocation list as admission does."""
    publish(export_dir, "ca.crl", pem, digest=digest)


def publish(export_dir: Path, name: str, pem: bytes, *, digest: str | None = None) -> None:
    """Write a file for the broker as admission does: the file first, then its digest, each by rename."""
    export_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    export_dir.chmod(0o755)
    line = f"{digest or hashlib.sha256(pem).hexdigest()}  {name}\n"
    for file, data in ((name, pem), (f"{name}.sha256", line.encode())):
        new = export_dir / f".{file}.new"
        new.write_bytes(data)
        new.chmod(0o644)
        new.replace(export_dir / file)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
