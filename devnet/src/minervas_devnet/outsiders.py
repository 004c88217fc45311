"""Nodes that must not get in: they run a real service with certificates that nobody approved.

Everything else they need is public or easily copied: the CA certificate, the genesis, the broker's address. What they
lack is a certificate of the consortium, or the rights that an approval gives to its name.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from minervas_core.enrolment import ServiceEnrolment
from minervas_devnet.admission import Admission
from minervas_devnet.node import Node
from minervas_devnet.ports import LOOPBACK
from minervas_runtime.key_files import write_atomic

REFUSAL_TIMEOUT_S = 60.0
DAY = dt.timedelta(days=1)


SERVICE = "miner"
"""What the outsider runs: any service would do, this one asks for nothing but a certificate."""


class Outsider:
    """A node whose miner is given a certificate behind admission's back.

    Args:
        node: prepared, its services not started.
        admission: of the consortium.
        broker_port: of the broker, on loopback.
    """

    def __init__(self, node: Node, admission: Admission, broker_port: int) -> None:
        self.node = node
        self._admission = admission
        self._broker_port = broker_port

    def try_self_made(self) -> str:
        """Let it try with a certificate of its own making; returns the miner's last words."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Not the consortium's CA")])
        return self._try(key, name)

    def try_unapproved(self) -> str:
        """Let it try with a certificate of the consortium's own CA, but without an approval; returns its last words.

        This is what a stolen certificate of a half-finished approval, or a careless use of the CA, would be.
        """
        passphrase = self._admission.passphrase_file.read_bytes().strip()
        authority = self._admission.directory / "data" / "ca"
        key = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), passphrase)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the CA's key is an elliptic-curve key")
        certificate = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
        return self._try(key, certificate.subject)

    def _try(self, issuer_key: ec.EllipticCurvePrivateKey, issuer: x509.Name) -> str:
        miner = self.node.services[SERVICE]
        ready = self.node.directory / "issued" / "ready"
        ready.unlink(missing_ok=True)
        miner.start()
        enrolment = self.node.directory / "enrol" / f"{SERVICE}.json"
        miner.wait_for(enrolment.exists, timeout_s=REFUSAL_TIMEOUT_S, awaited="its enrolment")
        self._install(enrolment, issuer_key, issuer)
        miner.wait_for_exit(timeout_s=REFUSAL_TIMEOUT_S)
        return miner.output().splitlines()[-1]

    def _install(self, enrolment: Path, issuer_key: ec.EllipticCurvePrivateKey, issuer: x509.Name) -> None:
        """Do what `minervas join` does after an approval, with a certificate for the miner's own key."""
        claim = msgspec.json.decode(enrolment.read_bytes(), type=ServiceEnrolment).claim
        request = x509.load_pem_x509_csr(claim.csr.encode())
        issued = self.node.directory / "issued"
        write_atomic(issued / "certs" / f"{SERVICE}.crt", _certify(request, issuer_key, issuer))
        write_atomic(issued / "ca.crt", (self._admission.export_dir / "ca.crt").read_bytes())
        write_atomic(issued / "genesis.json", (self._admission.directory / "data" / "genesis.json").read_bytes())
        write_atomic(issued / "membership.json", b"[]")
        address = {"host": LOOPBACK, "port": self._broker_port}
        write_atomic(issued / "broker.json", json.dumps(address).encode())
        write_atomic(self.node.directory / "secrets" / "node.key", b"0" * 64)
        write_atomic(issued / "ready", b"")


def _certify(
    request: x509.CertificateSigningRequest, issuer_key: ec.EllipticCurvePrivateKey, issuer: x509.Name
) -> bytes:
    """A client certificate with everything that the broker asks for."""
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(issuer)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 30 * DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
