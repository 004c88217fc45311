"""Suspending a member's vote, giving it back, and leaving: the operator's commands and their sagas."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
from cryptography import x509

from minervas_admission.store.transactions import open_transactions
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.genesis import load_genesis
from minervas_core.membership import apply_membership, check_membership, check_membership_alone
from minervas_core.messages import TransactionStatus, TransactionStatuses
from minervas_core.state import ChainState
from minervas_core.transactions import decode_transaction
from tests.support.admission import SERVICES, AdmissionHome, Applicant, SagaBench
from tests.support.admission_crashes import crash_in, finish, transactions
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

LEAVING = ("database", "broker", "revocation_list", "transaction", "readers", "grafana")
VOTING = ("database", "transaction")


async def recorded(command: Awaitable[None]) -> None:
    """Decide while no service runs: the decision waits."""
    with pytest.raises(TransientFault) as refusal:
        await command
    assert refusal.value.code == Code.NOT_READY


async def refused(command: Awaitable[None], code: str, words: str) -> None:
    """Decide what makes no sense."""
    with pytest.raises(LocalFault) as refusal:
        await command
    assert refusal.value.code == code
    assert words in str(refusal.value)


def decide(home: AdmissionHome, kind: str, member: str = "alpha") -> Awaitable[None]:
    """The operator's command of that name."""
    decisions = home.decisions()
    commands = {"suspend": decisions.suspend, "resume": decisions.resume, "leave": decisions.leave}
    return commands[kind](member, "", confirmed=True)


def suspended(home: AdmissionHome) -> bool:
    [[suspended_ms]] = home.as_owner("SELECT suspended_ms FROM members WHERE member = 'alpha'")
    return suspended_ms is not None


def steps(home: AdmissionHome, decision: int) -> list[tuple[str, str]]:
    return [(name, state) for name, state in home.as_owner(
        "SELECT step, state FROM saga_steps WHERE decision = %s ORDER BY entry", decision
    )]  # fmt: skip


async def apply_report(bench: SagaBench, tip: int, **heights: int) -> None:
    """Let the operator's peer report open transactions, by action, as final at these heights; others as unknown."""
    async with bench.database.transaction() as connection:
        rows = await open_transactions(connection)
    statuses = [
        TransactionStatus(id=row.id, state="final", height=heights[row.action], depth=6)
        if row.action in heights
        else TransactionStatus(id=row.id, state="unknown")
        for row in rows
    ]
    await bench.follower.apply(rows, TransactionStatuses(statuses=statuses, tip_height=tip, final_height=tip))


async def test_what_suspends_and_resumes_is_valid_on_chain_and_leaves_the_broker_alone(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        await home.admit(Applicant("alpha"))
        rights = broker.rights_file.read_text()
        await decide(home, "suspend")
        assert suspended(home)
        assert steps(home, 2) == [(name, "done") for name in VOTING]
        await refused(decide(home, "suspend"), Code.MEMBER_SUSPENDED, "suspended already")
        await decide(home, "resume")
        assert not suspended(home)
        await refused(decide(home, "resume"), Code.MEMBER_NOT_SUSPENDED, "not suspended")
        await decide(home, "suspend")
        assert broker.rights_file.read_text() == rights
        await decide(home, "leave")
    genesis = load_genesis(home.data.genesis.read_bytes())
    state = ChainState.fresh(genesis)
    heights = []
    for height, (raw,) in enumerate(home.as_owner("SELECT raw FROM membership_transactions ORDER BY number"), start=1):
        transaction = decode_transaction(bytes(raw))
        check_membership_alone(transaction, genesis)
        check_membership(state, transaction)
        apply_membership(state, transaction, height)
        record = state.roster.get("alpha")
        assert record is not None
        heights.append((record.status, record.suspended_height))
    assert heights == [("active", 0), ("active", 2), ("active", 0), ("active", 4), ("left", 4)]


async def test_commands_that_make_no_sense_are_refused_before_anything_is_recorded(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
        await home.apply(Applicant("beta").application())
    for kind in ("suspend", "resume", "leave"):
        await refused(decide(home, kind, "nobody"), Code.NOT_FOUND, "no such member")
    await refused(decide(home, "resume"), Code.MEMBER_NOT_SUSPENDED, "not suspended")
    await recorded(home.decisions().approve("beta", confirmed=True))
    await refused(decide(home, "suspend", "beta"), Code.NOT_READY, "not carried out")
    await recorded(decide(home, "suspend"))
    await refused(decide(home, "suspend"), Code.MEMBER_SUSPENDED, "suspended already")
    await recorded(home.decisions().revoke("alpha", "test", confirmed=True))
    for kind in ("suspend", "resume", "leave"):
        await refused(decide(home, kind), Code.NOT_FOUND, "revoked already")
    kinds = [kind for (kind,) in home.as_owner("SELECT kind FROM decisions WHERE id > 1 ORDER BY id")]
    assert kinds == ["approve", "suspend", "revoke"]


async def test_a_revocation_supersedes_a_suspension_that_waits(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
    await recorded(decide(home, "suspend"))
    await recorded(home.decisions().revoke("alpha", "test", confirmed=True))
    async with SagaBench(home) as bench:
        suspension, revocation = await bench.queued()
        assert await bench.runner().attempt(revocation)
        assert await bench.runner().attempt(suspension)
    assert transactions(home) == [(0, "admit"), (1, "revoke")]
    assert home.as_owner("SELECT state, outcome FROM decisions WHERE kind = 'suspend'") == [
        ("superseded", "the membership was ended before this was carried out")
    ]


async def test_of_decisions_about_a_vote_the_newest_counts_in_whatever_order_they_are_carried_out(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
    await recorded(decide(home, "suspend"))
    await recorded(decide(home, "resume"))
    async with SagaBench(home) as bench:
        suspension, resumption = await bench.queued()
        assert await bench.runner().attempt(resumption)
        assert await bench.runner().attempt(suspension)
    assert not suspended(home)
    assert transactions(home) == [(0, "admit"), (1, "resume"), (2, "suspend")]


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", VOTING)
@pytest.mark.parametrize("kind", ["suspend", "resume"])
async def test_a_decision_about_a_vote_survives_a_crash(
    admission_and_broker: AdmissionWithBroker, kind: str, step: str, after_effect: bool
) -> None:
    home = admission_and_broker.home
    before = ["suspend"] if kind == "resume" else []
    async with home.running():
        await home.admit(Applicant("alpha"))
        for earlier in before:
            await decide(home, earlier)
    await recorded(decide(home, kind))
    await crash_in(admission_and_broker, kind, step, after_effect=after_effect)
    await finish(home)
    assert [action for _, action in transactions(home)] == ["admit", *before, kind]
    assert suspended(home) == (kind == "suspend")
    assert steps(home, 2 + len(before)) == [(name, "done") for name in VOTING]


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", LEAVING[:-2])
async def test_leaving_has_every_effect_of_a_revocation_and_survives_a_crash(
    admission_and_broker: AdmissionWithBroker, step: str, after_effect: bool
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        receipt = await home.apply(Applicant("alpha").application())
        await home.decisions().approve("alpha", confirmed=True)
    await recorded(decide(home, "leave"))
    await crash_in(admission_and_broker, "leave", step, after_effect=after_effect)
    await finish(home)
    assert transactions(home) == [(0, "admit"), (1, "leave")]
    assert "alpha" not in broker.rights_file.read_text()
    assert len(list(x509.load_pem_x509_crl((home.export_dir / "ca.crl").read_bytes()))) == len(SERVICES)
    assert home.as_owner("SELECT state, ended_ms IS NOT NULL FROM members") == [("left", True)]
    assert steps(home, 2) == [(name, "done") for name in LEAVING]
    async with home.running():
        state = await home.state(receipt)
        assert (state.state, state.reason) == ("rejected", "the member has left")
    await refused(home.decisions().revoke("alpha", "test", confirmed=True), Code.NOT_FOUND, "left already")


async def test_a_leave_whose_admission_expired_is_moot_and_otherwise_signed_anew(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        for member in ("alpha", "beta"):
            await home.admit(Applicant(member))
    async with SagaBench(home) as bench:
        home.as_owner("UPDATE membership_transactions SET state = 'settled' WHERE member = 'beta'")
        for member in ("alpha", "beta"):
            await recorded(decide(home, "leave", member))
        for decision in await bench.queued():
            assert await bench.runner().attempt(decision)
        await apply_report(bench, 56)
    assert home.as_owner("SELECT member, action, state FROM membership_transactions ORDER BY number") == [
        ("alpha", "admit", "expired"),
        ("beta", "admit", "settled"),
        ("alpha", "leave", "moot"),
        ("beta", "leave", "expired"),
        ("beta", "leave", "open"),
    ]


async def test_a_suspension_is_done_when_it_is_final_and_signed_anew_when_it_expires(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
        await decide(home, "suspend")
    async with SagaBench(home) as bench:
        await apply_report(bench, 56, admit=3)
        assert [action for _, action in transactions(home)] == ["admit", "suspend", "suspend"]
        await apply_report(bench, 60, suspend=58)
    assert home.as_owner("SELECT state FROM decisions") == [("done",), ("done",)]
    await finish_is_quiet(home)


async def finish_is_quiet(home: AdmissionHome) -> None:
    """After a restart nothing is signed again."""
    before = transactions(home)
    async with home.running():
        await wait_until_async(lambda: not home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued'"))
    assert transactions(home) == before
