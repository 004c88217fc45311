"""Renewing certificates: what a member's wallet signs, what admission answers (design section 7).

A renewal needs no client certificate, so it also works after the old certificates have expired.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import NetworkId, Record, Salt, Signature, TimeMs, encode
from minervas_core.enrolment import BrokerAddress, Pem
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.identifiers import MemberId, ServiceName
from minervas_core.keys import SigningKey, verify

PURPOSE = "renewal"

MAX_RENEWED_SERVICES = 32
"""Services in one renewal: a node with more asks several times."""

MAX_RENEWAL_BYTES = 65_536
"""A renewal of four services has about 2,000 bytes; one of 32 with RSA keys of 4,096 bits 54,000."""

CaPems = Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
"""One or more CA certificates in PEM, one after the other: two while the CA is replaced."""


class ServiceRequest(Record, frozen=True, kw_only=True):
    """One service asks for a certificate."""

    service: ServiceName
    csr: Pem
    """Certificate signing request; only its public key is used, and it must be new."""


class ServiceCertificate(Record, frozen=True, kw_only=True):
    """The new certificate of one service."""

    service: ServiceName
    certificate: Pem


class RenewalBody(Record, frozen=True, kw_only=True):
    """A member asks for new certificates."""

    network: NetworkId
    member: MemberId
    requests: Annotated[list[ServiceRequest], msgspec.Meta(min_length=1, max_length=MAX_RENEWED_SERVICES)]
    """By service in alphabetical order, each once."""
    salt: Salt
    """Makes every renewal distinct; the same bytes again are the same renewal."""
    sent_at_ms: TimeMs


class Renewal(Record, frozen=True, kw_only=True):
    """A renewal, signed by the member's wallet."""

    body: RenewalBody
    signature: Signature


class RenewalAnswer(Record, frozen=True, kw_only=True):
    """What the member installs."""

    ca_pem: CaPems
    certificates: list[ServiceCertificate]
    """By service in alphabetical order, for the keys that were sent."""
    membership: list[msgspec.Raw]
    """The authority-signed transactions that prove the member's newest keys, as in a `Grant`."""
    broker: BrokerAddress


def sign_renewal(body: RenewalBody, wallet: SigningKey) -> Renewal:
    """Sign with the member's wallet."""
    return Renewal(body=body, signature=wallet.sign(PURPOSE, body.network, encode(body)))


def check_renewal(renewal: Renewal, network: str, wallets: frozenset[str]) -> None:
    """Check that a member's wallet asks, and for this network.

    Args:
        renewal: what came.
        network: our network id.
        wallets: public keys that may sign for the member now; mostly one.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if services are not in order or one stands twice, ``wrong_network`` or
            ``bad_signature``.
    """
    body = renewal.body
    services = [request.service for request in body.requests]
    if services != sorted(set(services)):
        raise InvalidEnrolment(
            Code.BAD_ENROLMENT, "A renewal names every service once, in order", services=",".join(services)
        )
    if body.network != network:
        raise InvalidEnrolment(Code.WRONG_NETWORK, "The renewal is for another network", network=body.network)
    signed = encode(body)
    if not any(verify(wallet, PURPOSE, network, signed, renewal.signature) for wallet in wallets):
        raise InvalidEnrolment(
            Code.BAD_SIGNATURE, "The renewal is not signed by the member's current wallet", member=body.member
        )
