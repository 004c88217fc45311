"""`minervas join` against the real admission: every way it can go wrong is one clear message with its code."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from minervas_admission.ca import fingerprint
from minervas_admission.forms import DAY_MS, Forms
from minervas_admission.store.database import Database
from minervas_core.applicant import About, ApplicationForm, Site
from minervas_core.encoding import encode
from minervas_core.enrolment import ServiceEnrolment, sign_claim
from minervas_core.errors import Code, LocalFault, MinervasError, PeerFault, TransientFault
from minervas_core.keys import SigningKey
from minervas_devnet.processes import console_script
from minervas_peer.join.flow import Join, JoinOptions
from minervas_peer.join.node_directory import NodeDirectory
from minervas_peer.join.status import show_join_status
from minervas_runtime.clock import Clock, ManualClock, SystemClock
from minervas_runtime.enrolment import load_issued
from tests.support.admission import AdmissionHome
from tests.support.applicant import MEMBER, enrol, paths
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.intercepting_proxy import intercepting
from tests.support.peer import seed
from tests.support.seed import seeded_random
from tests.support.wait import wait_until_async


class Newcomer:
    """A node of somebody who applies to a real admission."""

    def __init__(self, home: AdmissionHome, node: Path, *, member: str = MEMBER, clock: Clock | None = None) -> None:
        self.home = home
        self.node = NodeDirectory(node)
        self.member = member
        self.clock = clock or SystemClock()
        self.said: list[str] = []
        enrol(node, member=member, generation=member)

    @property
    def fingerprint(self) -> str:
        return fingerprint(x509.load_pem_x509_certificate(self.home.data.ca_certificate.read_bytes()))

    async def join(self, **changes: Any) -> None:
        """Run the command in a thread, with short pauses."""
        fields = {
            "url": f"https://localhost:{self.home.http_port}",
            "ca_fingerprint": self.fingerprint,
            "member": self.member,
            "name": "Mokpo National University",
            "contact": "061-000-0000",
            "accepts_visibility": True,
            **changes,
        }
        command = Join(
            JoinOptions(**fields),
            self.node,
            say=self.said.append,
            clock=self.clock,
            sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
        )
        await asyncio.to_thread(command.run)

    async def refusal(self, kind: type[MinervasError] = PeerFault, **changes: Any) -> MinervasError:
        with pytest.raises(kind) as refused:
            await self.join(**{"timeout_s": 0.0, **changes})
        return refused.value

    def command(self, *more: str) -> list[str]:
        """The command as a process."""
        return [
            console_script("minervas"), "join", f"https://localhost:{self.home.http_port}",
            "--ca-fingerprint", self.fingerprint, "--member", self.member, "--node", str(self.node.path),
            "--name", "Mokpo", "--contact", "c", "--accept-visibility", *more,
        ]  # fmt: skip


@pytest.fixture
async def home(admission_home: AdmissionHome) -> AsyncIterator[AdmissionHome]:
    async with admission_home.running():
        yield admission_home


@pytest.fixture
def newcomer(home: AdmissionHome, tmp_path: Path) -> Newcomer:
    return Newcomer(home, tmp_path / "node")


def applications(home: AdmissionHome) -> int:
    return len(home.as_owner("SELECT 1 FROM applications"))


# what is wrong, and what to do


async def test_every_refusal_of_the_server_has_its_code_and_an_advice(newcomer: Newcomer, tmp_path: Path) -> None:
    home = newcomer.home
    await newcomer.refusal(TransientFault)
    assert applications(home) == 1
    taken = await Newcomer(home, tmp_path / "taken").refusal()
    assert taken.code is Code.MEMBER_EXISTS
    copied = Newcomer(home, tmp_path / "copied", member="copied")
    enrol(copied.node.path, "miner", member="copied", generation=MEMBER)
    reused = await copied.refusal()
    assert reused.code is Code.KEY_REUSED
    weak = Newcomer(home, tmp_path / "weak", member="weak")
    weaken(weak.node.path / "enrol" / "ledger.json", SigningKey(seed("ledgerweak")))
    bad_key = await weak.refusal()
    assert bad_key.code is Code.BAD_KEY
    assert all("What to do" in each.message for each in (taken, reused, bad_key))
    assert applications(home) == 1
    await home.decisions().reject(MEMBER, "no panel")
    rejected = await newcomer.refusal()
    assert (rejected.code, rejected.values["reason"]) == (Code.BAD_ENROLMENT, "no panel")


def weaken(file: Path, signing_key: SigningKey) -> None:
    """Bring a request for a key that no certificate is made for."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    claim = msgspec.json.decode(file.read_bytes(), type=ServiceEnrolment).claim
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    file.write_bytes(encode(sign_claim(msgspec.structs.replace(claim, csr=pem), signing_key)))


async def test_a_name_that_was_used_once_is_never_given_again(
    admission_and_broker: AdmissionWithBroker, tmp_path: Path
) -> None:
    home = admission_and_broker.home
    async with home.running():
        first = Newcomer(home, tmp_path / "node")
        await first.refusal(TransientFault)
        await home.decisions().approve(MEMBER, confirmed=True)
        await first.join()
        await home.decisions().leave(MEMBER, "bye", confirmed=True)
        again = Newcomer(home, tmp_path / "again")
        enrol(again.node.path, generation="new")
        assert (await again.refusal()).code is Code.MEMBER_EXISTS


@pytest.mark.parametrize(("offset_ms", "text"), [(-390_000, "6 minutes behind"), (450_000, "7 minutes ahead")])
async def test_a_clock_that_is_off_is_named_before_anything_is_sent(
    home: AdmissionHome, tmp_path: Path, offset_ms: int, text: str
) -> None:
    clock = ManualClock(SystemClock().now_ms() + offset_ms)
    refusal = await Newcomer(home, tmp_path / "node", clock=clock).refusal(LocalFault)
    assert refusal.code is Code.CLOCK_OFFSET
    assert text in refusal.message
    assert applications(home) == 0


async def test_a_wrong_fingerprint_and_somebody_in_between_are_told_apart(newcomer: Newcomer, tmp_path: Path) -> None:
    wrong = await newcomer.refusal(ca_fingerprint="sha256:" + "ab" * 32)
    assert wrong.code is Code.CA_MISMATCH
    with intercepting(tmp_path, newcomer.home.http_port) as url:
        caught = await newcomer.refusal(url=url)
    assert caught.code is Code.TLS_INTERCEPTED
    assert "in between" in caught.message
    assert applications(newcomer.home) == 0


async def test_a_proxy_that_does_not_let_us_through_is_named(
    newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    refusal = await newcomer.refusal(TransientFault, url="https://admission.invalid:1", timeout_s=None)
    assert refusal.code is Code.PEER_UNREACHABLE


async def test_without_consent_nothing_is_sent(newcomer: Newcomer) -> None:
    refusal = await newcomer.refusal(LocalFault, accepts_visibility=False)
    assert refusal.code is Code.CONSENT_MISSING
    assert "All members of the consortium see all trades" in newcomer.said[0]
    assert applications(newcomer.home) == 0


# one-time tokens


async def make_token(home: AdmissionHome, clock: Clock | None = None) -> str:
    form = ApplicationForm(
        member=MEMBER,
        name="목포대학교",
        contact="061",
        accepts_visibility=True,
        about=About(sites=[Site(name="library", latitude_e6=1, longitude_e6=2)]),
    )
    database = Database(home.settings.database, application="test forms")
    try:
        return await Forms(database, clock or SystemClock(), 7).make(form, "")
    finally:
        await database.close()


async def test_a_token_brings_what_was_filled_in_and_works_once(newcomer: Newcomer, tmp_path: Path) -> None:
    home, token = newcomer.home, await make_token(newcomer.home)
    nothing_said: dict[str, Any] = {"name": "", "contact": "", "accepts_visibility": False, "form_token": token}
    assert (await newcomer.refusal(TransientFault, **nothing_said)).code is Code.TIMEOUT
    assert newcomer.said[0] != "All members"
    [(name, content)] = home.as_owner("SELECT name, content FROM applications")
    assert name == "목포대학교"
    assert b'"latitude_e6":1' in bytes(content)
    await newcomer.refusal(TransientFault, **nothing_said)  # run again: the same application
    assert applications(home) == 1
    await home.decisions().reject(MEMBER, "again")
    await newcomer.refusal(**nothing_said)
    assert (await newcomer.refusal(**nothing_said)).code is Code.TOKEN_USED


async def test_wrong_and_expired_tokens_are_told_apart(newcomer: Newcomer, tmp_path: Path) -> None:
    home = newcomer.home
    assert (await newcomer.refusal(form_token="0" * 64)).code is Code.TOKEN_UNKNOWN
    old = await make_token(home, ManualClock(SystemClock().now_ms() - 8 * DAY_MS))
    assert (await newcomer.refusal(form_token=old)).code is Code.TOKEN_EXPIRED
    other = Newcomer(home, tmp_path / "other", member="other")
    refusal = await other.refusal(LocalFault, form_token=await make_token(home))
    assert refusal.code is Code.TOKEN_UNKNOWN
    assert applications(home) == 0


# interruptions


async def test_it_goes_on_while_admission_is_restarted_and_away(
    admission_and_broker: AdmissionWithBroker, tmp_path: Path
) -> None:
    home = admission_and_broker.home
    newcomer = Newcomer(home, tmp_path / "node")
    async with home.running():
        joining = asyncio.create_task(newcomer.join())
        await wait_until_async(lambda: "State: pending" in newcomer.said)
    await wait_until_async(lambda: any("trying on" in line for line in newcomer.said))
    async with home.running():
        await home.decisions().approve(MEMBER, confirmed=True)
        await joining
    assert newcomer.node.is_joined
    assert applications(home) == 1


async def test_killed_at_random_moments_it_ends_with_one_application_and_everything_installed(
    admission_and_broker: AdmissionWithBroker, tmp_path: Path
) -> None:
    home = admission_and_broker.home
    chance = seeded_random("kills of minervas join")
    newcomer = Newcomer(home, tmp_path / "node")
    async with home.running():
        for number in range(5):
            process = await asyncio.create_subprocess_exec(*newcomer.command(), stdout=subprocess.DEVNULL)
            try:
                async with asyncio.timeout(chance.uniform(0.2, 2.5)):
                    await process.wait()
            except TimeoutError:
                process.send_signal(signal.SIGKILL)
            await process.wait()
            if number == 2 and applications(home):
                await home.decisions().approve(MEMBER, confirmed=True)
        if not home.as_owner("SELECT 1 FROM members"):
            await newcomer.refusal(TransientFault)
            await home.decisions().approve(MEMBER, confirmed=True)
        await newcomer.join()
    assert applications(home) == 1
    for service in ("peer", "miner", "ledger"):
        load_issued(paths(newcomer.node.path, service), service, MEMBER)


async def test_status_shows_where_it_stands_without_waiting(newcomer: Newcomer) -> None:
    def shown() -> str:
        said: list[str] = []
        show_join_status(newcomer.node, SystemClock(), said.append, system_ca=False)
        return "\n".join(said)

    assert "Nothing was sent yet" in await asyncio.to_thread(shown)
    await newcomer.refusal(TransientFault)
    assert "State: pending" in await asyncio.to_thread(shown)
    await newcomer.home.decisions().reject(MEMBER, "call us")
    assert "rejected: call us" in await asyncio.to_thread(shown)
