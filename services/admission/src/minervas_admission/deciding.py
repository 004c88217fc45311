"""Recording what an operator decides: the same for the commands and for the pages.

A decision and its entry in the audit log are written in the caller's transaction; the running service carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission import audit_log
from minervas_admission.commands.checks import check_operator_member, check_sensible
from minervas_admission.parameter_changes import ParameterView, WantedChange
from minervas_admission.store.applications import (
    KIND_JOIN,
    REPLACE,
    ROTATE,
    ApplicationRow,
    lock_application,
    set_application_state,
)
from minervas_admission.store.database import Connection
from minervas_admission.store.decisions import insert_decision
from minervas_admission.store.members import insert_member
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis
from minervas_core.identifiers import RESERVED_MEMBER

MAX_REASON_LENGTH = 500
"""Characters of a reason given in the browser."""


@dataclass(frozen=True, slots=True)
class Decider:
    """Somebody who decides, in one transaction. Every method returns the decision's id."""

    connection: Connection
    who: str
    """User of the operating system, or operator account."""
    now_ms: int
    operator_member: str
    """The operator's own member (settings)."""

    async def approve(self, application_id: str) -> int:
        """Approve a pending application, an addition of a member, or new keys of one.

        Raises:
            LocalFault: ``not_found`` if it does not wait (any more), or see `check_sensible` for new keys.
        """
        row = await self._still_pending(application_id)
        await set_application_state(self.connection, row.id, "approving", decided_ms=self.now_ms)
        if row.kind == KIND_JOIN:
            await insert_member(self.connection, row.member, row.id, self.now_ms)
        elif row.kind in (REPLACE, ROTATE):
            await check_sensible(self.connection, row.kind, row.member)
        return await self._record(row.approval, row.member, application=row.id)

    async def reject(self, application_id: str, reason: str) -> int:
        """Reject a pending application; its name and keys become free. Needs no running service.

        Raises:
            LocalFault: ``not_found`` if it does not wait (any more).
        """
        row = await self._still_pending(application_id)
        await set_application_state(self.connection, row.id, "rejected", reason=reason, decided_ms=self.now_ms)
        return await self._record("reject", row.member, application=row.id, reason=reason, state="done")

    async def about_member(self, kind: str, member: str, reason: str, *, operator_member_meant: bool = False) -> int:
        """Decide revoke, leave, suspend or resume.

        Raises:
            LocalFault: see `check_operator_member` and `check_sensible`.
        """
        check_operator_member(kind, member, self.operator_member, meant=operator_member_meant)
        await check_sensible(self.connection, kind, member)
        return await self._record(kind, member, reason=reason)

    async def parameters(self, wanted: WantedChange, genesis: Genesis) -> int:
        """Change parameters of the consortium.

        Raises:
            LocalFault: see `ParameterView.check`.
        """
        (await ParameterView.read(self.connection, genesis)).check(wanted)
        return await self._record("parameters", None, content=wanted.content)

    async def ca_step(self, kind: str, content: str) -> int:
        """Do a step of replacing the CA; the caller has checked it (`ca_rollover.check_step`)."""
        return await self._record(kind, None, content=content)

    async def reconcile(self) -> int:
        """Have broker and revocation list compared with the database and repaired."""
        return await self._record("reconcile", None)

    async def _still_pending(self, application_id: str) -> ApplicationRow:
        """The application, if nobody decided meanwhile; others are kept from it."""
        row = await lock_application(self.connection, application_id)
        if row is None or row.state != "pending":
            raise LocalFault(
                Code.NOT_FOUND, "This application does not wait; somebody may have decided", application=application_id
            )
        return row

    async def _record(
        self, kind: str, member: str | None, *, application: str | None = None, reason: str = "",
        state: str = "queued", content: str = "",
    ) -> int:  # fmt: skip
        """Record the decision and who made it."""
        decision_id = await insert_decision(
            self.connection, kind=kind, member=member, application=application, reason=reason, who=self.who,
            made_ms=self.now_ms, state=state, content=content,
        )  # fmt: skip
        details: dict[str, str | int] = {"decision": decision_id}
        if application:
            details["application"] = application
        if content:
            details["content"] = content
        subject = member or ("broker" if kind == "reconcile" else RESERVED_MEMBER)
        await audit_log.append(
            self.connection, time_ms=self.now_ms, who=self.who, action=kind, subject=subject, **details
        )
        return decision_id
