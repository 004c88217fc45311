"""Gateways and meters that a member adds later: like an application, but signed by the member's wallet."""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.applicant import About, check_about
from minervas_core.encoding import PublicKey, Record, Salt, Signature, TimeMs, encode
from minervas_core.enrolment import (
    MAX_GATEWAYS,
    ServiceEnrolment,
    check_enrolment,
    declared_meters,
    fingerprint_of,
    is_gateway,
)
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.identifiers import MemberId
from minervas_core.keys import SigningKey, verify

PURPOSE = "addition"


class AdditionBody(Record, frozen=True, kw_only=True):
    """What a member wants to add. Names and places stay in admission's database, never on the chain."""

    member: MemberId
    salt: Salt
    """Makes every addition distinct; repeating one with the same salt is the same addition."""
    sent_at_ms: TimeMs
    services: Annotated[list[ServiceEnrolment], msgspec.Meta(min_length=1, max_length=MAX_GATEWAYS)]
    """Gateways, each with all of its meters: new ones, and those that have further meters now."""
    about: About | msgspec.UnsetType = msgspec.UNSET
    """Further sites and panels."""


class Addition(Record, frozen=True, kw_only=True):
    """An addition as the member sends it."""

    body: AdditionBody
    signature: Signature
    """By the member's wallet."""

    @property
    def member(self) -> str:
        """Whose it is."""
        return self.body.member

    @property
    def services(self) -> list[ServiceEnrolment]:
        """The gateways."""
        return self.body.services

    @property
    def about(self) -> About | msgspec.UnsetType:
        """Further sites and panels."""
        return self.body.about


def sign_addition(body: AdditionBody, wallet: SigningKey, network: str) -> Addition:
    """Sign an addition for a network."""
    return Addition(body=body, signature=wallet.sign(PURPOSE, network, encode(body)))


def check_addition_body(body: AdditionBody) -> None:
    """Check an addition by itself, apart from the wallet's signature.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if a service is no gateway, doubled, of another member, has no meters, or
            meters, sites and panels do not fit together; ``key_reused`` if two gateways share a key.
        PeerFault: ``bad_key``.
    """
    names = [item.claim.service for item in body.services]
    if len(set(names)) != len(names) or not all(map(is_gateway, names)):
        raise InvalidEnrolment(
            Code.BAD_ENROLMENT, "Only meter-gateways can be added, each once", services=",".join(names)
        )
    for enrolment in body.services:
        check_enrolment(enrolment)
        if enrolment.claim.member != body.member:
            raise InvalidEnrolment(Code.BAD_ENROLMENT, "A gateway of another member", service=enrolment.claim.service)
    keys = [item.claim.signing_key for item in body.services]
    if len(set(keys)) != len(keys):
        raise InvalidEnrolment(Code.KEY_REUSED, "Every gateway needs a key of its own", member=body.member)
    declared_meters(body)
    check_about(body.about)


def check_addition(addition: Addition, wallet: PublicKey, network: str) -> None:
    """Check an addition with the member's wallet.

    Raises:
        InvalidEnrolment: ``bad_signature`` if the wallet did not sign it, or as `check_addition_body`.
        PeerFault: ``bad_key``.
    """
    check_addition_body(addition.body)
    if not verify(wallet, PURPOSE, network, encode(addition.body), addition.signature):
        raise InvalidEnrolment(
            Code.BAD_SIGNATURE, "The member's wallet did not sign this addition", member=addition.member
        )


def addition_fingerprint(addition: Addition) -> str:
    """Short fingerprint of everything in an addition, to compare by phone (see `application_fingerprint`)."""
    return fingerprint_of(addition)
