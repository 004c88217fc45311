"""A stand-in for admission that renews, and a node whose services ask for it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.enrolment import BrokerAddress
from minervas_core.identifiers import Principal
from minervas_core.renewal import Renewal, RenewalAnswer, ServiceCertificate, check_renewal
from minervas_peer.renewal.collector import Patience, RenewalCollector
from minervas_peer.renewal.exchange import RenewalExchange
from minervas_peer.renewal.node_files import ADMISSION_FILE, address_file
from minervas_runtime.certificate_keeper import CertificateKeeper
from minervas_runtime.clock import ManualClock, SystemClock
from tests.support.fake_admission import Answer, FakeAdmission
from tests.support.pki import Authority
from tests.support.renewing_service import RenewingService, client_certificate

SERVICES = ("ledger", "miner", "peer")
MEMBER = "anna"
QUICK = Patience(gather_ms=0)


class RenewingAdmission(FakeAdmission):
    """Renews for anybody whose wallet it knows; every answer can be made wrong."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.member = self.consortium.member(MEMBER)
        self.renewals: list[bytes] = []
        self.refuse_old_ms = 0
        """Renewals sent before this time are refused for their clock."""
        self.issuer = self.authority
        self.change_answer: Callable[[RenewalAnswer], RenewalAnswer] = lambda answer: answer

    def answer(self, method: str, path: str, body: bytes, token: str) -> Answer:
        if (method, path) != ("POST", "/v1/renewals"):
            return super().answer(method, path, body, token)
        self.renewals.append(body)
        renewal = msgspec.json.decode(body, type=Renewal)
        check_renewal(renewal, self.consortium.genesis.network, frozenset({self.member.wallet.public}))
        if self.refusal is not None:
            status, code, message = self.refusal
            return status, _error(code, message)
        if renewal.body.sent_at_ms < self.refuse_old_ms:
            return 422, _error("clock_offset", "The clocks differ")
        return 200, msgspec.json.encode(self.change_answer(self._renewed(renewal)), order="sorted")

    def _renewed(self, renewal: Renewal) -> RenewalAnswer:
        certificates = [
            ServiceCertificate(service=each.service, certificate=self._certificate(each.service, each.csr))
            for each in renewal.body.requests
        ]
        return RenewalAnswer(
            ca_pem=self.authority.ca_pem.decode(),
            certificates=certificates,
            membership=[msgspec.Raw(self.member.admit.raw)],
            broker=BrokerAddress(host="broker.example", port=8883),
        )

    def _certificate(self, service: str, csr: str) -> str:
        key = x509.load_pem_x509_csr(csr.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        begin, end = -dt.timedelta(minutes=5), dt.timedelta(days=30)
        return client_certificate(self.issuer, f"{MEMBER}.{service}", key, begin=begin, end=end).decode()


def _error(code: str, message: str) -> bytes:
    return json.dumps({"code": code, "message": message, "values": {}}).encode()


class RenewingNode:
    """A node's services, and the peer's part."""

    def __init__(self, directory: Path, admission: RenewingAdmission, *, age_days: float = 25) -> None:
        self.directory = directory
        self.admission = admission
        self.clock = ManualClock(SystemClock().now_ms())
        self.services = {
            name: RenewingService.make(
                directory, admission.authority, Principal(MEMBER, name), age_days=age_days, clock=self.clock
            )
            for name in SERVICES
        }
        self.keepers: dict[str, CertificateKeeper] = {}
        self.paths = self.services["peer"].paths
        (self.paths.issued / ADMISSION_FILE).write_bytes(address_file(admission.url))
        self.collector = self.make_collector()

    def make_collector(self, **changes: Any) -> RenewalCollector:
        """The peer's part, as a process that starts now has it."""
        exchange = RenewalExchange(
            paths=self.paths,
            member=MEMBER,
            genesis=self.admission.consortium.genesis,
            wallet=lambda: self.admission.member.wallet,
            clock=self.clock,
            **changes,
        )
        return RenewalCollector(self.paths, MEMBER, exchange, self.clock, QUICK)

    def ask(self, *names: str) -> None:
        """Let services look at their certificates and ask if they are due."""
        for name in names or SERVICES:
            if name not in self.keepers:
                self.keepers[name] = self.services[name].keeper()
            self.keepers[name]._take_up()
            self.keepers[name]._ask_if_due()

    def asked(self) -> set[str]:
        """Services whose requests lie there."""
        return {name for name, service in self.services.items() if service.requested() is not None}

    def installed(self) -> dict[str, bytes]:
        """Everything below issued/ but the report."""
        issued = self.paths.issued
        return {
            str(file.relative_to(issued)): file.read_bytes()
            for file in sorted(issued.rglob("*"))
            if file.is_file() and file.name != "renewal.json"
        }


def other_authority(directory: Path) -> Authority:
    """A CA that nobody trusts."""
    return Authority(directory / "other-ca", "Somebody else's CA")
