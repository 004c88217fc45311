"""An applicant that runs `minervas join` against a stand-in for admission."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from minervas_core import box
from minervas_core.box import BoxKey
from minervas_core.enrolment import Application
from minervas_core.errors import MinervasError, PeerFault
from minervas_core.keys import SigningKey
from minervas_peer.join.flow import Join, JoinOptions
from minervas_peer.join.node_directory import NodeDirectory
from minervas_runtime.clock import ManualClock
from minervas_runtime.enrolment import write_enrolment
from minervas_runtime.settings import NodePaths
from tests.support.fake_admission import FakeAdmission
from tests.support.peer import NOW_MS, seed

MEMBER = "mokpo-univ"
SERVICES = ("ledger", "miner", "peer")
ISSUED = ["admission.json", "broker.json", "ca.crt", "certs/ledger.crt", "certs/miner.crt", "certs/peer.crt",
          "genesis.json", "membership.json", "ready"]  # fmt: skip


def paths(node: Path, service: str) -> NodePaths:
    return NodePaths(data=node / service, enrol=node / "enrol", issued=node / "issued", secrets=node / "secrets")


def enrol(node: Path, *services: str, member: str = MEMBER, generation: str = "") -> None:
    """Let services hand in their keys, as they do at their start."""
    for service in services or SERVICES:
        key = SigningKey(seed(f"{service}{generation}"))
        public = BoxKey(seed(f"box{generation}", box.SEED_BYTES)).public if service == "peer" else None
        write_enrolment(paths(node, service), member, service, key, box_public=public)


class Applicant:
    """Runs `join` for one node and keeps what it said."""

    def __init__(self, node: Path, admission: FakeAdmission) -> None:
        self.node = node
        self.admission = admission
        self.said: list[str] = []
        self.on_sleep: Callable[[int], None] = lambda _count: None
        self.sleeps = 0
        self.clock = ManualClock(NOW_MS)

    def join(self, **changes: object) -> None:
        fields = {
            "url": self.admission.url,
            "ca_fingerprint": self.admission.fingerprint,
            "member": MEMBER,
            "name": "Mokpo National University",
            "contact": "061-000-0000",
            "accepts_visibility": True,
            **changes,
        }
        options = msgspec.convert(fields, JoinOptions)
        Join(options, NodeDirectory(self.node), say=self.said.append, clock=self.clock, sleep=self._sleep).run()

    def refusal(self, kind: type[MinervasError] = PeerFault, **changes: object) -> MinervasError:
        with pytest.raises(kind) as refusal:
            self.join(**changes)
        return refusal.value

    def _sleep(self, _seconds: float) -> None:
        """Instead of time, let something happen."""
        self.sleeps += 1
        assert self.sleeps < 100, "waits for ever"
        self.on_sleep(self.sleeps)

    def installed(self) -> list[str]:
        issued = self.node / "issued"
        return sorted(str(file.relative_to(issued)) for file in issued.rglob("*") if file.is_file())

    def application(self) -> Application:
        (body,) = self.admission.applications.values()
        return msgspec.json.decode(body, type=Application)


def approve(admission: FakeAdmission) -> Callable[[int], None]:
    def change(_count: int) -> None:
        admission.state = "approved"

    return change
