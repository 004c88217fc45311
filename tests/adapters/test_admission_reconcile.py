"""The broker's clients and roles are repaired from the database, and admission never locks itself out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from minervas_admission.dynsec import DynsecClient, DynsecRefused
from minervas_admission.dynsec_roles import acl_objects, acls_of
from minervas_admission.sagas.grafana import NOT_SET_UP
from minervas_core.errors import Code, TransientFault
from minervas_core.rights import ADMISSION, rights_for
from minervas_devnet.broker import BrokerServer
from minervas_runtime.bus import BusRefused, Message
from tests.support.admission import SERVICES, AdmissionHome, Applicant, SagaBench
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

EVERYTHING = [
    {"acltype": kind, "topic": "#", "priority": 0, "allow": True}
    for kind in ("publishClientSend", "publishClientReceive", "subscribePattern")
]


@pytest.fixture
async def bench(admission_and_broker: AdmissionWithBroker) -> AsyncIterator[SagaBench]:
    """A consortium with the member alpha, and the broker's control client without a service beside it."""
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
    async with SagaBench(home) as running:
        yield running


async def picture(dynsec: DynsecClient) -> dict[str, Any]:
    """All clients and roles, in an order that can be compared."""
    clients = await dynsec.list_all("listClients", "clients")
    roles = await dynsec.list_all("listRoles", "roles")
    return {
        "clients": {item["username"]: sorted(role["rolename"] for role in item["roles"]) for item in clients},
        "roles": {
            item["rolename"]: sorted((acl["acltype"], acl["topic"], acl["allow"]) for acl in item["acls"])
            for item in roles
        },
        "groups": await dynsec.list_all("listGroups", "groups"),
        "defaults": (await dynsec.execute([{"command": "getDefaultACLAccess"}]))[0].check(),
    }


async def test_what_is_right_is_left_alone(bench: SagaBench) -> None:
    before = await picture(bench.dynsec)
    assert await bench.rights.reconcile() == []
    assert await picture(bench.dynsec) == before
    assert sorted(before["clients"]) == sorted(["consortium.admission", *(f"alpha.{name}" for name in SERVICES)])


LOST = ("publishClientSend", "mesh/v1/consortium/admission/tx", True)

DAMAGE: dict[str, list[dict[str, Any]]] = {
    "lost client": [{"command": "deleteClient", "username": "alpha.peer"}],
    "lost role": [{"command": "deleteRole", "rolename": "p-alpha.miner"}],
    "lost all": [{"command": "deleteClient", "username": f"alpha.{name}"} for name in SERVICES]
    + [{"command": "deleteRole", "rolename": f"p-alpha.{name}"} for name in SERVICES],
    "extra client": [{"command": "createClient", "username": "mallory.peer"}],
    "client with a password": [{"command": "createClient", "username": "democlient", "password": "secret"}],
    "extra role": [{"command": "createRole", "rolename": "everything", "acls": EVERYTHING}],
    "extra group": [{"command": "createGroup", "groupname": "friends", "roles": []}],
    "right too many": [
        {"command": "addRoleACL", "rolename": "p-alpha.peer", "acltype": "publishClientSend", "topic": "mesh/v1/beta/#",
         "priority": 0, "allow": True},
    ],
    "right too few": [
        {"command": "removeRoleACL", "rolename": "p-alpha.peer", "acltype": "publishClientSend",
         "topic": "mesh/v1/alpha/peer/hello"},
    ],
    "right denied": [
        {"command": "removeRoleACL", "rolename": "p-alpha.peer", "acltype": "publishClientSend",
         "topic": "mesh/v1/alpha/peer/hello"},
        {"command": "addRoleACL", "rolename": "p-alpha.peer", "acltype": "publishClientSend",
         "topic": "mesh/v1/alpha/peer/hello", "priority": 9, "allow": False},
    ],
    "second role": [
        {"command": "createRole", "rolename": "everything", "acls": EVERYTHING},
        {"command": "addClientRole", "username": "alpha.peer", "rolename": "everything", "priority": 1},
    ],
    "disabled client": [{"command": "disableClient", "username": "alpha.ledger"}],
    "open by default": [
        {"command": "setDefaultACLAccess", "acls": [{"acltype": "publishClientSend", "allow": True},
                                                    {"acltype": "subscribe", "allow": True}]},
    ],
    "own right lost": [
        {"command": "modifyRole", "rolename": "p-consortium.admission",
         "acls": [*acl_objects(acls_of(rights_for(ADMISSION, operator_member="")) - {LOST})]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_repaired_and_reported(bench: SagaBench, damage: str) -> None:
    before = await picture(bench.dynsec)
    await bench.dynsec.succeed(DAMAGE[damage])
    assert await picture(bench.dynsec) != before or damage == "disabled client"
    changes = await bench.rights.reconcile()
    assert changes, "nothing was reported"
    assert await picture(bench.dynsec) == before
    assert await bench.rights.reconcile() == []


async def test_more_clients_than_fit_into_one_answer_are_seen(bench: SagaBench) -> None:
    names = [f"extra-{number}.peer" for number in range(230)]
    await bench.dynsec.succeed([{"command": "createClient", "username": name} for name in names])
    changes = await bench.rights.reconcile()
    assert {change.subject for change in changes} == set(names)
    assert len((await picture(bench.dynsec))["clients"]) == 1 + len(SERVICES)


async def test_the_own_client_is_never_withdrawn(bench: SagaBench) -> None:
    await bench.rights.withdraw(["consortium.admission", "alpha.peer"])
    assert "consortium.admission" in (await picture(bench.dynsec))["clients"]


async def test_withdrawing_what_is_gone_is_fine(bench: SagaBench) -> None:
    for _ in range(2):
        await bench.rights.withdraw(["alpha.peer", "nobody.miner"])
    assert sorted((await picture(bench.dynsec))["clients"]) == ["alpha.ledger", "alpha.miner", "consortium.admission"]


async def test_an_error_of_the_plugin_is_raised_with_its_sentence(bench: SagaBench) -> None:
    with pytest.raises(DynsecRefused) as refusal:
        await bench.dynsec.succeed([{"command": "deleteClient", "username": "nobody"}])
    assert refusal.value.reason == "Client not found"
    with pytest.raises(DynsecRefused):
        await bench.dynsec.succeed([{"command": "noSuchCommand"}])


async def test_each_answer_goes_to_the_command_that_it_answers(bench: SagaBench) -> None:
    asked = [[{"command": "getRole", "rolename": f"p-alpha.{name}"}] for name in SERVICES] * 20
    answers = await asyncio.gather(*(bench.dynsec.execute(commands) for commands in asked))
    for commands, [answer] in zip(asked, answers, strict=True):
        assert answer.check()["role"]["rolename"] == commands[0]["rolename"]


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"{}", b'{"responses":3}', b'{"responses":[1,null,{}]}'])
async def test_answers_that_are_not_understood_are_ignored(bench: SagaBench, payload: bytes) -> None:
    bench.dynsec._receive(Message("$CONTROL/dynamic-security/v1/response", payload))
    assert await bench.rights.reconcile() == []


async def test_without_an_answer_a_command_fails_in_time(
    admission_and_broker: AdmissionWithBroker, bench: SagaBench
) -> None:
    admission_and_broker.broker.stop()
    for attempt in (bench.rights.withdraw(["alpha.peer"]), bench.rights.reconcile(), bench.rights.grant("alpha")):
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransientFault) as refusal:
            await attempt
        assert refusal.value.code in (Code.BUS_OFFLINE, Code.TIMEOUT)
        assert asyncio.get_running_loop().time() - began < 1.0


def clients_on_disk(broker: BrokerServer) -> set[str]:
    """The clients that the broker has stored; none while it is just writing."""
    try:
        return {client["username"] for client in json.loads(broker.rights_file.read_text())["clients"]}
    except (FileNotFoundError, json.JSONDecodeError):
        return set()


async def test_a_broker_that_lost_its_memory_is_repaired_when_it_comes_back(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        await home.admit(Applicant("alpha"))
        whole = clients_on_disk(broker)
        broker.stop()
        broker.rights_file.unlink()
        broker.start()
        await wait_until_async(lambda: clients_on_disk(broker) == whole)
        await wait_until_async(lambda: "create client alpha.peer" in str(repairs(home)))


def repairs(home: AdmissionHome) -> list[tuple[str, ...]]:
    return home.as_owner("SELECT details FROM audit_log WHERE action = 'repair broker'")


async def test_an_old_memory_with_a_revoked_member_is_repaired_at_the_start_of_admission(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        await home.admit(Applicant("alpha"))
        old = broker.rights_file.read_bytes()
        await home.decisions().revoke("alpha", "test", confirmed=True)
    broker.stop()
    broker.rights_file.write_bytes(old)
    broker.start()
    assert "alpha.peer" in clients_on_disk(broker)
    async with home.running():
        await wait_until_async(lambda: clients_on_disk(broker) == {"consortium.admission"})


async def test_the_operator_can_ask_for_a_reconciliation(
    admission_and_broker: AdmissionWithBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        await home.admit(Applicant("alpha"))
        before = (home.export_dir / "ca.crl").read_bytes()
        capsys.readouterr()
        await home.decisions().reconcile()
    report = json.loads(capsys.readouterr().out)
    assert report["state"] == "done"
    assert [(step["step"], step["detail"]) for step in report["steps"]] == [
        ("broker", "nothing to repair"),
        ("revocation_list", "0 certificates on the list"),
        ("grafana", NOT_SET_UP),
    ]
    assert (home.export_dir / "ca.crl").read_bytes() != before
    assert "alpha.peer" in clients_on_disk(broker)


async def test_certificates_that_have_expired_are_swept_from_the_broker(bench: SagaBench) -> None:
    """The broker never ends a session because its certificate expires."""
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE certificates SET not_after_ms = 1000 WHERE principal = 'alpha.miner'")
    assert {str(change) for change in await bench.rights.reconcile()} == {
        "delete client alpha.miner",
        "delete role p-alpha.miner",
    }


async def test_a_live_session_whose_certificate_has_expired_is_ended(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        alpha = Applicant("alpha")
        home.install(alpha, await home.admit(alpha))
        bus = home.bus(admission_and_broker.broker, "alpha", "peer")
        await bus.start()
        home.as_owner("UPDATE certificates SET not_after_ms = 1000 WHERE principal = 'alpha.peer'")
        await home.decisions().reconcile()
        await wait_until_async(lambda: bus.refusal is not None, describe="the end of the session")
        with pytest.raises(BusRefused):
            await bus.publish("mesh/v1/alpha/peer/hello", b"{}")
        await bus.stop()


def test_disable_client_is_used_nowhere() -> None:
    """With certificates the plugin does not look at that flag when the client comes back (mosquitto issue 2999)."""
    source = Path(__file__).parents[2] / "services" / "admission" / "src"
    users = [file.name for file in source.rglob("*.py") if '"disableClient"' in file.read_text("utf-8")]
    assert users == []
