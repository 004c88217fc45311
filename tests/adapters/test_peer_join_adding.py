"""`minervas join --add` against the real admission: gateways and meters of a member, wherever it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from minervas_admission.ca import fingerprint
from minervas_core.addition import AdditionBody, sign_addition
from minervas_core.errors import Code, LocalFault, MinervasError, PeerFault, TransientFault
from minervas_core.keys import SigningKey
from minervas_core.market.records import MeterDeclaration
from minervas_peer.join import install as install_module
from minervas_peer.join.adding import Adding, AddOptions
from minervas_peer.join.flow import Join, JoinOptions
from minervas_peer.join.node_directory import ADDITION_FILE, NodeDirectory
from minervas_runtime.clock import SystemClock
from minervas_runtime.enrolment import load_issued, write_enrolment
from minervas_runtime.key_files import write_atomic
from tests.support.admission import AdmissionHome, declared_meter
from tests.support.applicant import MEMBER, enrol, paths
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.peer import seed
from tests.support.seed import seeded_random
from tests.support.wait import wait_until_async

SECOND = "meter-gateway-2"


def hand_in(node: Path, service: str, *meters: MeterDeclaration) -> None:
    """What a gateway does at its start."""
    write_enrolment(paths(node, service), MEMBER, service, SigningKey(seed(service)), meters=list(meters))


class Member:
    """A member's node, joined with the real admission."""

    def __init__(self, home: AdmissionHome, node: Path) -> None:
        self.home = home
        self.node = NodeDirectory(node)
        self.said: list[str] = []
        self.signed = 0

    @property
    def issued(self) -> Path:
        return self.node.issued

    def options(self) -> dict[str, Any]:
        authority = self.home.data.ca_certificate.read_bytes()
        return {
            "url": f"https://localhost:{self.home.http_port}",
            "ca_fingerprint": fingerprint(x509.load_pem_x509_certificate(authority)),
            "member": MEMBER,
        }

    async def join(self) -> None:
        """Become a member, a mere consumer."""
        enrol(self.node.path)
        options = JoinOptions(**self.options(), name="n", contact="c", accepts_visibility=True)
        command = Join(options, self.node, say=self.said.append, clock=SystemClock(), sleep=_short)
        joining = asyncio.create_task(asyncio.to_thread(command.run))
        await wait_until_async(lambda: self.home.as_owner("SELECT 1 FROM applications"))
        await self.home.decisions().approve(MEMBER, confirmed=True)
        await joining

    def sign(self, body: AdditionBody) -> str:
        self.signed += 1
        network = json.loads((self.issued / "membership.json").read_bytes())[0]["body"]["network"]
        return sign_addition(body, SigningKey(seed("peer")), network).signature

    async def add(self, *services: str, **changes: Any) -> None:
        options = AddOptions(**{**self.options(), "services": services, **changes})
        command = Adding(options, self.node, self.sign, say=self.said.append, clock=SystemClock(), sleep=_short)
        await asyncio.to_thread(command.run)

    async def refusal(self, *services: str, kind: type[MinervasError] = PeerFault, **changes: Any) -> MinervasError:
        with pytest.raises(kind) as refused:
            await self.add(*services, **{"timeout_s": 0.0, **changes})
        return refused.value

    async def approve(self) -> None:
        await self.home.decisions().approve(MEMBER, confirmed=True)


def _short(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


def registered(issued: Path) -> list[str]:
    found = json.loads((issued / "membership.json").read_bytes())
    return [each["body"]["change"]["meter"]["meter"] for each in found if "meter" in each["body"]["change"]]


async def test_a_consumer_adds_its_first_gateway_then_a_second_one_and_then_a_meter(
    admission_and_broker: AdmissionWithBroker, tmp_path: Path
) -> None:
    home = admission_and_broker.home
    member = Member(home, tmp_path / "node")
    async with home.running():
        await member.join()
        before = {file: file.read_bytes() for file in member.issued.rglob("*") if file.is_file()}
        steps = [
            ("meter-gateway", [declared_meter("roof")], ["roof"]),
            (SECOND, [declared_meter("barn")], ["roof", "barn"]),
            (SECOND, [declared_meter("barn"), declared_meter("shed")], ["roof", "barn", "shed"]),
        ]
        for service, meters, known in steps:
            hand_in(member.node.path, service, *meters)
            await member.refusal(service, kind=TransientFault)
            await member.approve()
            await member.add(service)
            load_issued(paths(member.node.path, service), service, MEMBER)
            assert registered(member.issued) == known
        assert member.signed == 3
        for file, content in before.items():
            assert file.name == "membership.json" or file.read_bytes() == content
        assert (await member.refusal(SECOND)).code is Code.BAD_ENROLMENT  # there is nothing new


async def test_a_gateway_on_another_host_needs_the_nodes_key_and_gets_all_that_was_issued(
    admission_and_broker: AdmissionWithBroker, tmp_path: Path
) -> None:
    home = admission_and_broker.home
    member = Member(home, tmp_path / "node")
    async with home.running():
        await member.join()
        elsewhere = Member(home, tmp_path / "elsewhere")
        elsewhere.sign = member.sign  # type: ignore[method-assign]  # the peer is on the first host
        hand_in(elsewhere.node.path, SECOND, declared_meter("barn"))
        refusal = await elsewhere.refusal(kind=LocalFault)
        assert refusal.code is Code.BAD_KEY_FILE
        assert "copy secrets/node.key" in refusal.message
        write_atomic(elsewhere.node.secrets / "node.key", (member.node.secrets / "node.key").read_bytes())
        await elsewhere.refusal(kind=TransientFault)
        await member.approve()
        await elsewhere.add()
        load_issued(paths(elsewhere.node.path, SECOND), SECOND, MEMBER)


async def test_what_can_not_be_added_is_said(admission_and_broker: AdmissionWithBroker, tmp_path: Path) -> None:
    home = admission_and_broker.home
    member = Member(home, tmp_path / "node")
    async with home.running():
        await member.join()
        assert (await member.refusal(kind=LocalFault)).message.startswith("No gateway has handed in")
        assert (await member.refusal("peer", kind=LocalFault)).code is Code.BAD_ENROLMENT
        assert "meter-gateway-9" in str(await member.refusal("meter-gateway-9", kind=TransientFault))
        hand_in(member.node.path, SECOND, declared_meter("barn"))
        await member.refusal(kind=TransientFault)
        hand_in(member.node.path, SECOND, declared_meter("shed"))
        assert "under way" in (await member.refusal(kind=LocalFault)).message
        hand_in(member.node.path, SECOND, declared_meter("barn"))
        await home.decisions().reject(MEMBER, "which barn?")
        hand_in(member.node.path, SECOND, declared_meter("shed"))
        (member.node.secrets / "addition.json").unlink()
        await member.refusal(kind=TransientFault)
        await home.decisions().reject(MEMBER, "no shed")
        refusal = await member.refusal()
        assert (refusal.code, refusal.values["reason"]) == (Code.BAD_ENROLMENT, "no shed")
        assert not (member.node.secrets / "addition.json").exists()


class Killed(BaseException):
    """The process is gone."""


async def test_interrupted_at_random_writes_it_ends_with_one_addition_and_everything_installed(
    admission_and_broker: AdmissionWithBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write of a file may be the last thing that a run does, before or after it took place."""
    home = admission_and_broker.home
    member = Member(home, tmp_path / "node")
    chance = seeded_random("interruptions of join --add")
    left = [0]

    def dying(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        write_atomic(path, data, mode=mode)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    async with home.running():
        await member.join()
        hand_in(member.node.path, SECOND, declared_meter("barn"))
        monkeypatch.setattr(install_module, "write_atomic", dying)
        monkeypatch.setattr("minervas_peer.join.node_directory.write_atomic", dying)
        for number in range(8):
            left[0] = chance.randrange(1, 9)
            with contextlib.suppress(Killed, TransientFault):
                await member.add(SECOND, timeout_s=0.0)
            if number == 3 and home.as_owner("SELECT 1 FROM applications WHERE kind = 'add'"):
                await member.approve()
            if not (member.node.secrets / "addition.json").exists() and registered(member.issued):
                break
        left[0] = -1
        if not home.as_owner("SELECT 1 FROM decisions WHERE kind = 'add'"):
            await member.refusal(SECOND, kind=TransientFault)
            await member.approve()
        if not registered(member.issued) or (member.node.secrets / "addition.json").exists():
            await member.add(SECOND)
    assert registered(member.issued) == ["barn"]
    load_issued(paths(member.node.path, SECOND), SECOND, MEMBER)
    assert len(home.as_owner("SELECT 1 FROM applications WHERE kind = 'add'")) == 1
    assert ADDITION_FILE not in [file.name for file in member.node.secrets.iterdir()]
