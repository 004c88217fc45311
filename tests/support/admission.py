"""A consortium's admission on loopback for tests: real PostgreSQL, real Mosquitto with the real CA, the real service.

The service runs inside the test's event loop, so that a test can stop it, break it and look into it.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_admission.authority import load_consortium
from minervas_admission.broker_rights import BrokerRights
from minervas_admission.chain_follower import ChainFollower
from minervas_admission.commands.decide import Decisions
from minervas_admission.commands.host import run_init, run_migrate, run_sign_server
from minervas_admission.data_directory import DataDirectory
from minervas_admission.dynsec import DynsecClient
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.revocation_list import RevocationListKeeper
from minervas_admission.sagas.addition import AdditionSaga
from minervas_admission.sagas.approval import Approval
from minervas_admission.sagas.parameters import ParameterChange
from minervas_admission.sagas.rekeying import Replacement, Rotation
from minervas_admission.sagas.revocation import Revocation
from minervas_admission.sagas.rollover import Rollover
from minervas_admission.sagas.runner import SagaRunner
from minervas_admission.sagas.steps import Saga
from minervas_admission.sagas.voting import Voting
from minervas_admission.service import run_admission
from minervas_admission.settings import AdmissionSettings, load_admission_settings
from minervas_admission.store.database import Database
from minervas_admission.store.decisions import Decision, queued_decisions
from minervas_core.addition import Addition, AdditionBody, sign_addition
from minervas_core.applicant import About
from minervas_core.box import SEED_BYTES as BOX_SEED_BYTES
from minervas_core.box import BoxKey
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import (
    Application,
    ApplicationReceipt,
    ApplicationState,
    Grant,
    ServiceClaim,
    ServiceEnrolment,
    sign_claim,
)
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.market.records import Channel, MeterDeclaration
from minervas_core.rights import ADMISSION
from minervas_devnet.broker import BrokerServer
from minervas_devnet.ports import LOOPBACK, free_port
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.bus import BusRefused
from minervas_runtime.clock import Clock, SystemClock
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.service import ServiceContext
from tests.support.pki import write_key
from tests.support.wait import HANG_S, wait_until_async

OPERATOR_MEMBER = "operator-coop"
SERVICES = ("peer", "miner", "ledger")


@dataclass
class Applicant:
    """The keys of one applicant's services, and what it applies with."""

    member: str
    signing: dict[str, SigningKey] = field(
        default_factory=lambda: {name: SigningKey(os.urandom(32)) for name in SERVICES}
    )
    box: BoxKey = field(default_factory=lambda: BoxKey(os.urandom(BOX_SEED_BYTES)))
    tls: dict[str, Any] = field(
        default_factory=lambda: {name: ec.generate_private_key(ec.SECP256R1()) for name in SERVICES}
    )
    common_name: str = "whatever the applicant likes"

    def csr(self, service: str) -> str:
        """The certificate request of a service."""
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.common_name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self.tls[service], hashes.SHA256())
        return request.public_bytes(Encoding.PEM).decode()

    def enrolment(self, service: str, **changes: Any) -> ServiceEnrolment:
        """The signed claim of a service; single fields can be changed."""
        claim: dict[str, Any] = {
            "member": self.member,
            "service": service,
            "csr": self.csr(service),
            "signing_key": self.signing[service].public,
            **({"box": self.box.public} if service == "peer" else {}),
            **changes,
        }
        return sign_claim(ServiceClaim(**claim), self.signing[service])

    def application(self, *, now_ms: int | None = None, **changes: Any) -> Application:
        """An application; single fields can be changed."""
        values: dict[str, Any] = {
            "member": self.member,
            "name": f"The people of {self.member}",
            "contact": "someone@example.org",
            "salt": secrets.token_hex(16),
            "sent_at_ms": SystemClock().now_ms() if now_ms is None else now_ms,
            "services": [self.enrolment(service) for service in SERVICES],
            "accepts_visibility": True,
            **changes,
        }
        return Application(**values)

    def gateway(self, service: str, *meters: str, **changes: Any) -> ServiceEnrolment:
        """The claim of a gateway with these meters; its keys are made when it is named first."""
        self.signing.setdefault(service, SigningKey(os.urandom(32)))
        self.tls.setdefault(service, ec.generate_private_key(ec.SECP256R1()))
        return self.enrolment(service, **{"meters": [declared_meter(meter) for meter in meters], **changes})

    def addition(
        self,
        home: AdmissionHome,
        *gateways: ServiceEnrolment,
        now_ms: int | None = None,
        about: About | msgspec.UnsetType = msgspec.UNSET,
    ) -> Addition:
        """An addition of these gateways, signed by the wallet."""
        body = AdditionBody(
            member=self.member,
            salt=secrets.token_hex(16),
            sent_at_ms=SystemClock().now_ms() if now_ms is None else now_ms,
            services=list(gateways),
            about=about,
        )
        return sign_addition(body, self.signing["peer"], load_consortium(home.settings).network)


def declared_meter(name: str, *, rated_w: int = 120) -> MeterDeclaration:
    """What a gateway says of a meter with one channel."""
    return MeterDeclaration(
        meter=name, model="pzem-003", channels=[Channel(name="ch1", rated_w=rated_w)], register_step_wh=1
    )


class AdmissionHome:
    """Settings, directories and database of one admission; `init` and `migrate` are done."""

    def __init__(
        self,
        root: Path,
        database: NodeDatabase,
        *,
        broker_port: int = 1,
        migrate: bool = True,
        **changes: dict[str, Any],
    ) -> None:
        """Make everything that the service needs.

        Args:
            root: an empty directory that the broker's system user can pass through.
            database: an empty one, or one with the tables.
            broker_port: where the broker is or will be; nobody listens on port 1.
            migrate: whether to make the tables.
            changes: sections of the settings, merged into ours.
        """
        self.root = root
        self.export_dir = root / "export"
        self.http_port = free_port()
        self.https_ca: Path | None = None
        """Who signed the certificate that the operator brings, if it does."""
        self.database = database
        passphrase = root / "ca.passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text(secrets.token_urlsafe(24))
        sections: dict[str, dict[str, Any]] = {
            "consortium": {"name": "목포 태양광", "operator_member": OPERATOR_MEMBER},
            "genesis": {"block_interval_ms": 2_000, "max_expiry_blocks": 100},
            "paths": {"data": "data", "broker_export": "export"},
            "http": {"port": self.http_port, "names": ["localhost", LOOPBACK], "applications_per_minute": 1_000},
            "broker": {"host": LOOPBACK, "port": broker_port},
            "database": {
                "host": database.host,
                "port": database.port,
                "name": database.name,
                "user": database.writer.user,
                "password_file": str(database.writer.password_file),
            },
            "database_owner": {
                "user": database.owner.user,
                "password_file": str(database.owner.password_file),
            },
            "chain": {"publish_interval_ms": 100},
            "log": {"level": "warning"},
        }
        for name, values in changes.items():
            sections[name] = {**sections.get(name, {}), **values}
        self.config = root / "admission.toml"
        self.config.write_text('ca_passphrase_file = "ca.passphrase"\n' + _toml(sections), encoding="utf-8")
        self.settings: AdmissionSettings = load_admission_settings(self.config)
        self.data = DataDirectory(self.settings.paths.data)
        run_init(self.settings)
        if migrate:
            run_migrate(self.settings)

    def sign_broker(self, broker: BrokerServer) -> None:
        """Sign a broker's request and install the certificate."""
        csr = broker.prepare()
        out = self.root / "server.crt"
        run_sign_server(
            self.settings, request=csr, name="consortium.broker", server_names=["localhost", LOOPBACK], days=90, out=out
        )
        broker.install(self.data.ca_certificate.read_bytes(), out.read_bytes())

    def as_owner(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement as the owner of the tables: what the service itself may not do."""
        with psycopg.connect(self.database.conninfo(self.database.owner), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def running(self, clock: Clock | None = None) -> AsyncIterator[None]:
        """Run the service for the length of the block; what it raises is raised in the block."""
        context = ServiceContext("admission", "consortium", self.settings, clock or SystemClock())
        task = asyncio.create_task(run_admission(context))
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(_fail_with(task))
                await wait_until_async(self._answers, describe="the HTTPS API to answer")
                yield
                watch.cancel()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def running_process(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the service as operators do, in a process of its own; its log is in admission.log."""
        with (self.root / "admission.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "minervas_admission", "run", "--config", str(self.config)), stderr=log
            )
        try:
            await wait_until_async(self._answers, describe="the HTTPS API to answer")
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    def http(self, **changes: Any) -> httpx.AsyncClient:
        """A client of the HTTPS API that trusts the consortium's CAs, or whoever else signed for the server."""
        context = ssl.create_default_context(cafile=str(self.https_ca or self.data.trusted_cas))
        return httpx.AsyncClient(base_url=f"https://localhost:{self.http_port}", verify=context, **changes)

    async def _answers(self) -> bool:
        try:
            async with self.http() as client:
                await client.get("/ca.crt")
        except httpx.TransportError:
            return False
        return True

    async def apply(self, application: Application) -> ApplicationReceipt:
        """Hand an application in; it has to be accepted."""
        async with self.http() as client:
            answer = await client.post("/v1/applications", content=encode(application))
        assert answer.status_code in (200, 201), answer.text
        return decode(answer.content, ApplicationReceipt, max_bytes=4_096)

    async def add(self, addition: Addition) -> ApplicationReceipt:
        """Hand an addition in; it has to be accepted."""
        async with self.http() as client:
            answer = await client.post("/v1/additions", content=encode(addition))
        assert answer.status_code in (200, 201), answer.text
        return decode(answer.content, ApplicationReceipt, max_bytes=4_096)

    async def state(self, receipt: ApplicationReceipt) -> ApplicationState:
        """Where an application stands."""
        async with self.http() as client:
            answer = await client.get(
                f"/v1/applications/{receipt.application_id}", headers={"Authorization": f"Bearer {receipt.token}"}
            )
        assert answer.status_code == 200, answer.text
        return decode(answer.content, ApplicationState, max_bytes=100_000)

    def decisions(self, *, timeout_s: float = HANG_S, on_chain: bool = False) -> Decisions:
        """The operator's commands."""
        return Decisions(self.settings, timeout_s=timeout_s, on_chain=on_chain, as_json=True)

    async def admit(self, applicant: Applicant) -> Grant:
        """Apply, approve, and return what the applicant installs."""
        receipt = await self.apply(applicant.application())
        await self.decisions().approve(applicant.member, confirmed=True)
        return grant_of(await self.state(receipt))

    def install(self, applicant: Applicant, grant: Grant) -> None:
        """Write what was granted where `bus` finds it."""
        folder = self.root / "members" / applicant.member
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_text(grant.ca_pem)
        for service, pem in grant.certificates.items():
            (folder / f"{service}.crt").write_text(pem)
            if not (folder / f"{service}.key").exists():
                write_key(folder / f"{service}.key", applicant.tls[service])

    def bus(self, broker: BrokerServer, member: str, service: str, **changes: Any) -> MqttBus:
        """A bus of a member's service whose grant was installed; not started."""
        folder = self.root / "members" / member
        values: dict[str, Any] = {
            "host": broker.host,
            "port": broker.port,
            "ca_file": folder / "ca.crt",
            "cert_file": folder / f"{service}.crt",
            "key_file": folder / f"{service}.key",
            "principal": str(Principal(member, service)),
            "retry_min_s": 0.02,
            "retry_max_s": 0.1,
            **changes,
        }
        return MqttBus(BusSettings(**values))


def grant_of(state: ApplicationState) -> Grant:
    """The grant of an approved application."""
    assert isinstance(state.grant, Grant), state
    return state.grant


async def _fail_with(task: asyncio.Task[None]) -> None:
    """Raise what a task raises."""
    await asyncio.wait({task})
    if not task.cancelled():
        await task


def _toml(sections: dict[str, dict[str, Any]]) -> str:
    """TOML with values that JSON and TOML spell alike."""
    lines: list[str] = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


async def _renew_nothing() -> str:
    """Certificates of servers are renewed by the service, not by the bench."""
    return ""


class SagaBench:
    """The sagas without the service around them, so that they can be interrupted at any point."""

    def __init__(self, home: AdmissionHome) -> None:
        clock = SystemClock()
        settings = home.settings
        consortium = load_consortium(settings)
        self.database = Database(settings.database, application="saga bench")
        self.feed = MembershipFeed(self.database, interval_ms=100)
        self._dynsec: DynsecClient | None = None
        self._bus_settings = BusSettings(
            host=settings.broker.host,
            port=settings.broker.port,
            ca_file=home.data.trusted_cas,
            cert_file=home.data.bus_certificate,
            key_file=home.data.bus_key,
            principal=str(ADMISSION),
        )
        self._bus = MqttBus(self._bus_settings)
        self.rights = BrokerRights(self.database, clock, operator_member=OPERATOR_MEMBER, dynsec=lambda: self._dynsec)
        keeper = RevocationListKeeper(self.database, consortium.cas, clock, data=home.data, export=home.export_dir)
        self.follower = ChainFollower(
            database=self.database,
            consortium=consortium,
            feed=self.feed,
            clock=clock,
            operator_member=OPERATOR_MEMBER,
            confirm_depth=settings.chain.confirm_depth,
            interval_ms=100,
        )
        approval = Approval(self.database, consortium, self.rights, self.feed, clock)
        revocation = Revocation(self.database, consortium, self.rights, keeper, self.feed, clock)
        self.sagas = [
            approval.saga(),
            *revocation.sagas(),
            Replacement(self.database, consortium, approval, revocation, self.feed, clock).saga(),
            Rotation(self.database, consortium, self.feed, clock).saga(),
            *Voting(self.database, consortium, self.feed, clock).sagas(),
            AdditionSaga(self.database, consortium, self.rights, self.feed, clock).saga(),
            ParameterChange(self.database, consortium, self.feed, clock).saga(),
            *Rollover(self.database, consortium, home.data, keeper, clock, _renew_nothing).sagas(),
        ]
        self._clock = clock

    def runner(self, sagas: list[Saga] | None = None) -> SagaRunner:
        """A runner of these sagas, or of the real ones."""
        return SagaRunner(self.database, self._clock, sagas or self.sagas)

    @property
    def dynsec(self) -> DynsecClient:
        """The control client."""
        assert self._dynsec is not None
        return self._dynsec

    async def __aenter__(self) -> Self:
        await wait_until_async(self._is_let_in, describe="the broker to let admission in")
        self._dynsec = DynsecClient(self._bus)
        await self._dynsec.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._bus.stop()
        await self.database.close()

    async def _is_let_in(self) -> bool:
        """Try as the service does: the broker's wrapper may not have taken up yet what was published just now."""
        self._bus = MqttBus(self._bus_settings)
        try:
            await self._bus.start()
        except BusRefused:
            return False
        return True

    async def queued(self) -> list[Decision]:
        """Decisions that are not carried out."""
        async with self.database.transaction() as connection:
            return await queued_decisions(connection)
