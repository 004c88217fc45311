"""Approval: what an applicant gets, and that it works on the real broker exactly as far as the rights table says."""

from __future__ import annotations

import asyncio
import json
from itertools import product
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from minervas_admission.authority import load_consortium
from minervas_admission.dynsec_roles import ALL_DENIED, acls_of, role_name
from minervas_core.enrolment import ApplicationReceipt, BrokerAddress, Grant
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.genesis import load_genesis
from minervas_core.identifiers import Principal
from minervas_core.membership import apply_membership, check_membership, check_membership_alone
from minervas_core.rights import ADMISSION, Rights, rights_for
from minervas_core.state import ChainState
from minervas_core.topics import matches
from minervas_core.transactions import check_signature, decode_transaction
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.bus import BusDenied
from minervas_runtime.clock import SystemClock
from minervas_runtime.memory_bus import covers
from minervas_runtime.mqtt_bus import MqttBus
from tests.support.admission import OPERATOR_MEMBER, SERVICES, AdmissionHome, Applicant, grant_of
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

MEMBERS = ("alpha", "beta", "consortium")
KINDS = ("hello", "tx", "block", "vote", "presence", "reading", "other")


def topics() -> list[str]:
    """Topics inside and outside of everybody's rights."""
    mesh = [f"mesh/v1/{m}/{s}/{kind}" for m, s, kind in product(MEMBERS, (*SERVICES, "admission"), KINDS)]
    inbox = [
        f"inbox/v1/{to}/{service}/{sender}/{of}/request"
        for to, service, sender, of in product(MEMBERS, ("peer", "ledger", "miner"), ("alpha", "beta"), SERVICES)
    ]
    odd = ["mesh/v1/alpha/peer/hello/more", "mesh/v1/alphax/peer/hello", "alpha", "mesh", "homeassistant/a/b/c/config"]
    control = ["$CONTROL/dynamic-security/v1", "$SYS/broker/version"]
    return [*mesh, *inbox, *odd, *control, "inbox/v1/consortium/admission/alpha/peer/get_membership"]


def filters() -> list[str]:
    """Subscriptions inside and outside of everybody's rights."""
    mesh = [f"mesh/v1/{m}/{s}/{kind}" for m, s, kind in product(("+", "alpha", "beta"), ("+", "ledger"), KINDS)]
    inbox = [f"inbox/v1/{m}/{s}/+/+/+" for m, s in product(("+", "alpha", "beta"), ("+", *SERVICES))]
    odd = ["#", "+/#", "mesh/#", "mesh/v1/alpha/#", "$SYS/#", "$CONTROL/#", "$CONTROL/dynamic-security/#"]
    shared = ["$share/g/mesh/v1/+/+/tx", "$share/g/inbox/v1/beta/peer/+/+/+"]
    return [*mesh, *inbox, *odd, *shared]


async def may_publish(bus: MqttBus, topic: str) -> bool:
    try:
        await bus.publish(topic, b"{}")
    except BusDenied:
        return False
    return True


async def may_subscribe(bus: MqttBus, topic_filter: str) -> bool:
    try:
        await bus.subscribe(topic_filter, lambda _: None)
    except BusDenied:
        return False
    return True


@pytest.mark.parametrize("member", ["alpha", OPERATOR_MEMBER])
async def test_a_member_has_exactly_the_rights_of_the_table(
    admission_and_broker: AdmissionWithBroker, member: str
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    applicant = Applicant(member)
    async with home.running():
        home.install(applicant, await home.admit(applicant))
        for service in SERVICES:
            rights = rights_for(Principal(member, service), operator_member=OPERATOR_MEMBER)
            bus = home.bus(broker, member, service)
            await bus.start()
            for topic in (text.replace("alpha", member) for text in topics()):
                wanted = any(matches(allowed, topic) for allowed in rights.publish)
                assert await may_publish(bus, topic) == wanted, (service, topic)
            for topic_filter in (text.replace("alpha", member) for text in filters()):
                wanted = any(covers(allowed, topic_filter) for allowed in rights.subscribe)
                assert await may_subscribe(bus, topic_filter) == wanted, (service, topic_filter)
            await bus.stop()


async def test_a_certificate_alone_allows_nothing(admission_and_broker: AdmissionWithBroker) -> None:
    """As after a crash between certificate and broker rights, or with a certificate of a deleted client."""
    home, broker = admission_and_broker.home, admission_and_broker.broker
    stranger = Applicant("stranger")
    async with home.running():
        home.install(stranger, sign_without_approval(home, stranger))
        bus = home.bus(broker, "stranger", "peer")
        await bus.start()
        assert not [topic for topic in topics() if await may_publish(bus, topic.replace("alpha", "stranger"))]
        assert not [topic for topic in filters() if await may_subscribe(bus, topic.replace("alpha", "stranger"))]
        await bus.stop()


def sign_without_approval(home: AdmissionHome, applicant: Applicant) -> Grant:
    """Certificates that the CA signed although nobody approved the applicant."""
    consortium = load_consortium(home.settings)
    now_ms = SystemClock().now_ms()
    certificates = {
        service: consortium.authority.issue_client(
            f"{applicant.member}.{service}", applicant.tls[service].public_key(), now_ms
        ).pem
        for service in SERVICES
    }
    return Grant(
        ca_pem=consortium.authority.pem,
        certificates=certificates,
        genesis=msgspec.Raw(consortium.genesis.raw),
        membership=[],
        broker=BrokerAddress(host="localhost", port=1),
    )


async def test_what_is_granted_fits_together(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    applicant = Applicant("alpha")
    async with home.running():
        grant = await home.admit(applicant)
    ca = x509.load_pem_x509_certificate(grant.ca_pem.encode())
    assert sorted(grant.certificates) == sorted(SERVICES)
    for service, pem in grant.certificates.items():
        certificate = x509.load_pem_x509_certificate(pem.encode())
        certificate.verify_directly_issued_by(ca)
        assert certificate.subject.rfc4514_string() == f"CN=alpha.{service}"
        assert certificate.public_key() == applicant.tls[service].public_key()
    genesis = load_genesis(bytes(grant.genesis))
    [raw] = [bytes(item) for item in grant.membership]
    transaction = decode_transaction(raw)
    check_signature(transaction, genesis.network)
    check_membership_alone(transaction, genesis)
    state = ChainState.fresh(genesis)
    check_membership(state, transaction)
    apply_membership(state, transaction, 1)
    member = state.roster.active("alpha")
    assert member is not None
    assert member.keys.wallet == applicant.signing["peer"].public
    assert member.keys.block == applicant.signing["miner"].public
    assert member.keys.vote == applicant.signing["ledger"].public
    assert member.keys.box == applicant.box.public
    assert 0 < transaction.body.expires_height <= genesis.parameters.max_expiry_blocks
    assert (grant.broker.host, grant.broker.port) == ("127.0.0.1", admission_and_broker.broker.port)


async def test_members_are_told_the_brokers_public_address(work_dir: Path, admission_database: NodeDatabase) -> None:
    public = {"public_host": "broker.example.org", "public_port": 443}
    home = AdmissionHome(work_dir, admission_database, migrate=False, broker=public)
    async with home.running():
        receipt = await home.apply(Applicant("alpha").application())
        home.as_owner("INSERT INTO members VALUES ('alpha', %s, 'active', 1)", receipt.application_id)
        home.as_owner("UPDATE applications SET state = 'approved'")
        home.as_owner(
            "INSERT INTO certificates VALUES ('1', 'alpha.peer', 'alpha', 'client', 'x', 0, 9999999999999, 'pem')"
        )
        grant = (await home.state(receipt)).grant
    assert isinstance(grant, Grant)
    assert (grant.broker.host, grant.broker.port) == ("broker.example.org", 443)


async def test_approval_waits_for_the_broker_and_goes_on_when_it_comes(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    applicant = Applicant("alpha")
    async with home.running():
        receipt = await home.apply(applicant.application())
        broker.stop()
        approving = asyncio.create_task(home.decisions().approve("alpha", confirmed=True))
        await wait_until_async(lambda: home.as_owner("SELECT 1 FROM saga_steps WHERE state = 'failing'"))
        state = await home.state(receipt)
        assert (state.state, state.grant) == ("approving", msgspec.UNSET)
        broker.start()
        await approving
        home.install(applicant, grant_of(await home.state(receipt)))
        bus = home.bus(broker, "alpha", "peer")
        await bus.start()
        await bus.publish("mesh/v1/alpha/peer/hello", b"{}")
        await bus.stop()
    steps = home.as_owner("SELECT step, state FROM saga_steps ORDER BY entry")
    assert steps == [("certificates", "done"), ("broker", "done"), ("transaction", "done"), ("grafana", "done")]


async def test_only_what_is_pending_can_be_decided(admission_home: AdmissionHome) -> None:
    with pytest.raises(LocalFault) as refusal:
        await admission_home.decisions().approve("nobody", confirmed=True)
    assert refusal.value.code == Code.NOT_FOUND
    async with admission_home.running():
        await admission_home.apply(Applicant("alpha").application())
    await admission_home.decisions().reject("alpha", "no")
    for attempt in (
        admission_home.decisions().approve("alpha", confirmed=True),
        admission_home.decisions().reject("alpha", "again"),
    ):
        with pytest.raises(LocalFault) as refusal:
            await attempt
        assert refusal.value.code == Code.NOT_FOUND


async def test_without_a_running_service_the_decision_is_kept_and_said_so(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        receipt = await home.apply(Applicant("alpha").application())
    with pytest.raises(TransientFault) as refusal:
        await home.decisions().approve("alpha", confirmed=True)
    assert refusal.value.code == Code.NOT_READY
    assert "not running" in refusal.value.message
    async with home.running():
        await wait_until_async(lambda: is_approved(home, receipt))


async def is_approved(home: AdmissionHome, receipt: ApplicationReceipt) -> bool:
    return (await home.state(receipt)).state == "approved"


async def test_a_decision_that_takes_too_long_stands(admission_home: AdmissionHome) -> None:
    async with admission_home.running():
        await admission_home.apply(Applicant("alpha").application())
        with pytest.raises(TransientFault) as refusal:
            await admission_home.decisions(timeout_s=0.5).approve("alpha", confirmed=True)
    assert refusal.value.code == Code.TIMEOUT
    assert admission_home.as_owner("SELECT kind, state FROM decisions") == [("approve", "queued")]


def test_the_bootstrap_of_the_broker_gives_admission_its_row_of_the_table() -> None:
    file = Path(__file__).parents[2] / "infra" / "mosquitto" / "dynsec-bootstrap.json"
    content = json.loads(file.read_text("utf-8"))
    assert [client["username"] for client in content["clients"]] == [str(ADMISSION)]
    [role] = content["roles"]
    wanted = acls_of(rights_for(ADMISSION, operator_member="anybody"))
    assert {(acl["acltype"], acl["topic"], acl["allow"]) for acl in role["acls"]} == wanted
    assert role["rolename"] == role_name(ADMISSION)
    assert content["defaultACLAccess"] == ALL_DENIED


@pytest.mark.parametrize("topic", ["", "a/#/b", "a#", "a/b+", "+a/b", "a\0b", "#/a"])
def test_filters_that_no_broker_would_take_are_not_sent(topic: str) -> None:
    with pytest.raises(LocalFault):
        acls_of(Rights(publish=(topic,), subscribe=()))


def test_a_subscription_comes_with_the_right_to_receive() -> None:
    assert acls_of(Rights(publish=("a/+",), subscribe=("b/#",))) == {
        ("publishClientSend", "a/+", True),
        ("publishClientReceive", "b/#", True),
        ("subscribePattern", "b/#", True),
    }
