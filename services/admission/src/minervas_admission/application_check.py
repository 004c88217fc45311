"""What can be said of an application by itself: form, signatures, keys, clock.

Whether names and keys are free is a question for the database.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.certificate_request import request_public_key
from minervas_admission.key_identity import box_key_id, signing_key_id, tls_key_id
from minervas_admission.store.applications import KIND_ADDITION, ApplicationRow, KeyClaim
from minervas_core.addition import Addition
from minervas_core.box import load_box_public
from minervas_core.encoding import decode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    Application,
    BringsServices,
    ServiceClaim,
    check_application,
    declared_meters,
)
from minervas_core.errors import Code, InvalidEnrolment

MAX_CLOCK_OFFSET_MS = 300_000
"""Five minutes: by as much certificates and revocation lists are backdated."""

SIGNING_KEY_NAMES = {"peer": "wallet", "miner": "block key", "ledger": "vote key"}
"""What the signing key of a service is called; a gateway's is the ``gateway key of the meter-gateway`` and so on."""


@dataclass(frozen=True, slots=True)
class JudgedApplication:
    """An application that is good by itself."""

    application: Application
    claims: list[KeyClaim]
    """All public keys that it brings."""


def decode_application(raw: bytes) -> Application:
    """Read an application.

    Raises:
        InvalidEncoding: ``too_large``, ``not_json``, ``wrong_shape`` or ``not_canonical``.
    """
    return decode(raw, Application, max_bytes=MAX_APPLICATION_BYTES)


def decode_addition(raw: bytes) -> Addition:
    """Read an addition.

    Raises:
        InvalidEncoding: ``too_large``, ``not_json``, ``wrong_shape`` or ``not_canonical``.
    """
    return decode(raw, Addition, max_bytes=MAX_APPLICATION_BYTES)


def decode_requested(row: ApplicationRow) -> Application | Addition:
    """What waits in the queue: an application or an addition.

    Raises:
        InvalidEncoding: if the row is damaged.
    """
    return decode_addition(row.content) if row.kind == KIND_ADDITION else decode_application(row.content)


def check_clock(sent_at_ms: int, now_ms: int) -> None:
    """Compare the applicant's clock with ours.

    Raises:
        InvalidEnrolment: ``clock_offset``.
    """
    offset_ms = sent_at_ms - now_ms
    if abs(offset_ms) > MAX_CLOCK_OFFSET_MS:
        raise InvalidEnrolment(
            Code.CLOCK_OFFSET,
            "The applicant's clock and ours differ by more than five minutes; set the clock and apply again",
            offset_s=offset_ms // 1000,
        )


def judge_application(application: Application, now_ms: int) -> JudgedApplication:
    """Check an application by itself.

    Raises:
        InvalidEnrolment: ``clock_offset``, ``bad_enrolment``, ``bad_signature``, ``bad_key`` or ``key_reused``.
        PeerFault: ``bad_member_id`` or ``bad_key``.
    """
    check_clock(application.sent_at_ms, now_ms)
    keys = check_application(application)
    load_box_public(keys.box)
    declared_meters(application)
    claims = [KeyClaim(box_key_id(keys.box), "box key")]
    for enrolment in application.services:
        claims += _claims(enrolment.claim)
    _check_distinct(claims)
    return JudgedApplication(application, claims)


def gateway_claims(addition: Addition) -> list[KeyClaim]:
    """All public keys that an addition brings.

    Raises:
        InvalidEnrolment: ``bad_enrolment``, ``bad_signature``, ``bad_key`` or ``key_reused``.
    """
    claims = [claim for enrolment in addition.services for claim in _claims(enrolment.claim)]
    _check_distinct(claims)
    return claims


def _claims(claim: ServiceClaim) -> list[KeyClaim]:
    key = request_public_key(claim.csr, service=claim.service)
    name = SIGNING_KEY_NAMES.get(claim.service, f"gateway key of the {claim.service}")
    return [
        KeyClaim(tls_key_id(key), f"TLS key of the {claim.service}"),
        KeyClaim(signing_key_id(claim.signing_key), name),
    ]


def _check_distinct(claims: list[KeyClaim]) -> None:
    seen: dict[str, str] = {}
    for claim in claims:
        if claim.key_id in seen:
            raise InvalidEnrolment(
                Code.KEY_REUSED, "One key serves two purposes", key=claim.purpose, also=seen[claim.key_id]
            )
        seen[claim.key_id] = claim.purpose


def service_requests(application: BringsServices) -> dict[str, str]:
    """The certificate request of each service, as PEM."""
    return {item.claim.service: item.claim.csr for item in application.services}
