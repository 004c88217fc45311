"""approve, reject, revoke, reconcile: record a decision, and wait until the service has carried it out."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager

from minervas_admission import audit_log
from minervas_admission.commands.following import Follower, Stopwatch
from minervas_admission.commands.operator import operator_name
from minervas_admission.commands.output import milliseconds, say, say_json
from minervas_admission.commands.show import one_transaction, show_application
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import (
    ApplicationRow,
    find_application,
    find_pending_of_member,
    lock_application,
    set_application_state,
)
from minervas_admission.store.database import Connection
from minervas_admission.store.decisions import insert_decision
from minervas_admission.store.members import insert_member, lock_member
from minervas_core.errors import Code, LocalFault
from minervas_runtime.clock import SystemClock


class Unconfirmed(LocalFault):
    """The operator did not confirm."""


class Decisions:
    """Records decisions of the operator who runs the command."""

    def __init__(self, settings: AdmissionSettings, *, timeout_s: float, on_chain: bool, as_json: bool) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._on_chain = on_chain
        self._as_json = as_json
        self._clock = SystemClock()

    async def approve(self, wanted: str, *, confirmed: bool) -> None:
        """Approve a pending application.

        Args:
            wanted: application id or member id.
            confirmed: whether the operator need not be asked.

        Raises:
            LocalFault: ``not_found`` if there is no such pending application; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        row = await self._pending(wanted)
        if not confirmed:
            show_application(row)
            self._confirm(f"Compare the fingerprint with the applicant's. Approve {row.member}?")
        async with self._transaction() as connection:
            await _still_pending(connection, row)
            now_ms = self._clock.now_ms()
            await set_application_state(connection, row.id, "approving", decided_ms=now_ms)
            await insert_member(connection, row.member, row.id, now_ms)
            decision_id = await self._decide(connection, "approve", row.member, row.id, "")
        await self._follow(decision_id, f"Approving {row.member}")

    async def reject(self, wanted: str, reason: str) -> None:
        """Reject a pending application; its name and keys become free. Needs no running service.

        Raises:
            LocalFault: ``not_found`` if there is no such pending application.
        """
        row = await self._pending(wanted)
        async with self._transaction() as connection:
            await _still_pending(connection, row)
            await set_application_state(connection, row.id, "rejected", reason=reason, decided_ms=self._clock.now_ms())
            await self._decide(connection, "reject", row.member, row.id, reason, state="done")
        if not self._as_json:
            say(f"Rejected {row.member}.")

    async def revoke(self, member: str, reason: str, *, confirmed: bool) -> None:
        """Revoke a membership for ever.

        Raises:
            LocalFault: ``not_found`` if there is no such member, or it is revoked already; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        if not confirmed:
            await self._active(member)
            self._confirm(f"{member} can never come back under this name. Revoke it?")
        async with self._transaction() as connection:
            await _check_active(connection, member)
            decision_id = await self._decide(connection, "revoke", member, None, reason)
        await self._follow(decision_id, f"Revoking {member}")

    async def reconcile(self) -> None:
        """Have broker and revocation list compared with the database and repaired.

        Raises:
            TransientFault: see `Follower.follow`.
        """
        async with self._transaction() as connection:
            decision_id = await self._decide(connection, "reconcile", None, None, "")
        await self._follow(decision_id, "Reconciling")

    def _transaction(self) -> AbstractAsyncContextManager[Connection]:
        return one_transaction(self._settings)

    async def _pending(self, wanted: str) -> ApplicationRow:
        async with self._transaction() as connection:
            row = await find_application(connection, wanted)
            if row is None or row.state != "pending":
                row = await find_pending_of_member(connection, wanted)
        if row is None:
            raise LocalFault(Code.NOT_FOUND, "No application waits under this id or member", wanted=wanted)
        return row

    async def _active(self, member: str) -> None:
        async with self._transaction() as connection:
            await _check_active(connection, member)

    async def _decide(
        self, connection: Connection, kind: str, member: str | None, application: str | None, reason: str,
        *, state: str = "queued",
    ) -> int:  # fmt: skip
        """Record the decision and who made it."""
        who, now_ms = operator_name(), self._clock.now_ms()
        decision_id = await insert_decision(
            connection, kind=kind, member=member, application=application, reason=reason, who=who, made_ms=now_ms,
            state=state,
        )  # fmt: skip
        details: dict[str, str | int] = {"decision": decision_id}
        if application:
            details["application"] = application
        if reason:
            details["reason"] = reason
        await audit_log.append(connection, time_ms=now_ms, who=who, action=kind, subject=member or "broker", **details)
        return decision_id

    def _confirm(self, question: str) -> None:
        if not sys.stdin.isatty():
            raise Unconfirmed(Code.BAD_SETTINGS, "There is nobody to ask here; add --yes to decide without a question")
        sys.stdout.write(f"{question} [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Unconfirmed(Code.BAD_SETTINGS, "Nothing was decided")

    async def _follow(self, decision_id: int, heading: str) -> None:
        watch = Stopwatch()
        if not self._as_json:
            say(f"{heading} (decision {decision_id}):")
        follower = Follower(self._settings, until_on_chain=self._on_chain, quiet=self._as_json)
        decision, steps = await follower.follow(decision_id, self._timeout_s)
        if self._as_json:
            say_json(
                {
                    "decision": decision.id,
                    "kind": decision.kind,
                    "member": decision.member,
                    "state": decision.state,
                    "steps": [{"step": row.step, "took_us": row.took_us, "detail": row.detail} for row in steps],
                }
            )
            return
        say(f"Done in {milliseconds(watch.elapsed_us())}." + _on_chain_hint(decision.state))


async def _still_pending(connection: Connection, row: ApplicationRow) -> None:
    """Check that nobody decided meanwhile, and keep others from it.

    Raises:
        LocalFault: ``not_found``.
    """
    now = await lock_application(connection, row.id)
    if now is None or now.state != "pending":
        raise LocalFault(Code.NOT_FOUND, "Somebody else has decided meanwhile", member=row.member)


async def _check_active(connection: Connection, member: str) -> None:
    """Check that there is a membership to revoke, and that nobody has decided so before.

    Raises:
        LocalFault: ``not_found``.
    """
    row = await lock_member(connection, member)
    cursor = await connection.execute("SELECT count(*) FROM decisions WHERE kind = 'revoke' AND member = %s", (member,))
    decided = await cursor.fetchone()
    if row is None:
        raise LocalFault(Code.NOT_FOUND, "There is no such member", member=member)
    if row.state == "revoked" or (decided is not None and decided[0] > 0):
        raise LocalFault(Code.NOT_FOUND, "This membership is revoked already", member=member)


def _on_chain_hint(state: str) -> str:
    return " The chain's confirmation goes on; `minervas-admission members` shows it." if state == "carried_out" else ""
