"""Asking for the rotation of keys: what a member's services hand in, and what its peer signs (spec/membership.md).

An operator of a node wishes for new keys; each service makes its own and proves that it holds it; the peer, which alone
has the wallet, puts them together and signs. Admission then has the authority sign a `Rotate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from minervas_core.box import load_box_public
from minervas_core.encoding import Count, NetworkId, PublicKey, Record, Salt, Signature, TimeMs, encode, sha256_hex
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.identifiers import MemberId, ServiceName
from minervas_core.keys import SigningKey, check_public_key, verify
from minervas_core.transactions import (
    MeterKey,
    NewKeys,
    Rotate,
    ServiceKeys,
    WalletConsent,
    consent_is_valid,
)

KEY_PURPOSE = "new_key"
REQUEST_PURPOSE = "rotation"

MAX_NEW_KEYS = 16
"""Keys in one request: four of the member, and a dozen gateways."""

MAX_ROTATION_BYTES = 65_536
"""A request for all keys has about 6 kB."""

KeyText = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}([0-9a-f]{2368})?\Z")]
"""A public key in hex: of a signing key, or of a box key."""

KeyName = Literal["wallet", "box", "block", "vote", "gateway"]

OWNERS: Mapping[str, str] = {"wallet": "peer", "box": "peer", "block": "miner", "vote": "ledger"}
"""Service that has each key; gateways have their own."""


class KeyWish(Record, frozen=True, kw_only=True):
    """What the services of a node are told: make these keys anew."""

    wish: Salt
    keys: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_NEW_KEYS)]
    """``<service>.<name>`` of each key."""


class NewKey(Record, frozen=True, kw_only=True):
    """A key that a service has made to replace another."""

    wish: Salt
    member: MemberId
    service: ServiceName
    name: KeyName
    key: KeyText
    replaces: KeyText
    """The key that is registered now."""


class NewKeyClaim(Record, frozen=True, kw_only=True):
    """A new key, signed by itself: somebody holds it. A box key cannot sign; the wallet answers for it."""

    new: NewKey
    proof: Signature | msgspec.UnsetType = msgspec.UNSET


class RotationRequest(Record, frozen=True, kw_only=True):
    """What a member asks for."""

    network: NetworkId
    member: MemberId
    salt: Salt
    """The wish's."""
    sent_at_ms: TimeMs
    wallet: PublicKey
    """The present one, which signs."""
    keys: Annotated[list[NewKeyClaim], msgspec.Meta(min_length=1, max_length=MAX_NEW_KEYS)]
    expires_height: Count = 0
    """Of the transaction, if the wallet is replaced; else 0."""
    consent: Signature | msgspec.UnsetType = msgspec.UNSET
    """The present wallet's consent to a new one (`WalletConsent`), if the wallet is replaced."""


class SignedRotation(Record, frozen=True, kw_only=True):
    """A request with the signature of the member's present wallet."""

    request: RotationRequest
    signature: Signature


def claim_key(new: NewKey, key: SigningKey | None) -> NewKeyClaim:
    """Prove that a new key is held; `key` is None for a box key."""
    if key is None:
        return NewKeyClaim(new=new)
    return NewKeyClaim(new=new, proof=key.sign(KEY_PURPOSE, "0" * 32, encode(new)))


def check_key_claim(claim: NewKeyClaim) -> None:
    """Check a claim by itself.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if the key is another service's to make; ``bad_signature``.
        PeerFault: ``bad_key``.
    """
    new = claim.new
    owner = OWNERS.get(new.name)
    is_owner = new.service.startswith("meter-gateway") if owner is None else new.service == owner
    if not is_owner:
        raise InvalidEnrolment(Code.BAD_ENROLMENT, "Not a key of this service", service=new.service, key=new.name)
    if new.name == "box":
        load_box_public(new.key)
        return
    check_public_key(new.key)
    if isinstance(claim.proof, msgspec.UnsetType) or not verify(
        new.key, KEY_PURPOSE, "0" * 32, encode(new), claim.proof
    ):
        raise InvalidEnrolment(Code.BAD_SIGNATURE, "The new key did not sign its claim", key=new.name)


def sign_rotation(request: RotationRequest, wallet: SigningKey) -> SignedRotation:
    """Sign a request with the present wallet."""
    return SignedRotation(request=request, signature=wallet.sign(REQUEST_PURPOSE, request.network, encode(request)))


def check_rotation_request(signed: SignedRotation, network: str) -> None:
    """Check a request by itself.

    Raises:
        InvalidEnrolment: ``wrong_network``, ``bad_signature``, ``bad_consent``, ``key_reused``, ``bad_enrolment``.
        PeerFault: ``bad_key``.
    """
    request = signed.request
    if request.network != network:
        raise InvalidEnrolment(Code.WRONG_NETWORK, "A rotation for another network", network=request.network)
    if not verify(request.wallet, REQUEST_PURPOSE, network, encode(request), signed.signature):
        raise InvalidEnrolment(Code.BAD_SIGNATURE, "The wallet did not sign the request", member=request.member)
    seen: set[tuple[str, str]] = set()
    for claim in request.keys:
        check_key_claim(claim)
        slot = (claim.new.service, claim.new.name)
        if (claim.new.member, claim.new.wish) != (request.member, request.salt) or slot in seen:
            raise InvalidEnrolment(Code.BAD_ENROLMENT, "A key of another request, or one twice", key=claim.new.name)
        seen.add(slot)
    if len({claim.new.key for claim in request.keys}) != len(request.keys):
        raise InvalidEnrolment(Code.KEY_REUSED, "Every service needs a key of its own", member=request.member)
    _check_consent(request)


def _check_consent(request: RotationRequest) -> None:
    wallet = new_keys(request).wallet
    if isinstance(wallet, msgspec.UnsetType):
        if request.expires_height or not isinstance(request.consent, msgspec.UnsetType):
            raise InvalidEnrolment(Code.BAD_CONSENT, "A consent without a new wallet", member=request.member)
        return
    consent = WalletConsent(member=request.member, wallet=wallet, expires_height=request.expires_height)
    if isinstance(request.consent, msgspec.UnsetType) or not consent_is_valid(
        consent, request.network, request.wallet, request.consent
    ):
        raise InvalidEnrolment(Code.BAD_CONSENT, "The wallet did not consent to the new one", member=request.member)


def new_keys(request: RotationRequest) -> NewKeys:
    """The service keys of a request."""
    given = {claim.new.name: claim.new.key for claim in request.keys if claim.new.name in OWNERS}
    return msgspec.convert(given, NewKeys)


def rotation_of(request: RotationRequest, keys: ServiceKeys, meters: Mapping[str, str]) -> Rotate:
    """The change that a checked request asks for.

    Args:
        request: the request.
        keys: the member's keys now.
        meters: gateway key of each of its meters now.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if it does not replace the keys that there are.
    """
    rotated: list[MeterKey] = []
    for claim in request.keys:
        new = claim.new
        if new.name == "gateway":
            own = [meter for meter, gateway in sorted(meters.items()) if gateway == new.replaces]
            rotated += [MeterKey(meter=meter, gateway=new.key) for meter in own]
        if (new.name == "gateway" and not own) or (new.name in OWNERS and getattr(keys, new.name) != new.replaces):
            raise InvalidEnrolment(
                Code.BAD_ENROLMENT, "The request replaces another key than the registered one", key=new.name
            )
    return Rotate(member=request.member, keys=new_keys(request), meters=rotated, consent=request.consent)


def rotation_fingerprint(signed: SignedRotation) -> str:
    """Short fingerprint of a request, as `application_fingerprint`."""
    digits = sha256_hex(encode(signed))[:24]
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))
