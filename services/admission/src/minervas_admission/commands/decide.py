"""What the operator decides: record it, and wait until the service has carried it out."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager

from minervas_admission import audit_log
from minervas_admission.commands.checks import check_sensible
from minervas_admission.commands.following import Follower, Stopwatch
from minervas_admission.commands.operator import operator_name
from minervas_admission.commands.output import milliseconds, say, say_json
from minervas_admission.commands.show import one_transaction, show_application, show_change
from minervas_admission.data_directory import DataDirectory
from minervas_admission.parameter_changes import ParameterView, WantedChange
from minervas_admission.replacement import WARNING
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import (
    JOIN,
    REPLACE,
    ROTATE,
    ApplicationRow,
    find_application,
    find_pending_of_member,
    lock_application,
    set_application_state,
)
from minervas_admission.store.database import Connection
from minervas_admission.store.decisions import insert_decision
from minervas_admission.store.members import insert_member
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import load_genesis
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_runtime.clock import SystemClock

HEADINGS = {"revoke": "Revoking", "leave": "Ending the membership of", "suspend": "Suspending", "resume": "Resuming"}
"""What is being done, by the kind of a decision about a member."""


_DECISIONS = {JOIN: "approve", REPLACE: "replace", ROTATE: "rotate"}
"""Kind of the decision that approves an application, by the application's kind."""
_APPROVAL_HEADINGS = {
    "approve": "Approving",
    "replace": "Replacing the node of",
    "rotate": "Rotating keys of",
}
_APPROVAL_QUESTIONS = {
    JOIN: "Compare the fingerprint with the applicant's. Approve {member}?",
    ROTATE: "Its wallet signed for new keys. Compare the fingerprint. Rotate the keys of {member}?",
    REPLACE: f"{WARNING}. Replace the node of {{member}}?",
}
"""What is asked, by the kind of the application."""


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
            LocalFault: ``not_found`` if there is no such pending application, or it is for new keys of who is no member
                any more; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        row = await self._pending(wanted)
        if not confirmed:
            show_application(row)
            self._confirm(_APPROVAL_QUESTIONS[row.kind].format(member=row.member))
        async with self._transaction() as connection:
            await _still_pending(connection, row)
            now_ms = self._clock.now_ms()
            await set_application_state(connection, row.id, "approving", decided_ms=now_ms)
            kind = _DECISIONS[row.kind]
            if row.kind == JOIN:
                await insert_member(connection, row.member, row.id, now_ms)
            else:
                await check_sensible(connection, kind, row.member)
            decision_id = await self._decide(connection, kind, row.member, row.id, "")
        await self._follow(decision_id, f"{_APPROVAL_HEADINGS[kind]} {row.member}")

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
        question = f"{member} can never come back under this name. Revoke it?"
        await self._about_member("revoke", member, reason, question, confirmed=confirmed)

    async def leave(self, member: str, reason: str, *, confirmed: bool) -> None:
        """End a membership for ever because the member wants it; all else is as with `revoke`.

        Raises:
            LocalFault: ``not_found`` if there is no such member, or its membership has ended already; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        question = f"{member} can never come back under this name. Does it leave?"
        await self._about_member("leave", member, reason, question, confirmed=confirmed)

    async def suspend(self, member: str, reason: str, *, confirmed: bool) -> None:
        """Take a member's vote away until `resume`.

        Raises:
            LocalFault: ``not_found`` if there is no such member, or its membership has ended; ``not_ready`` if it is
                not admitted yet; ``member_suspended``; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        question = f"Finality will neither wait for {member} nor count its vote. Suspend it?"
        await self._about_member("suspend", member, reason, question, confirmed=confirmed)

    async def resume(self, member: str, reason: str, *, confirmed: bool) -> None:
        """Give a suspended member its vote back.

        Raises:
            LocalFault: as with `suspend`, but ``member_not_suspended``.
            TransientFault: see `Follower.follow`.
        """
        question = f"Finality will need the vote of {member} again. Resume it?"
        await self._about_member("resume", member, reason, question, confirmed=confirmed)

    async def parameters(self, wanted: WantedChange, *, confirmed: bool) -> None:
        """Change parameters of the consortium from a height on, or take back what was to change then.

        Raises:
            LocalFault: see `ParameterView.check`; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        genesis = load_genesis(DataDirectory(self._settings.paths.data).genesis.read_bytes())
        async with self._transaction() as connection:
            view = await ParameterView.read(connection, genesis)
        view.check(wanted)
        if not self._as_json:
            show_change(view, wanted)
        if not confirmed:
            self._confirm("All members' nodes will follow this. Change it?")
        async with self._transaction() as connection:
            (await ParameterView.read(connection, genesis)).check(wanted)
            decision_id = await self._decide(connection, "parameters", None, None, "", content=wanted.content)
        await self._follow(decision_id, f"Changing parameters from block {wanted.activation_height:,} on")

    async def _about_member(self, kind: str, member: str, reason: str, question: str, *, confirmed: bool) -> None:
        """Check that the decision makes sense, ask, check again with the member locked, and decide."""
        if not confirmed:
            async with self._transaction() as connection:
                await check_sensible(connection, kind, member)
            self._confirm(question)
        async with self._transaction() as connection:
            await check_sensible(connection, kind, member)
            decision_id = await self._decide(connection, kind, member, None, reason)
        await self._follow(decision_id, f"{HEADINGS[kind]} {member}")

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

    async def _decide(
        self, connection: Connection, kind: str, member: str | None, application: str | None, reason: str,
        *, state: str = "queued", content: str = "",
    ) -> int:  # fmt: skip
        """Record the decision and who made it."""
        who, now_ms = operator_name(), self._clock.now_ms()
        decision_id = await insert_decision(
            connection, kind=kind, member=member, application=application, reason=reason, who=who, made_ms=now_ms,
            state=state, content=content,
        )  # fmt: skip
        details: dict[str, str | int] = {"decision": decision_id}
        if application:
            details["application"] = application
        if reason:
            details["reason"] = reason
        if content:
            details["content"] = content
        subject = member or ("broker" if kind == "reconcile" else RESERVED_MEMBER)
        await audit_log.append(connection, time_ms=now_ms, who=who, action=kind, subject=subject, **details)
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


def _on_chain_hint(state: str) -> str:
    return " The chain's confirmation goes on; `minervas-admission members` shows it." if state == "carried_out" else ""
