"""Admission: approvals per minute, and what a revocation takes while many members publish.

Everything is real: the service in a process of its own, Mosquitto with its list and rights, a durable PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from cryptography import x509

from benchmarks.results import Result, percentile
from minervas_admission.authority import load_consortium
from minervas_admission.commands.show import one_transaction
from minervas_admission.deciding import Decider
from minervas_core.identifiers import Principal
from minervas_core.topics import mesh
from minervas_devnet.broker import BrokerServer
from minervas_devnet.ports import free_port
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.workdir import WorkDir
from minervas_runtime.bus import BusOffline, BusRefused
from minervas_runtime.mqtt_bus import MqttBus
from minervas_runtime.tls_diagnosis import diagnose
from tests.support.admission import OPERATOR_MEMBER, AdmissionHome, Applicant, grant_of
from tests.support.wait import wait_until_async

STEPS = ("database", "broker", "revocation_list", "transaction")
PROMISE_MS = 1_000
"""From the decision until sessions are ended and handshakes refused: design section 7."""
INTERVAL_S = 1.0
"""Between two messages of a member of the crowd."""
CALM_S = 600.0


def measure(*, members: int = 200, revocations: int = 20) -> list[Result]:
    """Measure; takes about three minutes.

    ``approve.ours`` is from the operator's decisions, all recorded at once, to the last one carried out: certificates,
    rights at the broker, and the signed transaction. ``approve.naive`` signs the same three certificates and writes
    them in one database transaction, and tells nobody.

    ``revoke.idle`` is the baseline of ``revoke.loaded``: the same with a broker to which only the revoked member is
    connected. All times count from the operator's decision: when each step was done, when the session had ended, and
    when a new handshake was refused first.

    Args:
        members: how many are approved, connected and publishing.
        revocations: how many more are revoked, in each of both cases.
    """
    quiet = contextlib.redirect_stdout(io.StringIO())  # the commands say what they do
    with quiet, WorkDir("bench-admission") as work, PostgresServer(work.path / "postgres") as server:
        port = free_port()
        home = AdmissionHome(work.path, server.create_database("consortium"), broker_port=port)
        broker = BrokerServer(work.path / "broker", home.export_dir, port=port)
        home.sign_broker(broker)
        with broker:
            return asyncio.run(_Measurement(home, broker).run(members, revocations))


class _Measurement:
    """One consortium that is measured."""

    def __init__(self, home: AdmissionHome, broker: BrokerServer) -> None:
        self._home = home
        self._broker = broker

    async def run(self, members: int, revocations: int) -> list[Result]:
        crowd = [Applicant(f"member-{number}") for number in range(members)]
        idle = [Applicant(f"idle-{number}") for number in range(revocations)]
        loaded = [Applicant(f"loaded-{number}") for number in range(revocations)]
        async with self._home.running_process():
            naive_s = self._sign_and_write(crowd)
            ours_s = await self._approve(crowd)
            await self._approve([*idle, *loaded])
            alone = [await self._revoke(each.member) for each in idle]
            async with self._publishing(crowd):
                among_many = [await self._revoke(each.member) for each in loaded]
        return [
            Result("approve.naive", members / naive_s * 60, "1/min"),
            Result("approve.ours", members / ours_s * 60, "1/min"),
            Result("approve.ratio", naive_s / ours_s, "x"),
            *_distribution("revoke.idle", alone, goal=None),
            *_distribution("revoke.loaded", among_many, goal=PROMISE_MS),
        ]

    def _sign_and_write(self, applicants: Sequence[Applicant]) -> float:
        """The baseline of an approval; seconds for all."""
        authority = load_consortium(self._home.settings).authority
        requests = [
            [(service, x509.load_pem_x509_csr(each.csr(service).encode()).public_key()) for service in each.tls]
            for each in applicants
        ]
        database = self._home.database
        with psycopg.connect(database.conninfo(database.owner), autocommit=True) as connection:
            connection.execute("CREATE TABLE naive_certificates (member text, service text, pem text)")
            began = time.perf_counter()
            for applicant, keys in zip(applicants, requests, strict=True):
                now_ms = time.time_ns() // 1_000_000
                with connection.transaction():
                    for service, key in keys:
                        issued = authority.issue_client(str(Principal(applicant.member, service)), key, now_ms)
                        connection.execute(
                            "INSERT INTO naive_certificates VALUES (%s, %s, %s)",
                            (applicant.member, service, issued.pem),
                        )
            took_s = time.perf_counter() - began
            connection.execute("DROP TABLE naive_certificates")
        return took_s

    async def _approve(self, applicants: Sequence[Applicant]) -> float:
        """Apply, approve all at once, and install what was granted; seconds from the decisions to the last one."""
        receipts = [await self._home.apply(each.application()) for each in applicants]
        began = time.perf_counter()
        async with one_transaction(self._home.settings) as connection:
            decider = Decider(connection, "bench", time.time_ns() // 1_000_000, OPERATOR_MEMBER)
            for receipt in receipts:
                await decider.approve(receipt.application_id)
        await wait_until_async(
            lambda: not self._home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued' LIMIT 1"), timeout=CALM_S
        )
        took_s = time.perf_counter() - began
        for applicant, receipt in zip(applicants, receipts, strict=True):
            self._home.install(applicant, grant_of(await self._home.state(receipt)))
        return took_s

    async def _revoke(self, member: str) -> dict[str, float]:
        """Revoke a member that publishes without a pause; ms from the decision to each thing."""
        bus = self._home.bus(self._broker, member, "peer")
        await bus.start()
        lost_s: list[float] = []
        bus.on_connection_change(lambda connected: None if connected else lost_s.append(time.time()))
        talking = asyncio.create_task(_talk(bus, member))
        refused = asyncio.create_task(self._until_refused(member))
        await self._home.decisions().revoke(member, "bench", confirmed=True)
        with contextlib.suppress(BusRefused, BusOffline):
            await talking
        await wait_until_async(lambda: lost_s, timeout=CALM_S, describe="the end of the session")
        ends_s = {"session": lost_s[0], "handshake": await refused}
        await bus.stop()
        [[decided_ms]] = self._home.as_owner(
            "SELECT made_ms FROM decisions WHERE kind = 'revoke' AND member = %s", member
        )
        finished = self._home.as_owner(
            "SELECT step, s.finished_ms FROM saga_steps s JOIN decisions d ON d.id = decision"
            " WHERE kind = 'revoke' AND member = %s",
            member,
        )
        return {
            **{step: float(done_ms - decided_ms) for step, done_ms in finished},
            **{what: end_s * 1000 - float(decided_ms) for what, end_s in ends_s.items()},
        }

    async def _until_refused(self, member: str) -> float:
        """When a handshake with the miner's certificate was refused first, in seconds since the epoch."""
        folder = self._home.root / "members" / member
        files = (folder / "ca.crt", folder / "miner.crt", folder / "miner.key")
        while True:
            found = await asyncio.to_thread(
                lambda: diagnose(self._broker.host, self._broker.port, *files, quiet_s=0.05)
            )
            if found.verdict == "refused":
                return time.time()

    @asynccontextmanager
    async def _publishing(self, crowd: Sequence[Applicant]) -> AsyncIterator[None]:
        """All these members are connected and publish."""
        command = [
            *(sys.executable, "-m", "benchmarks.crowd", self._broker.host, str(self._broker.port)),
            *(str(self._home.root / "members"), str(INTERVAL_S), *(each.member for each in crowd)),
        ]
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if process.stdin is None or process.stdout is None or await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the members that publish could not connect")
        yield
        process.stdin.close()
        if int(await process.stdout.readline()) < len(crowd):
            raise RuntimeError("the members did not publish")
        await process.wait()


async def _talk(bus: MqttBus, member: str) -> None:
    topic = mesh(Principal(member, "peer"), "hello")
    while True:
        await bus.publish(topic, b"still here")


def _distribution(name: str, measured: Sequence[dict[str, float]], *, goal: float | None) -> list[Result]:
    """Median, 90th percentile and largest of each thing; what is promised is promised of the largest."""
    results = []
    for what in (*STEPS, "session", "handshake"):
        values = [each[what] for each in measured]
        promised = goal if what in ("session", "handshake") else None
        results += [
            Result(f"{name}.{what}.p50", percentile(values, 50), "ms"),
            Result(f"{name}.{what}.p90", percentile(values, 90), "ms"),
            Result(f"{name}.{what}.max", max(values), "ms", goal=promised, better="lower"),
        ]
    return results
