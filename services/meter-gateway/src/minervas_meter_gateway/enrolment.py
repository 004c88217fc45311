"""What the gateway hands in to join: its public key, its certificate request, and the meters it reads.

The file lies where those of the other services lie, ``enrol/<service>.json``, and is signed in the same way. The meters
are what admission registers on chain for this gateway's key; changing them means applying again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.encoding import Count, PublicKey, Record, Signature, encode
from minervas_core.enrolment import NO_NETWORK, PURPOSE, Pem
from minervas_core.identifiers import MemberId, Principal, ServiceName
from minervas_core.keys import SigningKey
from minervas_core.metering import Name
from minervas_meter_gateway.bus_plan import PortPlan
from minervas_runtime.enrolment import TLS_KEY_FILE
from minervas_runtime.key_files import PUBLIC_MODE, load_or_create_tls_key, write_atomic
from minervas_runtime.settings import NodePaths

log = logging.getLogger(__name__)


class ChannelClaim(Record, frozen=True, kw_only=True):
    """A channel to be registered."""

    name: Name
    rated_w: Count
    """What it can deliver at most."""


class MeterClaim(Record, frozen=True, kw_only=True):
    """A meter to be registered."""

    id: Name
    register_step_wh: Count
    channels: list[ChannelClaim]


class GatewayClaim(Record, frozen=True, kw_only=True):
    """What the gateway says of itself; the private keys never leave it."""

    member: MemberId
    service: ServiceName
    csr: Pem
    signing_key: PublicKey
    """Signs batches of readings and statements."""
    meters: list[MeterClaim]


class GatewayEnrolment(Record, frozen=True, kw_only=True):
    """A claim, signed by the key that it names."""

    claim: GatewayClaim
    signature: Signature


def claimed_meters(ports: Sequence[PortPlan]) -> list[MeterClaim]:
    """The meters of all ports, as they are to be registered."""
    return [
        MeterClaim(
            id=meter.id,
            register_step_wh=meter.register_step_wh,
            channels=[ChannelClaim(name=channel.name, rated_w=channel.rated_w) for channel in meter.channels],
        )
        for port in ports
        for meter in port.meters
    ]


def write_gateway_enrolment(
    paths: NodePaths, principal: Principal, key: SigningKey, meters: Sequence[MeterClaim]
) -> None:
    """Hand in our claim, unless the very same one lies there already; makes the TLS key if it is missing.

    Args:
        paths: the node's directories.
        principal: who we are.
        key: the gateway key.
        meters: what we read.

    Raises:
        LocalFault: ``bad_key_file`` if a file cannot be used or written.
    """
    tls_key = load_or_create_tls_key(paths.data / TLS_KEY_FILE)
    target = paths.enrol / f"{principal.service}.json"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(principal))])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(tls_key, hashes.SHA256())
    claim = GatewayClaim(
        member=principal.member,
        service=principal.service,
        csr=request.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        signing_key=key.public,
        meters=list(meters),
    )
    try:
        known = msgspec.json.decode(target.read_bytes(), type=GatewayEnrolment).claim
        is_known = _without_nonce(known) == _without_nonce(claim)
    except (OSError, ValueError, msgspec.MsgspecError):
        is_known = False
    if is_known:
        return
    enrolment = GatewayEnrolment(claim=claim, signature=key.sign(PURPOSE, NO_NETWORK, encode(claim)))
    write_atomic(target, encode(enrolment), mode=PUBLIC_MODE)
    log.info("enrolment_written", extra={"fields": {"file": str(target), "meters": len(claim.meters)}})


def _without_nonce(claim: GatewayClaim) -> tuple[GatewayClaim, bytes]:
    """A claim with its request's public key instead of the request, whose signature differs each time.

    Raises:
        ValueError: if the request is unusable.
    """
    public_key = x509.load_pem_x509_csr(claim.csr.encode()).public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise ValueError("not an elliptic curve key")  # noqa: TRY004  # of a file's content, not of an argument
    encoded = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return msgspec.structs.replace(claim, csr="-"), encoded
