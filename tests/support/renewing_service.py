"""A service of a node whose certificate is renewed, with a throw-away CA in the peer's and admission's place."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minervas_core.enrolment import BrokerAddress
from minervas_core.identifiers import Principal
from minervas_runtime.certificate_keeper import CertificateKeeper
from minervas_runtime.clock import Clock, SystemClock
from minervas_runtime.enrolment import Issued, certificate_file
from minervas_runtime.key_files import load_or_create_tls_key, write_atomic
from minervas_runtime.renewal_files import read_requests
from minervas_runtime.settings import NodePaths
from tests.support.peer import Consortium
from tests.support.pki import CLIENT_AUTH, Authority

CONSORTIUM = Consortium()


def client_certificate(
    authority: Authority, name: str, key: ec.EllipticCurvePublicKey, *, begin: dt.timedelta, end: dt.timedelta
) -> bytes:
    """A client certificate (PEM), valid from `begin` to `end` from now."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = authority._builder(subject, key, begin, end)
    builder = builder.add_extension(x509.ExtendedKeyUsage(CLIENT_AUTH), critical=False)
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class RenewingService:
    """One service in a node's directory."""

    node: Path
    authority: Authority
    who: Principal
    service_status: dict[str, Any]
    clock: Clock

    @classmethod
    def make(
        cls, node: Path, authority: Authority, who: Principal, *, age_days: float = 0, clock: Clock | None = None
    ) -> RenewingService:
        """A service that was certified for 30 days some days ago."""
        made = cls(node, authority, who, {}, clock or SystemClock())
        write_atomic(made.paths.issued / "ca.crt", authority.ca_pem, mode=0o644)
        made.certify(load_or_create_tls_key(made.paths.data / "tls.key").public_key(), age_days=age_days)
        return made

    @property
    def paths(self) -> NodePaths:
        node = self.node
        return NodePaths(
            data=node / self.who.service, enrol=node / "enrol", issued=node / "issued", secrets=node / "secrets"
        )

    @property
    def file(self) -> Path:
        return certificate_file(self.paths, self.who.service)

    @property
    def identity_file(self) -> Path:
        return self.paths.data / "tls.pem"

    def certify(self, key: object, *, age_days: float = 0) -> None:
        """Install a certificate, as the peer does."""
        assert isinstance(key, ec.EllipticCurvePublicKey)
        begin = -dt.timedelta(days=age_days, minutes=5)
        end = dt.timedelta(days=30 - age_days)
        pem = client_certificate(self.authority, str(self.who), key, begin=begin, end=end)
        write_atomic(self.file, pem, mode=0o644)

    def certificate(self) -> x509.Certificate:
        """What is installed."""
        return x509.load_pem_x509_certificate(self.file.read_bytes())

    def requested(self) -> ec.EllipticCurvePublicKey | None:
        """The key that the service asks a certificate for."""
        request = read_requests(self.paths.enrol).get(self.who.service)
        if request is None:
            return None
        key = x509.load_pem_x509_csr(request.csr.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    def issued(self, broker: BrokerAddress | None = None) -> Issued:
        """What the service works with."""
        return Issued(
            genesis=CONSORTIUM.genesis,
            membership=[],
            broker=broker or BrokerAddress(host="localhost", port=1),
            ca_file=self.paths.issued / "ca.crt",
            cert_file=self.identity_file,
            key_file=self.identity_file,
            node_key=bytes(32),
            certificate_expires_ms=0,
        )

    def keeper(self, issued: Issued | None = None) -> CertificateKeeper:
        """The keeper of a process that starts now."""
        return CertificateKeeper(self.paths, self.who, issued or self.issued(), self.clock, self.service_status)
