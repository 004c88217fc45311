"""Applying for membership: what services hand in, what admission answers (design section 7)."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import msgspec

from minervas_core.applicant import About, Text, check_about, check_visibility
from minervas_core.box import load_box_public
from minervas_core.encoding import (
    Count,
    Hash,
    NetworkId,
    PublicKey,
    Record,
    Salt,
    Signature,
    TimeMs,
    encode,
    sha256_hex,
)
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.identifiers import MemberId, Principal, ServiceName, check_member_id
from minervas_core.keys import SigningKey, check_public_key, verify
from minervas_core.market.records import MeterDeclaration
from minervas_core.transactions import BoxPublic, ServiceKeys

PURPOSE = "enrolment"
NO_NETWORK = "0" * 32
"""Enrolments are signed before the applicant knows the network."""

MAX_APPLICATION_BYTES = 65_536
"""An application of three services has about 6 kB."""

MEMBER_SERVICES = ("ledger", "miner", "peer")
"""Services that every application must bring, in order."""

GATEWAY = "meter-gateway"
"""Service that an application may bring besides, and further ones as ``meter-gateway-2`` and so on: a member without
one is a consumer."""

MAX_GATEWAYS = 16
"""Gateways in an application or an addition; a member may have more, added one after another."""

MAX_METERS = 64
"""Meters of one gateway: more than its buses can read once a second."""

Pem = Annotated[str, msgspec.Meta(min_length=1, max_length=8_192)]


class ServiceClaim(Record, frozen=True, kw_only=True):
    """What one service says of itself; the private keys never leave it."""

    member: MemberId
    service: ServiceName
    """One of `MEMBER_SERVICES`, or a meter-gateway."""
    csr: Pem
    """Certificate signing request; only its public key is used."""
    signing_key: PublicKey
    """Wallet (peer), block key (miner), vote key (ledger) or gateway key (meter-gateway)."""
    box: BoxPublic | msgspec.UnsetType = msgspec.UNSET
    """Box key, peer only."""
    meters: Annotated[list[MeterDeclaration], msgspec.Meta(max_length=MAX_METERS)] | msgspec.UnsetType = msgspec.UNSET
    """Meters to register, meter-gateway only."""


class ServiceEnrolment(Record, frozen=True, kw_only=True):
    """A claim, signed by the key that it names, which proves that the service holds it."""

    claim: ServiceClaim
    signature: Signature


class Application(Record, frozen=True, kw_only=True):
    """An application for membership. Names and contacts stay in admission's database, never on the chain."""

    member: MemberId
    name: Text
    contact: Text
    salt: Salt
    """Makes every application distinct; repeating one with the same salt is the same application."""
    sent_at_ms: TimeMs
    services: Annotated[list[ServiceEnrolment], msgspec.Meta(max_length=len(MEMBER_SERVICES) + MAX_GATEWAYS)]
    accepts_visibility: bool
    """Whether the applicant has accepted `applicant.VISIBILITY`; an application without that is refused."""
    about: About | msgspec.UnsetType = msgspec.UNSET
    """Details for the operator."""
    kind: Literal["replace"] | msgspec.UnsetType = msgspec.UNSET
    """``replace``: new keys for an active member whose node was lost. Absent: a new membership."""


class ApplicationReceipt(Record, frozen=True, kw_only=True):
    """Admission's answer to a new (or repeated) application."""

    application_id: Salt
    token: Hash
    """Secret with which the applicant asks for the state."""
    fingerprint: str


class BrokerAddress(Record, frozen=True, kw_only=True):
    """Where members reach the broker."""

    host: Text
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Grant(Record, frozen=True, kw_only=True):
    """What an approved applicant installs."""

    ca_pem: Pem
    certificates: dict[ServiceName, Pem]
    """By service."""
    genesis: msgspec.Raw
    """The genesis file."""
    membership: list[msgspec.Raw]
    """The member's own authority-signed membership transactions."""
    broker: BrokerAddress


class ApplicationState(Record, frozen=True, kw_only=True):
    """Where an application stands."""

    application_id: Salt
    member: MemberId
    state: Literal["pending", "approving", "approved", "rejected"]
    fingerprint: str
    reason: str | msgspec.UnsetType = msgspec.UNSET
    grant: Grant | msgspec.UnsetType = msgspec.UNSET


class ConsortiumInfo(Record, frozen=True, kw_only=True):
    """What anybody may know of a consortium before joining."""

    name: Text
    network: NetworkId
    genesis_hash: Hash
    time_ms: TimeMs
    protocol_version: Count


def sign_claim(claim: ServiceClaim, key: SigningKey) -> ServiceEnrolment:
    """Prove possession of the claimed signing key."""
    return ServiceEnrolment(claim=claim, signature=key.sign(PURPOSE, NO_NETWORK, encode(claim)))


def is_gateway(service: str) -> bool:
    """Whether a service is a meter-gateway: ``meter-gateway``, ``meter-gateway-2``, ..."""
    return Principal("", service).role == GATEWAY


def check_enrolment(enrolment: ServiceEnrolment) -> None:
    """Check one service's claim.

    Raises:
        InvalidEnrolment: ``bad_signature`` or ``bad_enrolment``.
        PeerFault: ``bad_key`` for a signing or box key that nobody could use.
    """
    claim = enrolment.claim
    if claim.service not in MEMBER_SERVICES and not is_gateway(claim.service):
        raise InvalidEnrolment(Code.BAD_ENROLMENT, "There is no such service", service=claim.service)
    check_public_key(claim.signing_key)
    if not verify(claim.signing_key, PURPOSE, NO_NETWORK, encode(claim), enrolment.signature):
        raise InvalidEnrolment(
            Code.BAD_SIGNATURE, "The claim is not signed by the key that it names", service=claim.service
        )
    if (claim.service == "peer") == isinstance(claim.box, msgspec.UnsetType):
        raise InvalidEnrolment(Code.BAD_ENROLMENT, "The peer, and only it, brings a box key", service=claim.service)
    if is_gateway(claim.service) == isinstance(claim.meters, msgspec.UnsetType):
        raise InvalidEnrolment(Code.BAD_ENROLMENT, "The gateway, and only it, declares meters", service=claim.service)
    if isinstance(claim.box, str):
        load_box_public(claim.box)


def check_application(application: Application) -> ServiceKeys:
    """Check an application as far as it can be judged by itself.

    Returns:
        The keys to register on chain.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if a service is missing, doubled, or of another member, or the meters do
            not fit together; ``key_reused`` if two services share a key.
            ``consent_missing``.
        PeerFault: ``bad_member_id`` or ``bad_key``.
    """
    check_member_id(application.member)
    check_visibility(accepted=application.accepts_visibility)
    check_about(application.about)
    claims: dict[str, ServiceClaim] = {item.claim.service: item.claim for item in application.services}
    brought = tuple(sorted(service for service in claims if not is_gateway(service)))
    if brought != MEMBER_SERVICES or len(application.services) != len(claims):
        raise InvalidEnrolment(
            Code.BAD_ENROLMENT,
            "An application brings peer, miner and ledger once each, and gateways of different names",
            services=",".join(claims),
        )
    for enrolment in application.services:
        check_enrolment(enrolment)
        if enrolment.claim.member != application.member:
            raise InvalidEnrolment(
                Code.BAD_ENROLMENT, "A service enrolled for another member", service=enrolment.claim.service
            )
    keys = [claim.signing_key for claim in claims.values()]
    if len(set(keys)) != len(keys):
        raise InvalidEnrolment(Code.KEY_REUSED, "Every service needs a key of its own", member=application.member)
    declared_meters(application)
    box = claims["peer"].box
    if isinstance(box, msgspec.UnsetType):
        raise InvalidEnrolment(Code.BAD_ENROLMENT, "The peer's box key is missing", member=application.member)
    return ServiceKeys(
        wallet=claims["peer"].signing_key,
        box=box,
        block=claims["miner"].signing_key,
        vote=claims["ledger"].signing_key,
    )


class BringsServices(Protocol):
    """An application, or an addition."""

    @property
    def member(self) -> str:
        """Whose services."""
        ...

    @property
    def services(self) -> list[ServiceEnrolment]:
        """What they handed in."""
        ...


def declared_meters(application: BringsServices) -> list[tuple[str, MeterDeclaration]]:
    """The meters to register, each with its gateway key.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if two meters share an id, or two channels of a meter a name.
    """
    found: list[tuple[str, MeterDeclaration]] = []
    for enrolment in application.services:
        meters = enrolment.claim.meters
        if not isinstance(meters, msgspec.UnsetType):
            found += [(enrolment.claim.signing_key, meter) for meter in meters]
    names = [meter.meter for _, meter in found]
    if len(set(names)) != len(names):
        raise InvalidEnrolment(Code.BAD_ENROLMENT, "Two meters share an id", member=application.member)
    for _, meter in found:
        channels = {channel.name for channel in meter.channels}
        if len(channels) != len(meter.channels):
            raise InvalidEnrolment(Code.BAD_ENROLMENT, "Two channels share a name", meter=meter.meter)
    return found


def application_fingerprint(application: Application) -> str:
    """Short fingerprint of everything in an application, to compare by phone: six groups of four hex digits."""
    return fingerprint_of(application)


def fingerprint_of(document: Record) -> str:
    """The first 24 hex digits of the SHA-256 of a document's canonical bytes, in groups of four."""
    digits = sha256_hex(encode(document))[:24]
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))
