"""Applications for new keys of a member whose node was lost: whom they may concern."""

from __future__ import annotations

from minervas_admission.store.database import Connection
from minervas_admission.store.member_keys import current_keys
from minervas_admission.store.members import ENDED, lock_member
from minervas_core.enrolment import Application, declared_meters
from minervas_core.errors import Code, InvalidEnrolment

WARNING = (
    "This takes the membership away from the node that has it now. Call the member by a number that you know from "
    "before, not by the contact given here, and compare the fingerprint"
)
"""What the operator has to know before a replacement is approved."""


async def check_replacement(connection: Connection, application: Application) -> None:
    """Check that an application for a replacement concerns an active member and the meters that it has.

    Raises:
        InvalidEnrolment: ``member_unknown``, ``member_revoked`` or ``member_left``; ``bad_enrolment`` for a meter that
            the member does not have.
    """
    if application.kind != "replace":
        return
    member = await lock_member(connection, application.member)
    if member is None or member.state == "approving":
        raise InvalidEnrolment(
            Code.MEMBER_UNKNOWN, "There is no such member whose node could be replaced", member=application.member
        )
    if member.state in ENDED:
        code = Code.MEMBER_LEFT if member.state == "left" else Code.MEMBER_REVOKED
        raise InvalidEnrolment(code, "This membership has ended for ever", member=application.member)
    keys = await current_keys(connection, application.member)
    known = keys.meters if keys is not None else {}
    for _, meter in declared_meters(application):
        if meter.meter not in known:
            raise InvalidEnrolment(
                Code.BAD_ENROLMENT,
                "A replacement brings the meters that the member has; others are registered when it is done",
                meter=meter.meter,
                registered=", ".join(sorted(known))[:200],
            )
