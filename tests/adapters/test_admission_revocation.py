"""Revocation: the promise of less than one second, and that nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from cryptography import x509

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.membership import membership_of
from minervas_core.messages import MembershipBatch
from minervas_core.transactions import Revoke, decode_transaction
from minervas_runtime.bus import BusDenied, BusRefused, Message
from minervas_runtime.mqtt_bus import MqttBus
from minervas_runtime.tls_diagnosis import diagnose
from tests.support.admission import AdmissionHome, Applicant
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.fix_broker import QUIET_S
from tests.support.promises import kept_within
from tests.support.wait import HANG_S, wait_until_async

PROMISE_S = 1.0
"""Sessions ended, last message seen and handshakes refused: design section 7."""


class Chatter:
    """Publishes numbered messages, as fast as the broker takes them, until it is stopped or refused."""

    def __init__(self, bus: MqttBus, member: str) -> None:
        self.sent = 0
        self._topic = f"mesh/v1/{member}/peer/hello"
        self._bus = bus
        self.task = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        while True:
            await self._bus.publish(self._topic, str(self.sent).encode())
            self.sent += 1

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Audience:
    """Hears what all peers publish."""

    def __init__(self) -> None:
        self.heard: dict[str, list[int]] = {}
        self.last_at: dict[str, float] = {}

    def hear(self, message: Message) -> None:
        member = message.topic.split("/")[2]
        self.heard.setdefault(member, []).append(int(message.payload))
        self.last_at[member] = time.time()


def connection_losses(bus: MqttBus) -> list[float]:
    """A list that gets the time of every loss of a connection."""
    losses: list[float] = []
    bus.on_connection_change(lambda connected: None if connected else losses.append(time.time()))
    return losses


def probe(home: AdmissionHome, setting: AdmissionWithBroker, name: str) -> tuple[str, str]:
    """What the broker says to a new handshake with a member's certificate."""
    member, service = name.split(".")
    folder = home.root / "members" / member
    files = (folder / "ca.crt", folder / f"{service}.crt", folder / f"{service}.key")
    found = diagnose(setting.broker.host, setting.broker.port, *files, quiet_s=QUIET_S)
    return found.verdict, found.alert


async def until_refused(look: Callable[[], tuple[str, str]]) -> float:
    """When the first new handshake was refused because the certificate is revoked."""
    while True:
        verdict, alert = await asyncio.to_thread(look)
        if verdict == "refused" and "CERTIFICATE_REVOKED" in alert:
            return time.time()


STEPS_OF = "FROM saga_steps s JOIN decisions d ON d.id = decision WHERE kind = 'revoke' AND member = %s"


def steps(home: AdmissionHome, member: str) -> dict[str, str]:
    """Where each step of a member's revocation stands, in the order of their first attempts."""
    return dict(home.as_owner(f"SELECT step, s.state {STEPS_OF} ORDER BY entry", member))


def decided_at(home: AdmissionHome, member: str) -> float:
    """When the operator decided to revoke a member, in seconds since the epoch."""
    [[made_ms]] = home.as_owner("SELECT made_ms FROM decisions WHERE kind = 'revoke' AND member = %s", member)
    return float(made_ms) / 1000


async def started(home: AdmissionHome, setting: AdmissionWithBroker, member: str) -> MqttBus:
    applicant = Applicant(member)
    home.install(applicant, await home.admit(applicant))
    bus = home.bus(setting.broker, member, "peer")
    await bus.start()
    return bus


async def test_a_member_that_talks_without_pause_is_out_within_a_second_and_nobody_else_notices(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running_process():
        listener, other = [await started(home, admission_and_broker, name) for name in ("beta", "gamma")]
        audience = Audience()
        await listener.subscribe("mesh/v1/+/+/hello", audience.hear)
        losses = {bus.principal: connection_losses(bus) for bus in (listener, other)}
        small_talk = Chatter(other, "gamma")

        async def revoke(number: int) -> float:
            """Revoke a member that talks; seconds until the last sign of it."""
            name = f"alpha-{number}"
            victim = await started(home, admission_and_broker, name)
            lost, talk = connection_losses(victim), Chatter(victim, name)
            await wait_until_async(lambda: len(audience.heard.get(name, [])) > 200)
            refused = asyncio.create_task(until_refused(lambda: probe(home, admission_and_broker, f"{name}.miner")))
            await home.decisions().revoke(name, "test", confirmed=True)
            async with asyncio.timeout(HANG_S):
                refused_at = await refused
            with pytest.raises((BusRefused, BusDenied)):  # 2.1 answers the last publication before it ends the session
                await talk.task
            await wait_until_async(lambda: lost, describe="the end of the session")
            await victim.stop()
            return max(lost[0], audience.last_at[name], refused_at) - decided_at(home, name)

        await kept_within(PROMISE_S, revoke)
        heard_before = len(audience.heard["gamma"])
        await wait_until_async(lambda: len(audience.heard["gamma"]) > heard_before + 100)
        await small_talk.stop()
        await wait_until_async(lambda: len(audience.heard["gamma"]) >= small_talk.sent)
        assert audience.heard["gamma"] == list(range(len(audience.heard["gamma"])))
        assert losses == {"beta.peer": [], "gamma.peer": []}
        assert (await asyncio.to_thread(probe, home, admission_and_broker, "beta.ledger"))[0] == "accepted"
        for bus in (listener, other):
            await bus.stop()
    assert list(steps(home, "alpha-0").items()) == [
        (name, "done") for name in ("database", "broker", "revocation_list", "transaction", "readers", "grafana")
    ]


async def test_all_services_of_the_member_are_out(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running():
        await (await started(home, admission_and_broker, "alpha")).stop()
        await home.decisions().revoke("alpha", "test", confirmed=True)
        for service in ("peer", "miner", "ledger"):
            await until_refused(lambda name=f"alpha.{service}": probe(home, admission_and_broker, name))  # type: ignore[misc]
    crl = x509.load_pem_x509_crl((home.export_dir / "ca.crl").read_bytes())
    serials = {int(serial, 16) for (serial,) in home.as_owner("SELECT serial FROM certificates WHERE member = 'alpha'")}
    assert {entry.serial_number for entry in crl} == serials
    assert len(serials) == 3
    rights = admission_and_broker.broker.rights_file.read_text()
    assert "alpha" not in rights
    assert "consortium.admission" in rights


async def test_the_chain_is_told_until_it_reports(admission_and_broker: AdmissionWithBroker) -> None:
    """The revocation is broadcast again and again, in admission's order, signed for everybody to check."""
    home = admission_and_broker.home
    batches: list[MembershipBatch] = []
    async with home.running():
        listener = await started(home, admission_and_broker, "beta")
        await (await started(home, admission_and_broker, "alpha")).stop()
        await listener.subscribe(
            "mesh/v1/+/+/tx", lambda message: batches.append(decode(message.payload, MembershipBatch, max_bytes=10**6))
        )
        await home.decisions().revoke("alpha", "test", confirmed=True)
        batches.clear()
        await wait_until_async(lambda: len(batches) >= 3)
        await listener.stop()
    for batch in batches[1:]:
        assert (batch.first, batch.total, len(batch.transactions)) == (0, 3, 3)
        change = membership_of(decode_transaction(bytes(batch.transactions[2]))).change
        assert isinstance(change, Revoke)
        assert change.member == "alpha"


async def test_a_revoked_member_gets_nothing_more_and_its_name_is_gone_for_ever(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    alpha = Applicant("alpha")
    async with home.running():
        receipt = await home.apply(alpha.application())
        await home.decisions().approve("alpha", confirmed=True)
        await home.decisions().revoke("alpha", "did not pay", confirmed=True)
        state = await home.state(receipt)
        assert (state.state, state.reason) == ("rejected", "the membership was revoked: did not pay")
        for again in (Applicant("alpha").application(), alpha.application(member="alpha2", services=[])):
            async with home.http() as client:
                answer = await client.post("/v1/applications", content=encode(again))
            assert answer.status_code in (409, 422)
    with pytest.raises(LocalFault) as refusal:
        await home.decisions().revoke("alpha", "again", confirmed=True)
    assert refusal.value.code == Code.NOT_FOUND
    with pytest.raises(LocalFault):
        await home.decisions().revoke("nobody", "test", confirmed=True)


async def test_a_broker_that_is_away_does_not_hold_up_the_revocation_list(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    """The list is out within the second; the session ends, and the rights are gone, as soon as the broker is back."""
    home, broker = admission_and_broker.home, admission_and_broker.broker

    async def revoke(number: int) -> float:
        """Revoke while the broker is away; seconds until the list was out."""
        name = f"alpha-{number}"
        await (await started(home, admission_and_broker, name)).stop()
        broker.stop()
        revoking = asyncio.create_task(home.decisions().revoke(name, "test", confirmed=True))
        await wait_until_async(lambda: steps(home, name).get("revocation_list") == "done")
        await wait_until_async(lambda: "broker" in steps(home, name))
        assert steps(home, name)["broker"] == "failing"
        assert len(list(x509.load_pem_x509_crl((home.export_dir / "ca.crl").read_bytes()))) == 3 * (number + 1)
        [[listed_ms]] = home.as_owner(f"SELECT s.finished_ms {STEPS_OF} AND step = 'revocation_list'", name)
        broker.start()
        assert (await asyncio.to_thread(probe, home, admission_and_broker, f"{name}.peer"))[0] == "refused"
        await revoking
        assert name not in broker.rights_file.read_text()
        assert steps(home, name)["broker"] == "done"
        return float(listed_ms) / 1000 - decided_at(home, name)

    async with home.running():
        await kept_within(PROMISE_S, revoke)


async def test_revoking_overtakes_an_approval_that_waits_for_the_broker(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    async with home.running():
        receipt = await home.apply(Applicant("alpha").application())
        broker.stop()
        with pytest.raises(TransientFault):
            await home.decisions(timeout_s=0.5).approve("alpha", confirmed=True)
        with pytest.raises(TransientFault):
            await home.decisions(timeout_s=1.0).revoke("alpha", "changed our mind", confirmed=True)
        broker.start()
        await wait_until_async(lambda: not home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued'"))
        assert (await home.state(receipt)).state == "rejected"
    assert home.as_owner("SELECT kind, state FROM decisions ORDER BY id") == [
        ("approve", "superseded"),
        ("revoke", "done"),
    ]
    assert home.as_owner("SELECT count(*) FROM membership_transactions") == [(0,)]
    assert "alpha" not in broker.rights_file.read_text()
    assert len(list(x509.load_pem_x509_crl((home.export_dir / "ca.crl").read_bytes()))) == 3
