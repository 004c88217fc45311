"""The running service: everything wired together and started."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from minervas_admission import __version__
from minervas_admission.additions import AdditionIntake
from minervas_admission.authority import Consortium, load_consortium
from minervas_admission.broker_link import BrokerLink
from minervas_admission.broker_rights import BrokerRights
from minervas_admission.ca import moment_ms
from minervas_admission.certificate_sweep import CertificateSweep
from minervas_admission.chain_follower import ChainFollower
from minervas_admission.data_directory import DataDirectory
from minervas_admission.forms import Forms
from minervas_admission.grafana.access import GrafanaAccess, make_access
from minervas_admission.grafana.links import Links
from minervas_admission.housekeeping import Housekeeping
from minervas_admission.http_api import make_app
from minervas_admission.https_server import HttpsServer
from minervas_admission.instance import Instance
from minervas_admission.intake import Intake
from minervas_admission.issued_journal import record_remembered
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.own_certificates import ensure_own_certificates
from minervas_admission.presence_keeper import PresenceKeeper
from minervas_admission.renewal_api import add_renewals
from minervas_admission.renewals import Renewals
from minervas_admission.restored import check_caught_up
from minervas_admission.revocation_list import RevocationListKeeper
from minervas_admission.sagas.addition import AdditionSaga
from minervas_admission.sagas.approval import Approval
from minervas_admission.sagas.grafana import GrafanaSteps
from minervas_admission.sagas.parameters import ParameterChange
from minervas_admission.sagas.reconciliation import Reconciliation
from minervas_admission.sagas.rekeying import Replacement, Rotation
from minervas_admission.sagas.revocation import Revocation
from minervas_admission.sagas.rollover import Rollover
from minervas_admission.sagas.runner import SagaRunner
from minervas_admission.sagas.voting import Voting
from minervas_admission.sagas.worker import DecisionWorker
from minervas_admission.server_certificate import server_files
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import claim_consortium_keys
from minervas_admission.store.certificates import DAY_MS
from minervas_admission.store.database import Database
from minervas_admission.store.schema import check_schema
from minervas_admission.web.accounts import Accounts
from minervas_admission.web.login import Logins
from minervas_admission.web.passwords import Passwords
from minervas_admission.web.site import ServiceHealth, Site
from minervas_core.enrolment import BrokerAddress
from minervas_core.errors import TransientFault
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_core.messages import Presence
from minervas_core.rights import ADMISSION
from minervas_runtime.bus import Bus
from minervas_runtime.clock import Clock, monotonic_ms
from minervas_runtime.key_files import read_seed
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.presence import offline_will
from minervas_runtime.service import ServiceContext

log = logging.getLogger(__name__)

DATABASE_RETRY_S = 1.0
DATABASE_SAY_EVERY = 10
"""Every how many attempts the log repeats that the database is away."""

STATUS_S = 1.0
REFUSED_RETRY_S = 2.0
"""Unlike a member, admission comes back soon after a refusal: it is the one who can mend it."""


@dataclass(frozen=True, slots=True)
class Databases:
    """Connections: neither applicants, nor whoever looks at pages, nor Grafana ever hold up a revocation."""

    work: Database
    applicants: Database
    pages: Database
    grafana: Database

    async def close(self) -> None:
        """Close all."""
        await self.work.close()
        await self.applicants.close()
        await self.pages.close()
        await self.grafana.close()


class AdmissionService:
    """The parts of the running service."""

    def __init__(self, settings: AdmissionSettings, consortium: Consortium, clock: Clock, databases: Databases) -> None:
        self.settings = settings
        self.database_answers = True
        self._consortium = consortium
        self._clock = clock
        self._database = databases.work
        self._data = DataDirectory(settings.paths.data)
        operator = settings.consortium.operator_member
        feed = MembershipFeed(databases.work, interval_ms=settings.chain.publish_interval_ms)
        self.link = self._make_link(databases, feed)
        rights = BrokerRights(databases.work, clock, operator_member=operator, dynsec=lambda: self.link.dynsec)
        self.revocation_list = RevocationListKeeper(
            databases.work,
            consortium.cas,
            clock,
            data=self._data,
            export=settings.paths.broker_export,
        )
        self._grafana = self._make_grafana(databases.grafana)
        steps = GrafanaSteps(self._grafana)
        reconciliation = Reconciliation(databases.work, rights, self.revocation_list, clock, steps)
        approval = Approval(databases.work, consortium, rights, feed, clock, steps)
        revocation = Revocation(databases.work, consortium, rights, self.revocation_list, feed, clock, steps)
        sagas = [
            approval.saga(),
            *revocation.sagas(),
            Replacement(databases.work, consortium, approval, revocation, feed, clock).saga(),
            Rotation(databases.work, consortium, feed, clock).saga(),
            *Voting(databases.work, consortium, feed, clock).sagas(),
            AdditionSaga(databases.work, consortium, rights, feed, clock).saga(),
            ParameterChange(databases.work, consortium, feed, clock).saga(),
            reconciliation.saga(),
            *self._rollover(databases.work).sagas(),
        ]
        self._steps = {saga.kind: tuple(step.name for step in saga.steps) for saga in sagas}
        self.worker = DecisionWorker(databases.work, SagaRunner(databases.work, clock, sagas))
        self.https = self._make_https(databases, rights)
        self.housekeeping = self._make_housekeeping(reconciliation)

    async def run(self, instance: Instance, status: MutableMapping[str, Any]) -> None:
        """Work until cancelled.

        Args:
            instance: our lock on the database, held.
            status: what /healthz shows, kept up to date.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(instance.listen(self.worker.notify))
            group.create_task(self.https.run())
            group.create_task(self.https.watch())
            group.create_task(self.worker.run())
            group.create_task(self.link.run())
            group.create_task(self.housekeeping.after_connects())
            group.create_task(self.housekeeping.hourly())
            group.create_task(self.housekeeping.sweep_certificates())
            group.create_task(self.housekeeping.grafana())
            group.create_task(self._keep_status(status))
            log.info("admission_started", extra={"fields": {"port": self.settings.http.port, "version": __version__}})

    def _rollover(self, database: Database) -> Rollover:
        return Rollover(
            database=database,
            consortium=self._consortium,
            data=self._data,
            revocation_list=self.revocation_list,
            clock=self._clock,
            renew_servers=self._renew_servers,
        )

    async def _renew_servers(self) -> str:
        return await self.housekeeping.renew_own()

    def _make_grafana(self, database: Database) -> GrafanaAccess | None:
        if self.settings.grafana is None:
            return None
        zone = self._consortium.genesis.body.time_zone
        return make_access(self.settings.grafana, database, self._clock, zone)

    def _make_https(self, databases: Databases, rights: BrokerRights) -> HttpsServer:
        broker, http = self.settings.broker, self.settings.http
        token_key = read_seed(self._data.token_key)
        forms = Forms(databases.applicants, self._clock, self.settings.forms.valid_days)
        told = BrokerAddress(host=broker.public_host or broker.host, port=broker.public_port or broker.port)
        intake = Intake(
            database=databases.applicants,
            consortium=self._consortium,
            clock=self._clock,
            token_key=token_key,
            forms=forms,
            broker=told,
        )
        app = make_app(
            intake,
            AdditionIntake(databases.applicants, self._consortium, self._clock, token_key),
            lambda: self.database_answers,
            self._make_site(databases.pages),
            applications_per_minute=http.applications_per_minute,
            monotonic_ms=monotonic_ms,
        )
        renewals = Renewals(databases.applicants, self._consortium, self._clock, told, rights.grant)
        add_renewals(app, renewals, monotonic_ms)
        certificate, key = server_files(self.settings, self._clock.now_ms())
        return HttpsServer(app, http.host, http.port, certificate=certificate, key=key)

    def _make_site(self, database: Database) -> Site:
        passwords = Passwords()
        return Site(
            settings=self.settings,
            consortium=self._consortium,
            database=database,
            clock=self._clock,
            accounts=Accounts(database, self._clock, passwords),
            logins=Logins(database, self._clock, passwords, self.settings.web, monotonic_ms),
            health=lambda: ServiceHealth(
                broker=self.link.state,
                revocation_list_issued_ms=self.revocation_list.issued_at_ms,
                decisions_under_way=self.worker.busy,
            ),
            steps=self._steps,
            links=Links(database, self._clock, self._grafana) if self._grafana else None,
        )

    def _make_link(self, databases: Databases, feed: MembershipFeed) -> BrokerLink:
        follower = ChainFollower(
            database=databases.work,
            consortium=self._consortium,
            feed=feed,
            clock=self._clock,
            operator_member=self.settings.consortium.operator_member,
            confirm_depth=self.settings.chain.confirm_depth,
            interval_ms=self.settings.chain.publish_interval_ms,
        )
        return BrokerLink(
            self._make_bus,
            self._clock,
            feed=feed,
            follower=follower,
            presences=PresenceKeeper(databases.applicants, self._clock),  # members' messages hold up no revocation
            presence=self._presence,
        )

    def _make_housekeeping(self, reconciliation: Reconciliation) -> Housekeeping:
        return Housekeeping(
            database=self._database,
            consortium=self._consortium,
            data=self._data,
            server_names=self.settings.http.names,
            broker_export=self.settings.paths.broker_export,
            reconciliation=reconciliation,
            sweep=CertificateSweep(
                self._database,
                self._clock,
                repair_broker=reconciliation.repair_broker,
                renew_list=reconciliation.renew_list,
            ),
            link=self.link,
            worker=self.worker,
            clock=self._clock,
            rejected_ms=self.settings.personal_data.rejected_days * DAY_MS,
            reload_https=self.https.reload,
        )

    def _make_bus(self) -> Bus:
        will = offline_will(ADMISSION.member, ADMISSION.service, version=__version__, now_ms=self._clock.now_ms())
        return MqttBus(
            BusSettings(
                host=self.settings.broker.host,
                port=self.settings.broker.port,
                ca_file=self._data.trusted_cas,
                cert_file=self._data.bus_certificate,
                key_file=self._data.bus_key,
                principal=str(ADMISSION),
                will=will,
                refused_retry_s=REFUSED_RETRY_S,
            )
        )

    def _presence(self) -> Presence:
        certificate = x509.load_pem_x509_certificate(self._data.bus_certificate.read_bytes())
        return Presence(
            state="online",
            version=__version__,
            sent_at_ms=self._clock.now_ms(),
            certificate_expires_ms=moment_ms(certificate.not_valid_after_utc),
        )

    async def _keep_status(self, status: MutableMapping[str, Any]) -> None:
        while True:
            try:
                async with self._database.transaction() as connection:
                    await connection.execute("SELECT 1")
                self.database_answers = True
            except TransientFault:
                self.database_answers = False
            broker = self.link.state
            word = "ok" if broker == "connected" else "waiting"
            status["status"] = word if self.database_answers else "failing"
            status["database"] = "ok" if self.database_answers else "away"
            status["broker"] = broker
            status["decisions_under_way"] = self.worker.busy
            status["revocation_list_issued_at_ms"] = self.revocation_list.issued_at_ms
            await asyncio.sleep(STATUS_S)


async def run_admission(context: ServiceContext[AdmissionSettings]) -> None:
    """Run the service until it is stopped.

    Raises:
        LocalFault: if `init` or `migrate` were not run, settings contradict the genesis, an address is taken, or
            another service works on the database.
    """
    settings, clock = context.settings, context.clock
    check_caught_up(DataDirectory(settings.paths.data))
    consortium = load_consortium(settings)
    data = DataDirectory(settings.paths.data)
    ensure_own_certificates(data, consortium.authority, settings.http.names, clock.now_ms())
    databases = Databases(
        Database(settings.database, application="minervas-admission"),
        Database(settings.database, application="minervas-admission applicants"),
        Database(settings.database, application="minervas-admission pages"),
        Database(settings.database, application="minervas-admission grafana"),
    )
    instance = Instance(settings.database)
    try:
        await wait_for_database(databases.work)
        await instance.acquire()
        async with databases.work.transaction() as connection:
            await claim_consortium_keys(connection, consortium.key_claims(), member=RESERVED_MEMBER)
        await record_remembered(data, databases.work)
        await AdmissionService(settings, consortium, clock, databases).run(instance, context.status)
    finally:
        await instance.release()
        await databases.close()


async def wait_for_database(database: Database) -> None:
    """Return once the database answers and has the tables that this program expects.

    Raises:
        LocalFault: ``schema_version``.
    """
    attempt = 0
    while True:
        try:
            async with database.transaction() as connection:
                await check_schema(connection)
        except TransientFault as error:
            if attempt % DATABASE_SAY_EVERY == 0:
                log.warning("waiting_for_database", extra={"fields": {"reason": str(error)}})
            attempt += 1
            await asyncio.sleep(DATABASE_RETRY_S)
        else:
            return
