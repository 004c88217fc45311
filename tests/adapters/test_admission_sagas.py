"""Sagas survive a crash between any two steps, and inside any of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from minervas_admission.sagas.steps import Step
from minervas_admission.store.decisions import Decision
from minervas_core.errors import Code, TransientFault
from tests.support.admission import SERVICES, AdmissionHome, Applicant, SagaBench, grant_of
from tests.support.admission_crashes import crash_in, finish, transactions
from tests.support.fix_admission import AdmissionWithBroker

# Grafana's steps, the last ones, are interrupted in test_admission_grafana_access.py.
APPROVAL = ("certificates", "broker", "transaction", "grafana")
REVOCATION = ("database", "broker", "revocation_list", "transaction", "readers", "grafana")


async def decide(home: AdmissionHome, *, revoke: bool) -> None:
    """Record a decision while no service runs."""
    decisions = home.decisions()
    decision = (
        decisions.revoke("alpha", "test", confirmed=True) if revoke else decisions.approve("alpha", confirmed=True)
    )
    with pytest.raises(TransientFault) as refusal:
        await decision
    assert refusal.value.code == Code.NOT_READY


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", APPROVAL[:-1])
async def test_an_approval_survives_a_crash(
    admission_and_broker: AdmissionWithBroker, step: str, after_effect: bool
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    applicant = Applicant("alpha")
    async with home.running():
        receipt = await home.apply(applicant.application())
    await decide(home, revoke=False)
    await crash_in(admission_and_broker, "approve", step, after_effect=after_effect)
    await finish(home)

    assert transactions(home) == [(0, "admit")]
    principals = [f"alpha.{service}" for service in sorted(SERVICES)]
    assert home.as_owner("SELECT principal FROM certificates WHERE member = 'alpha' ORDER BY 1") == [
        (name,) for name in principals
    ]
    assert home.as_owner("SELECT step, state FROM saga_steps ORDER BY entry") == [(name, "done") for name in APPROVAL]
    async with home.running():
        state = await home.state(receipt)
        assert state.state == "approved"
        home.install(applicant, grant_of(state))
        bus = home.bus(broker, "alpha", "peer")
        await bus.start()
        await bus.publish("mesh/v1/alpha/peer/hello", b"{}")
        await bus.stop()


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", REVOCATION[:-2])
async def test_a_revocation_survives_a_crash(
    admission_and_broker: AdmissionWithBroker, step: str, after_effect: bool
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        await home.admit(Applicant("alpha"))
    await decide(home, revoke=True)
    await crash_in(admission_and_broker, "revoke", step, after_effect=after_effect)
    await finish(home)

    assert transactions(home) == [(0, "admit"), (1, "revoke")]
    assert "alpha" not in broker.rights_file.read_text()
    crl = x509.load_pem_x509_crl((home.export_dir / "ca.crl").read_bytes())
    assert len(list(crl)) == len(SERVICES)
    assert home.as_owner("SELECT state FROM members") == [("revoked",)]
    assert home.as_owner("SELECT step, state FROM saga_steps WHERE decision = 2 ORDER BY entry") == [
        (name, "done") for name in REVOCATION
    ]


async def test_steps_that_are_done_are_not_repeated(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.apply(Applicant("alpha").application())
    await decide(home, revoke=False)
    await crash_in(admission_and_broker, "approve", "transaction", after_effect=False)
    before = home.as_owner("SELECT serial FROM certificates WHERE member = 'alpha' ORDER BY 1")
    await finish(home)
    assert home.as_owner("SELECT serial FROM certificates WHERE member = 'alpha' ORDER BY 1") == before
    assert home.as_owner("SELECT step, attempts FROM saga_steps ORDER BY entry") == [(name, 1) for name in APPROVAL]


async def test_a_step_that_fails_is_tried_again_and_holds_up_what_depends_on_it(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.apply(Applicant("alpha").application())
    await decide(home, revoke=False)
    async with SagaBench(home) as bench:
        [decision] = await bench.queued()
        sagas = [
            replace(saga, steps=tuple(failing(item) if item.name == "broker" else item for item in saga.steps))
            for saga in bench.sagas
        ]
        for attempts in (1, 2):
            assert not await bench.runner(sagas).attempt(decision)
            steps = home.as_owner("SELECT step, state, attempts FROM saga_steps ORDER BY entry")
            assert steps == [("certificates", "done", 1), ("broker", "failing", attempts)]
        assert transactions(home) == []
        assert await bench.runner().attempt(decision)
    assert transactions(home) == [(0, "admit")]


def failing(step: Step) -> Step:
    """A step that fails for a reason nobody has thought of."""

    async def run(decision: Decision) -> str:
        raise RuntimeError(f"no {step.name} for {decision.member}")

    return replace(step, run=run)


async def test_every_step_is_recorded_with_its_time(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
    rows = home.as_owner("SELECT started_ms, finished_ms, took_us, detail FROM saga_steps ORDER BY entry")
    for started_ms, finished_ms, took_us, detail in rows:
        assert 0 < took_us <= (finished_ms - started_ms + 2) * 1000
        assert detail
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
