"""Requests for the rotation of keys: taken in, checked against what the authority signed, and shown to the operator."""

from __future__ import annotations

from minervas_admission.application_check import MAX_CLOCK_OFFSET_MS
from minervas_admission.key_identity import box_key_id, signing_key_id
from minervas_admission.store.applications import KeyClaim
from minervas_admission.store.database import Connection
from minervas_admission.store.member_keys import current_keys
from minervas_admission.store.members import ENDED, MemberRow, lock_member
from minervas_admission.store.transactions import operator_tip
from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.rekeying import (
    MAX_ROTATION_BYTES,
    RotationRequest,
    SignedRotation,
    check_rotation_request,
    rotation_of,
)
from minervas_core.transactions import Rotate


def decode_rotation(raw: bytes) -> SignedRotation:
    """Read a request.

    Raises:
        InvalidEncoding: ``too_large``, ``not_json``, ``wrong_shape`` or ``not_canonical``.
    """
    return decode(raw, SignedRotation, max_bytes=MAX_ROTATION_BYTES)


def judge_rotation(signed: SignedRotation, network: str, now_ms: int) -> list[KeyClaim]:
    """Check a request by itself; returns the keys that it brings.

    Raises:
        InvalidEnrolment: ``clock_offset``, or a code of `check_rotation_request`.
        PeerFault: ``bad_key``.
    """
    offset_ms = signed.request.sent_at_ms - now_ms
    if abs(offset_ms) > MAX_CLOCK_OFFSET_MS:
        raise InvalidEnrolment(
            Code.CLOCK_OFFSET,
            "The member's clock and ours differ by more than five minutes; set the clock and ask again",
            offset_s=offset_ms // 1000,
        )
    check_rotation_request(signed, network)
    return [
        KeyClaim(box_key_id(new.key) if new.name == "box" else signing_key_id(new.key), f"new {new.name} key")
        for new in (claim.new for claim in signed.request.keys)
    ]


async def checked_rotation(connection: Connection, request: RotationRequest) -> tuple[MemberRow, Rotate]:
    """Check a request against the member's keys, with the member locked; returns what to sign.

    Raises:
        InvalidEnrolment: ``member_unknown``, ``member_revoked`` or ``member_left``; ``bad_signature`` if it is not the
            member's wallet that signed; ``bad_enrolment`` if it replaces other keys; ``bad_consent`` if the consent to
            a new wallet has expired.
    """
    member = await lock_member(connection, request.member)
    keys = await current_keys(connection, request.member)
    if member is None or keys is None:
        raise InvalidEnrolment(Code.MEMBER_UNKNOWN, "There is no such member", member=request.member)
    if member.state in ENDED:
        code = Code.MEMBER_LEFT if member.state == "left" else Code.MEMBER_REVOKED
        raise InvalidEnrolment(code, "This membership has ended for ever", member=request.member)
    if request.wallet != keys.keys.wallet:
        raise InvalidEnrolment(Code.BAD_SIGNATURE, "Not signed by the member's wallet", member=request.member)
    if request.expires_height and request.expires_height <= await operator_tip(connection):
        raise InvalidEnrolment(
            Code.BAD_CONSENT,
            "The consent to the new wallet has expired; run `minervas keys rotate` again",
            expires_height=request.expires_height,
        )
    return member, rotation_of(request, keys.keys, keys.meters)
