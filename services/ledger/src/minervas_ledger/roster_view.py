"""The members as the ledger tells them to its node, and what of them changed."""

from __future__ import annotations

import msgspec

from minervas_core.chain import Chain
from minervas_core.encoding import sha256_hex
from minervas_core.genesis import Parameters
from minervas_core.node_messages import Roster, RosterEntry, WaitingRecovery
from minervas_core.roster import MemberRecord
from minervas_core.state import ChainState


def roster_of(state: ChainState, parameters: Parameters) -> Roster:
    """Everybody who is or was a member, and the recoveries that wait."""
    entries = [
        RosterEntry(
            member=record.member,
            keys=record.keys,
            status=record.status,
            admitted_height=record.admitted_height,
            ended_height=record.ended_height,
            suspended_height=record.suspended_height,
            recovery=_recovery(state, record.member, parameters),
        )
        for record in state.roster.members()
    ]
    return Roster(members=entries, height=state.height, roster_hash=roster_digest(state))


def roster_digest(state: ChainState) -> str:
    """By which a peer sees that it knows the same members, and the same recoveries that wait.

    It is the roster hash while none waits.
    """
    waiting = sorted(state.governance.recoveries.items())
    if not waiting:
        return state.roster.hash()
    rows = "".join(f" {member} {row.transaction} {row.since_ms}" for member, row in waiting)
    return sha256_hex(f"{state.roster.hash()}{rows}".encode())


def records_of(chain: Chain) -> dict[str, MemberRecord]:
    """Every record at the tip, by member."""
    return {record.member: record for record in chain.state.roster.members()}


def changed_records(
    before: dict[str, MemberRecord], after: dict[str, MemberRecord]
) -> list[tuple[str, MemberRecord | None]]:
    """Rows of the roster to write: those that are new or other than before, and those that are gone."""
    changed: list[tuple[str, MemberRecord | None]] = [
        (member, record) for member, record in after.items() if before.get(member) != record
    ]
    return changed + [(member, None) for member in before if member not in after]


def _recovery(state: ChainState, member: str, parameters: Parameters) -> WaitingRecovery | msgspec.UnsetType:
    pending = state.governance.recoveries.get(member)
    if pending is None:
        return msgspec.UNSET
    return WaitingRecovery(
        wallet=pending.wallet,
        transaction=pending.transaction,
        height=pending.height,
        effective_ms=pending.since_ms + parameters.recovery_wait_ms,
    )
