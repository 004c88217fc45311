"""`join --replace` in admission: who may ask, what the operator sees, what becomes of the lost node and the new one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_admission.commands.show import show_pending
from minervas_admission.store.database import Database
from minervas_admission.store.member_keys import current_keys, current_wallets
from minervas_core.encoding import encode
from minervas_core.enrolment import Application, ApplicationReceipt, Grant, check_application
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.genesis import load_genesis
from minervas_core.keys import SigningKey
from minervas_core.market.records import Channel, MeterDeclaration
from minervas_core.membership import apply_membership, check_membership, check_membership_alone, membership_of
from minervas_core.state import ChainState
from minervas_core.transactions import Recover, Rotate, decode_transaction
from minervas_runtime.bus import BusRefused
from tests.support.admission import SERVICES, AdmissionHome, Applicant, grant_of
from tests.support.admission_crashes import crash_in, transactions
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

STEPS = ("transaction", "sessions", "revocation_list", "certificates", "broker", "grant")
GATEWAY = "meter-gateway"
ROOF = MeterDeclaration(
    meter="roof", model="sdm630", register_step_wh=1, channels=[Channel(name="array", rated_w=5_000)]
)


def metering(member: str, *meters: MeterDeclaration) -> tuple[Applicant, Application]:
    """An applicant with a meter-gateway, and its application."""
    applicant = Applicant(member)
    applicant.signing[GATEWAY] = SigningKey(os.urandom(32))
    applicant.tls[GATEWAY] = ec.generate_private_key(ec.SECP256R1())
    claims = [applicant.enrolment(name) for name in SERVICES]
    return applicant, applicant.application(services=[*claims, applicant.enrolment(GATEWAY, meters=list(meters))])


async def refusal(home: AdmissionHome, application: Application) -> str:
    """Code with which an application is refused."""
    async with home.http() as client:
        answer = await client.post("/v1/applications", content=encode(application))
    assert answer.status_code >= 400
    return str(answer.json()["code"])


async def recorded(command: Awaitable[None]) -> None:
    """Decide while no service runs: the decision waits."""
    with pytest.raises(TransientFault) as refused:
        await command
    assert refused.value.code == Code.NOT_READY


async def applied(home: AdmissionHome, lost: Applicant, fresh: Applicant) -> ApplicationReceipt:
    """A member whose node is lost, and the application of its new node."""
    home.install(lost, await home.admit(lost))
    return await home.apply(fresh.application(kind="replace"))


async def works(setting: AdmissionWithBroker, applicant: Applicant, grant: Grant) -> None:
    """Check that every service of a granted node gets onto the broker."""
    folder = setting.home.root / "members" / applicant.member
    folder.rename(folder.with_name(f"{applicant.member}-{secrets.token_hex(4)}"))
    setting.home.install(applicant, grant)
    for service in SERVICES:
        bus = setting.home.bus(setting.broker, applicant.member, service)
        await bus.start()
        await bus.publish(f"mesh/v1/{applicant.member}/{service}/presence", b"{}")
        await bus.stop()


# who may ask


async def test_a_replacement_needs_an_active_member(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        assert await refusal(home, Applicant("alpha").application(kind="replace")) == Code.MEMBER_UNKNOWN
        await home.admit(Applicant("alpha"))
        assert await refusal(home, Applicant("alpha").application()) == Code.MEMBER_EXISTS
        await home.apply(Applicant("alpha").application(kind="replace"))
        assert await refusal(home, Applicant("alpha").application(kind="replace")) == Code.MEMBER_EXISTS
        await home.decisions().revoke("alpha", "", confirmed=True)
        assert await refusal(home, Applicant("alpha").application(kind="replace")) == Code.MEMBER_REVOKED
        with pytest.raises(LocalFault) as caught:
            await home.decisions().approve("alpha", confirmed=True)
    assert caught.value.code == Code.NOT_FOUND


async def test_a_replacement_brings_keys_that_nobody_had(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        lost = Applicant("alpha")
        await home.admit(lost)
        again = Applicant("alpha", box=lost.box)
        assert await refusal(home, again.application(kind="replace")) == Code.KEY_REUSED


async def test_a_rejected_replacement_leaves_the_member_alone(admission_and_broker: AdmissionWithBroker) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        receipt = await applied(home, Applicant("alpha"), fresh := Applicant("alpha"))
        await home.decisions().reject("alpha", "it was not us")
        assert (await home.state(receipt)).state == "rejected"
        await home.apply(fresh.application(kind="replace"))
        bus = home.bus(broker, "alpha", "peer")
        await bus.start()
        await bus.publish("mesh/v1/alpha/peer/presence", b"{}")
        await bus.stop()
    assert transactions(home) == [(0, "admit")]


async def test_the_operator_sees_that_it_is_a_replacement(
    admission_and_broker: AdmissionWithBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await applied(home, Applicant("alpha"), Applicant("alpha"))
        capsys.readouterr()
        await show_pending(home.settings, as_json=False)
        assert "REPLACEMENT of the node of a member" in capsys.readouterr().out
        await show_pending(home.settings, as_json=True)
        said = capsys.readouterr().out
    assert '"kind": "replace"' in said
    assert "Call the member by a number that you know" in said


# what becomes of the two nodes


async def test_the_lost_node_is_out_and_the_new_one_in(admission_and_broker: AdmissionWithBroker) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    lost, fresh = Applicant("alpha"), Applicant("alpha")
    async with home.running():
        first = await home.apply(lost.application())
        await home.decisions().approve("alpha", confirmed=True)
        home.install(lost, grant_of(await home.state(first)))
        receipt = await home.apply(fresh.application(kind="replace"))
        thief = home.bus(broker, "alpha", "peer")
        await thief.start()
        await home.decisions().approve("alpha", confirmed=True)
        await wait_until_async(lambda: thief.refusal is not None)
        await thief.stop()
        with pytest.raises(BusRefused):
            await home.bus(broker, "alpha", "miner").start()
        await works(admission_and_broker, fresh, grant_of(await home.state(receipt)))
        told = await home.state(first)
    assert (told.state, told.reason) == ("rejected", "the node was replaced by another one")
    assert home.as_owner("SELECT member, state FROM members") == [("alpha", "active")]


async def test_what_is_signed_gives_the_new_node_all_keys_and_the_wallet_after_the_wait(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    lost, application = metering("alpha", ROOF)
    fresh, again = metering("alpha", ROOF)
    async with home.running():
        await home.apply(application)
        await home.decisions().approve("alpha", confirmed=True)
        receipt = await home.apply(_replacing(again))
        await home.decisions().approve("alpha", confirmed=True)
        grant = grant_of(await home.state(receipt))
    assert [action for _, action in transactions(home)] == ["admit", "register_meter", "rotate", "recover"]
    assert sorted(grant.certificates) == sorted([*SERVICES, GATEWAY])
    genesis = load_genesis(bytes(grant.genesis))
    state = ChainState.fresh(genesis)
    for height, (raw,) in enumerate(home.as_owner("SELECT raw FROM membership_transactions ORDER BY number"), 1):
        transaction = decode_transaction(bytes(raw))
        check_membership_alone(transaction, genesis)
        check_membership(state, transaction)
        apply_membership(state, transaction, height)
    record = state.roster.active("alpha")
    assert record is not None
    assert record.keys.wallet == lost.signing["peer"].public
    assert (record.keys.box, record.keys.block) == (fresh.box.public, fresh.signing["miner"].public)
    assert record.keys.vote == fresh.signing["ledger"].public
    assert state.market.meter("alpha/roof").gateway == fresh.signing[GATEWAY].public
    pending = state.governance.recoveries.get("alpha")
    assert pending is not None
    assert pending.wallet == fresh.signing["peer"].public
    shown = [membership_of(decode_transaction(bytes(raw))).change for raw in grant.membership]
    assert [type(change) for change in shown[1:]] == [Rotate, Recover]


def _replacing(application: Application) -> Application:
    return Application(
        **{**{name: getattr(application, name) for name in application.__struct_fields__}, "kind": "replace"}
    )


async def test_a_replacement_with_a_meter_that_the_member_does_not_have_is_refused(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
        assert await refusal(home, _replacing(metering("alpha", ROOF)[1])) == Code.BAD_ENROLMENT


async def test_the_new_wallet_speaks_to_admission_as_soon_as_the_replacement_is_signed(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    """A thief of the lost node must not renew its certificates while the recovery waits."""
    home = admission_and_broker.home
    lost, fresh = Applicant("alpha"), Applicant("alpha")
    database = Database(home.settings.database, application="test")
    async with home.running():
        await applied(home, lost, fresh)
        async with database.transaction() as connection:
            assert await current_wallets(connection, "alpha") == (lost.signing["peer"].public,)
        await home.decisions().approve("alpha", confirmed=True)
        async with database.transaction() as connection:
            found = await current_keys(connection, "alpha")
            assert await current_wallets(connection, "nobody") == ()
    await database.close()
    assert found is not None
    assert found.wallets == (fresh.signing["peer"].public,)
    assert found.keys == check_application(fresh.application())


async def test_a_replacement_waits_for_the_broker_but_the_old_certificates_end_at_once(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    fresh = Applicant("alpha")
    async with home.running():
        receipt = await applied(home, Applicant("alpha"), fresh)
        broker.stop()
        with pytest.raises(TransientFault):
            await home.decisions(timeout_s=0.1).approve("alpha", confirmed=True)
        await wait_until_async(
            lambda: home.as_owner("SELECT 1 FROM saga_steps WHERE step = 'certificates' AND state = 'failing'")
        )
        assert home.as_owner("SELECT state FROM saga_steps WHERE step = 'revocation_list'") == [("done",)]
        assert home.as_owner("SELECT count(*) FROM certificates WHERE revoked_ms IS NULL AND member = 'alpha'") == [
            (0,)
        ]
        broker.start()
        await wait_until_async(lambda: not home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued'"))
        await works(admission_and_broker, fresh, grant_of(await home.state(receipt)))


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_replacement_is_finished_after_a_crash_in_any_step(
    admission_and_broker: AdmissionWithBroker, step: str, after_effect: bool
) -> None:
    home = admission_and_broker.home
    fresh = Applicant("alpha")
    async with home.running():
        receipt = await applied(home, Applicant("alpha"), fresh)
    await recorded(home.decisions().approve("alpha", confirmed=True))
    await crash_in(admission_and_broker, "replace", step, after_effect=after_effect)
    async with home.running():
        await wait_until_async(lambda: not home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued'"))
        await works(admission_and_broker, fresh, grant_of(await home.state(receipt)))
    assert [action for _, action in transactions(home)] == ["admit", "rotate", "recover"]
    valid = home.as_owner("SELECT principal FROM certificates WHERE member = 'alpha' AND revoked_ms IS NULL")
    assert sorted(name for (name,) in valid) == [f"alpha.{service}" for service in sorted(SERVICES)]
