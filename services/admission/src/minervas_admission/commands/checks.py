"""Whether a decision about a member makes sense, by the membership and by what was decided before."""

from __future__ import annotations

from minervas_admission.store.database import Connection
from minervas_admission.store.decisions import ENDING, VOTING, newest_decision
from minervas_admission.store.members import lock_member
from minervas_core.errors import Code, LocalFault


async def check_sensible(connection: Connection, kind: str, member: str) -> None:
    """Check that a membership can be ended, suspended or resumed, or get new keys.

    It stays as it is until the end of the transaction. What was decided counts, even if the service has not carried it
    out yet.

    Raises:
        LocalFault: ``not_found`` if there is no such member, or its membership has ended; for a vote also ``not_ready``
            before it is admitted, ``member_suspended`` or ``member_not_suspended``.
    """
    row = await lock_member(connection, member)
    if row is None:
        raise LocalFault(Code.NOT_FOUND, "There is no such member", member=member)
    ended = await newest_decision(connection, member, ENDING)
    if ended is not None:
        how = "This member has left already" if ended.kind == "leave" else "This membership is revoked already"
        raise LocalFault(Code.NOT_FOUND, how, member=member)
    if kind in ENDING:
        return
    if row.state != "active":
        raise LocalFault(Code.NOT_READY, "Its approval is not carried out yet, so it has no vote", member=member)
    if kind not in VOTING:
        return
    vote = await newest_decision(connection, member, VOTING)
    if kind == "suspend" and vote is not None and vote.kind == "suspend":
        raise LocalFault(Code.MEMBER_SUSPENDED, "Its vote is suspended already", member=member)
    if kind == "resume" and (vote is None or vote.kind == "resume"):
        raise LocalFault(Code.MEMBER_NOT_SUSPENDED, "Its vote is not suspended", member=member)


GUARDED = ("revoke", "leave", "suspend")
"""What is not done to the operator's own member by mistake."""


def check_operator_member(kind: str, member: str, operator_member: str, *, meant: bool) -> None:
    """Check that the operator's own member is meant: the chain's confirmations come through its peer.

    Raises:
        LocalFault: ``operator_member``.
    """
    if kind in GUARDED and member == operator_member and not meant:
        raise LocalFault(
            Code.OPERATOR_MEMBER,
            "This is the operator's own member, whose peer tells what the chain has confirmed: without it nothing is "
            "confirmed any more; say --operator-member if you mean it",
            member=member,
        )
