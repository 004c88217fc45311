"""What the operator decides: record it, and wait until the service has carried it out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from minervas_admission.ca import ca_id
from minervas_admission.ca_rollover import FINISH, FORCE, START, SWITCH, check_step
from minervas_admission.ca_set import load_ca_certificate, read_ca_state
from minervas_admission.commands.checks import check_operator_member, check_sensible
from minervas_admission.commands.confirming import confirm
from minervas_admission.commands.following import Follower, Stopwatch
from minervas_admission.commands.operator import operator_name
from minervas_admission.commands.output import milliseconds, say, say_json
from minervas_admission.commands.show import one_transaction, show_application, show_change
from minervas_admission.data_directory import DataDirectory
from minervas_admission.deciding import Decider
from minervas_admission.parameter_changes import ParameterView, WantedChange
from minervas_admission.replacement import WARNING
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import (
    REPLACE,
    ROTATE,
    ApplicationRow,
    find_application,
    find_pending_of_member,
)
from minervas_admission.store.database import Connection
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import load_genesis
from minervas_runtime.clock import SystemClock

HEADINGS = {"revoke": "Revoking", "leave": "Ending the membership of", "suspend": "Suspending", "resume": "Resuming"}
"""What is being done, by the kind of a decision about a member."""


_APPROVAL_HEADINGS = {
    "approve": "Approving",
    "add": "Approving",
    "replace": "Replacing the node of",
    "rotate": "Rotating keys of",
}
_APPROVAL_QUESTIONS = {
    ROTATE: "Its wallet signed for new keys. Compare the fingerprint. Rotate the keys of {member}?",
    REPLACE: f"{WARNING}. Replace the node of {{member}}?",
}
"""What is asked, by the kind of the application, if it is no usual one."""
_APPROVAL_QUESTION = "Compare the fingerprint with the applicant's. Approve {member}?"

CA_STEPS = {
    START: ("Making a new CA", "Every node will trust a new CA beside the one in use. Make it?"),
    SWITCH: ("Switching to the new CA", "Servers and new members will be certified by the new CA. Switch?"),
    FINISH: ("Ending the old CA", "Nobody will trust the old CA any more, and its key is deleted. End it?"),
}
"""What is being done, and what the operator is asked, by the kind of a decision about the CA."""


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
            confirm(_APPROVAL_QUESTIONS.get(row.kind, _APPROVAL_QUESTION).format(member=row.member))
        async with self._deciding() as decider:
            decision_id = await decider.approve(row.id)
        await self._follow(decision_id, f"{_APPROVAL_HEADINGS[row.approval]} {row.member}")

    async def reject(self, wanted: str, reason: str) -> None:
        """Reject a pending application; its name and keys become free. Needs no running service.

        Raises:
            LocalFault: ``not_found`` if there is no such pending application.
        """
        row = await self._pending(wanted)
        async with self._deciding() as decider:
            await decider.reject(row.id, reason)
        if not self._as_json:
            say(f"Rejected {row.member}.")

    async def revoke(self, member: str, reason: str, *, confirmed: bool, operator_member_meant: bool = False) -> None:
        """Revoke a membership for ever.

        Raises:
            LocalFault: ``not_found`` if there is no such member, or it is revoked already; ``operator_member`` if
                it is the operator's own and that was not meant; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        question = f"{member} can never come back under this name. Revoke it?"
        await self._about_member("revoke", member, reason, question, confirmed=confirmed, meant=operator_member_meant)

    async def leave(self, member: str, reason: str, *, confirmed: bool, operator_member_meant: bool = False) -> None:
        """End a membership for ever because the member wants it; all else is as with `revoke`.

        Raises:
            LocalFault: ``not_found`` if there is no such member, or its membership has ended already; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        question = f"{member} can never come back under this name. Does it leave?"
        await self._about_member("leave", member, reason, question, confirmed=confirmed, meant=operator_member_meant)

    async def suspend(self, member: str, reason: str, *, confirmed: bool, operator_member_meant: bool = False) -> None:
        """Take a member's vote away until `resume`.

        Raises:
            LocalFault: ``not_found`` if there is no such member, or its membership has ended; ``not_ready`` if it is
                not admitted yet; ``member_suspended``; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        question = f"Finality will neither wait for {member} nor count its vote. Suspend it?"
        await self._about_member("suspend", member, reason, question, confirmed=confirmed, meant=operator_member_meant)

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
            confirm("All members' nodes will follow this. Change it?")
        async with self._deciding() as decider:
            decision_id = await decider.parameters(wanted, genesis)
        await self._follow(decision_id, f"Changing parameters from block {wanted.activation_height:,} on")

    async def change_ca(self, kind: str, *, force: bool, confirmed: bool) -> None:
        """Do one step of replacing the CA.

        Raises:
            LocalFault: ``not_ready``, see `check_step`; `Unconfirmed`.
            TransientFault: see `Follower.follow`.
        """
        data = DataDirectory(self._settings.paths.data)
        ids = {name: ca_id(load_ca_certificate(data, name)) for name in read_ca_state(data).trusted}
        async with self._transaction() as connection:
            await check_step(connection, kind, data, ids, now_ms=self._clock.now_ms(), force=force)
        heading, question = CA_STEPS[kind]
        if not confirmed:
            confirm(question)
        async with self._deciding() as decider:
            await check_step(decider.connection, kind, data, ids, now_ms=self._clock.now_ms(), force=force)
            decision_id = await decider.ca_step(kind, FORCE if force else "")
        await self._follow(decision_id, heading)

    async def _about_member(
        self, kind: str, member: str, reason: str, question: str, *, confirmed: bool, meant: bool = False
    ) -> None:
        """Check that the decision makes sense, ask, check again with the member locked, and decide."""
        if not confirmed:
            check_operator_member(kind, member, self._settings.consortium.operator_member, meant=meant)
            async with self._transaction() as connection:
                await check_sensible(connection, kind, member)
            confirm(question)
        async with self._deciding() as decider:
            decision_id = await decider.about_member(kind, member, reason, operator_member_meant=meant)
        await self._follow(decision_id, f"{HEADINGS[kind]} {member}")

    async def reconcile(self) -> None:
        """Have broker and revocation list compared with the database and repaired.

        Raises:
            TransientFault: see `Follower.follow`.
        """
        async with self._deciding() as decider:
            decision_id = await decider.reconcile()
        await self._follow(decision_id, "Reconciling")

    def _transaction(self) -> AbstractAsyncContextManager[Connection]:
        return one_transaction(self._settings)

    @asynccontextmanager
    async def _deciding(self) -> AsyncIterator[Decider]:
        async with self._transaction() as connection:
            yield Decider(connection, operator_name(), self._clock.now_ms(), self._settings.consortium.operator_member)

    async def _pending(self, wanted: str) -> ApplicationRow:
        async with self._transaction() as connection:
            row = await find_application(connection, wanted)
            if row is None or row.state != "pending":
                row = await find_pending_of_member(connection, wanted)
        if row is None:
            raise LocalFault(Code.NOT_FOUND, "No application waits under this id or member", wanted=wanted)
        return row

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


def _on_chain_hint(state: str) -> str:
    return " The chain's confirmation goes on; `minervas-admission members` shows it." if state == "carried_out" else ""
