"""A node service's side of joining: hand in certificate request and public keys, wait for what the consortium issues.

The files of a node directory (all but the private keys are public; only `minervas join`, and later the peer that renews
certificates, write below issued/)::

    enrol/<service>.json    our claim, signed by our own key
    enrol/renewals/         requests for the next certificates (`renewal_files`)
    issued/ca.crt           the consortium's certificate authorities in use
    issued/ca-bundle.json   the signed bundle that they are from, once there was one
    issued/genesis.json     the genesis file
    issued/membership.json  the member's own authority-signed transactions, a JSON array
    issued/broker.json      {"host": ..., "port": ...}
    issued/admission.json   {"url": ...}: where certificates are renewed
    issued/renewal.json     how renewing stands (`renewal_files`)
    issued/certs/<service>.crt
    issued/ready            empty, written last
    secrets/node.key        32 bytes in hex
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.encoding import encode
from minervas_core.enrolment import BrokerAddress, ServiceClaim, ServiceEnrolment, sign_claim
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis, load_genesis
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.market.records import MeterDeclaration
from minervas_runtime.key_files import PUBLIC_MODE, load_or_create_tls_key, read_seed, write_atomic
from minervas_runtime.settings import BrokerSettings, NodePaths
from minervas_runtime.tls_identity import TLS_KEY_FILE, adopt_identity, public_der

log = logging.getLogger(__name__)

NODE_KEY_FILE = "node.key"
READY_FILE = "ready"

POLL_S = 0.25
REMIND_S = 30.0

T = TypeVar("T")


@dataclass(slots=True)
class Issued:
    """What an approved service works with."""

    genesis: Genesis
    membership: list[bytes]
    """The member's own authority-signed membership transactions, canonical bytes."""
    broker: BrokerAddress
    ca_file: Path
    cert_file: Path
    key_file: Path
    node_key: bytes
    certificate_expires_ms: int
    """Moves on when the certificate is renewed."""

    @property
    def genesis_hash(self) -> str:
        """Hash of the genesis."""
        return self.genesis.hash

    @property
    def network(self) -> str:
        """The network id."""
        return self.genesis.network

    def __repr__(self) -> str:
        return f"Issued(network={self.network}, cert_file={self.cert_file})"


def write_enrolment(
    paths: NodePaths,
    member: str,
    service: str,
    signing_key: SigningKey,
    *,
    box_public: str | None = None,
    meters: Sequence[MeterDeclaration] | None = None,
) -> None:
    """Hand in our claim, unless the very same one lies there already; makes the TLS key if it is missing.

    Args:
        paths: the node's directories.
        member: whose service it is.
        service: which: peer, miner, ledger, or a meter-gateway.
        signing_key: wallet (peer), block key (miner), vote key (ledger) or gateway key (meter-gateway).
        box_public: public box key, peer only.
        meters: meters to register, meter-gateway only.

    Raises:
        LocalFault: ``bad_key_file`` if a file cannot be used or written.
    """
    tls_key = load_or_create_tls_key(paths.data / TLS_KEY_FILE)
    target = paths.enrol / f"{service}.json"
    declared = msgspec.UNSET if meters is None else list(meters)
    if _claims(target) == (member, signing_key.public, box_public or "", declared, public_der(tls_key.public_key())):
        return
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(Principal(member, service)))])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(tls_key, hashes.SHA256())
    claim = ServiceClaim(
        member=member,
        service=service,
        csr=request.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        signing_key=signing_key.public,
        box=msgspec.UNSET if box_public is None else box_public,
        meters=declared,
    )
    write_atomic(target, encode(sign_claim(claim, signing_key)), mode=PUBLIC_MODE)
    log.info("enrolment_written", extra={"fields": {"file": str(target)}})


async def wait_for_issue(
    paths: NodePaths, service: str, member: str, *, broker: BrokerSettings | None = None
) -> Issued:
    """Wait until `minervas join` has installed what the consortium issued, and check it.

    A service that was added to a node later waits for its certificate (`minervas join --add`).

    Args:
        paths: the node's directories.
        service: which service we are.
        member: whose.
        broker: overrides the address that was issued.

    Raises:
        LocalFault: naming the file that is unusable and what to do.
    """
    waited_s = 0.0
    certificate = paths.issued / "certs" / f"{service}.crt"
    while not ((joined := (paths.issued / READY_FILE).exists()) and certificate.exists()):
        if waited_s % REMIND_S == 0:
            command = f"minervas join --add {service}" if joined else "minervas join"
            fields = {"directory": str(paths.issued), "command": command}
            log.info("waiting for approval", extra={"fields": fields})
        await asyncio.sleep(POLL_S)
        waited_s += POLL_S
    return load_issued(paths, service, member, broker=broker)


def load_issued(paths: NodePaths, service: str, member: str, *, broker: BrokerSettings | None = None) -> Issued:
    """Read and check what the consortium issued.

    Raises:
        LocalFault: ``bad_enrolment``, ``bad_genesis`` or ``bad_key_file``, naming the file.
    """
    identity = adopt_identity(paths.data, certificate_file(paths, service), str(Principal(member, service)))
    address = (
        BrokerAddress(host=broker.host, port=broker.port)
        if broker
        else _read(paths.issued / "broker.json", lambda data: msgspec.json.decode(data, type=BrokerAddress))
    )
    return Issued(
        genesis=_read(paths.issued / "genesis.json", load_genesis),
        membership=read_membership(paths),
        broker=address,
        ca_file=paths.issued / "ca.crt",
        cert_file=identity.file,
        key_file=identity.file,
        node_key=read_seed(paths.secrets / NODE_KEY_FILE),
        certificate_expires_ms=identity.expires_ms,
    )


def read_membership(paths: NodePaths) -> list[bytes]:
    """The member's own authority-signed membership transactions, as they are installed now.

    Raises:
        LocalFault: ``bad_enrolment``.
    """
    transactions = _read(
        paths.issued / "membership.json", lambda data: msgspec.json.decode(data, type=list[msgspec.Raw])
    )
    return [bytes(transaction) for transaction in transactions]


def certificate_file(paths: NodePaths, service: str) -> Path:
    """Where the certificate of a service is installed."""
    return paths.issued / "certs" / f"{service}.crt"


def _read(path: Path, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(path.read_bytes())
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "A file that the consortium issued is missing or damaged; run `minervas join` again",
            file=str(path),
            reason=str(error),
        ) from error


def _claims(path: Path) -> tuple[str, str, str, list[MeterDeclaration] | msgspec.UnsetType, bytes] | None:
    """What an existing enrolment file claims, or None if it is missing or unusable."""
    try:
        claim = msgspec.json.decode(path.read_bytes(), type=ServiceEnrolment).claim
        request = x509.load_pem_x509_csr(claim.csr.encode())
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    box = "" if isinstance(claim.box, msgspec.UnsetType) else claim.box
    public_key = request.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        return None
    return claim.member, claim.signing_key, box, claim.meters, public_der(public_key)
