"""`minervas join` against a stand-in for admission with real TLS: from enrolment files to installed certificates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core import box
from minervas_core.box import BoxKey
from minervas_core.enrolment import Application, Grant, application_fingerprint
from minervas_core.errors import Code, LocalFault, MinervasError, PeerFault, TransientFault
from minervas_core.genesis import sign_genesis
from minervas_core.keys import SigningKey
from minervas_peer import cli
from minervas_peer.join import install as install_module
from minervas_peer.join.flow import Join, JoinOptions
from minervas_peer.join.node_directory import NodeDirectory
from minervas_runtime.clock import ManualClock
from minervas_runtime.enrolment import load_issued, write_enrolment
from minervas_runtime.key_files import write_atomic
from minervas_runtime.settings import NodePaths
from tests.support.fake_admission import FakeAdmission
from tests.support.peer import NOW_MS, Consortium, seed
from tests.support.pki import SERVER_AUTH, Authority

MEMBER = "mokpo-univ"
SERVICES = ("ledger", "miner", "peer")
ISSUED = ["broker.json", "ca.crt", "certs/ledger.crt", "certs/miner.crt", "certs/peer.crt", "genesis.json",
          "membership.json", "ready"]  # fmt: skip


def paths(node: Path, service: str) -> NodePaths:
    return NodePaths(data=node / service, enrol=node / "enrol", issued=node / "issued", secrets=node / "secrets")


def enrol(node: Path, *services: str, member: str = MEMBER, generation: str = "") -> None:
    """Let services hand in their keys, as they do at their start."""
    for service in services or SERVICES:
        key = SigningKey(seed(f"{service}{generation}"))
        public = BoxKey(seed(f"box{generation}", box.SEED_BYTES)).public if service == "peer" else None
        write_enrolment(paths(node, service), member, service, key, box_public=public)  # type: ignore[arg-type]  # str


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


@pytest.fixture
def admission(tmp_path: Path) -> FakeAdmission:
    return FakeAdmission(tmp_path / "admission")


@pytest.fixture
def served(admission: FakeAdmission) -> Iterator[FakeAdmission]:
    with admission.serve():
        yield admission


@pytest.fixture
def applicant(tmp_path: Path, admission: FakeAdmission) -> Applicant:
    node = tmp_path / "node"
    enrol(node)
    return Applicant(node, admission)


def approve(admission: FakeAdmission) -> Callable[[int], None]:
    def change(_count: int) -> None:
        admission.state = "approved"

    return change


# the way it should go


def test_an_approved_applicant_has_everything_that_its_services_wait_for(
    applicant: Applicant, served: FakeAdmission
) -> None:
    applicant.on_sleep = approve(served)
    applicant.join()
    assert applicant.installed() == ISSUED
    for service in SERVICES:
        issued = load_issued(paths(applicant.node, service), service, MEMBER)
        assert issued.genesis.hash == served.consortium.genesis.hash
        assert (issued.broker.host, issued.broker.port) == ("broker.example", 8883)
    assert (applicant.node / "secrets").stat().st_mode & 0o777 == 0o700
    for name in ("node.key", "application.json"):
        assert (applicant.node / "secrets" / name).stat().st_mode & 0o777 == 0o600
    assert (applicant.node / "issued").stat().st_mode & 0o755 == 0o755


def test_the_applicant_sees_the_fingerprint_of_what_it_sent_and_each_state_once(
    applicant: Applicant, served: FakeAdmission
) -> None:
    states = ["pending", "pending", "approving", "approving", "approved"]

    def go_on(count: int) -> None:
        served.state = states[count]

    applicant.on_sleep = go_on
    applicant.join()
    fingerprint = application_fingerprint(applicant.application())
    assert [line for line in applicant.said if fingerprint in line]
    assert [line for line in applicant.said if line.startswith("State")] == ["State: pending", "State: approving"]


def test_it_waits_for_services_that_have_not_started_yet_and_says_which(tmp_path: Path, served: FakeAdmission) -> None:
    node = tmp_path / "late"
    enrol(node, "miner")
    applicant = Applicant(node, served)

    def start(count: int) -> None:
        if count == 2:
            enrol(node, "ledger", "peer")
        served.state = "approved"

    applicant.on_sleep = start
    applicant.join()
    assert applicant.installed() == ISSUED
    assert [line for line in applicant.said if "ledger, peer" in line and "start them" in line]


def test_a_node_that_has_joined_is_left_alone(applicant: Applicant, served: FakeAdmission) -> None:
    served.state = "approved"
    applicant.join()
    before = (applicant.node / "secrets" / "node.key").read_bytes()
    served.requests.clear()
    applicant.join()
    assert served.requests == []
    assert (applicant.node / "secrets" / "node.key").read_bytes() == before


# who is at the other end


def test_a_wrong_ca_fingerprint_is_refused_before_anything_is_sent(applicant: Applicant, served: FakeAdmission) -> None:
    wrong = "sha256:" + "ab" * 32
    refusal = applicant.refusal(ca_fingerprint=wrong)
    assert refusal.code is Code.BAD_ENROLMENT
    assert refusal.values == {"expected": wrong, "found": served.fingerprint}
    assert served.requests == ["GET /ca.crt"]
    assert applicant.installed() == []


def test_a_server_whose_certificate_is_not_by_the_announced_ca_is_refused(
    applicant: Applicant, admission: FakeAdmission, tmp_path: Path
) -> None:
    with admission.serve(authority=Authority(tmp_path / "other")):
        refusal = applicant.refusal()
    assert "in between" in refusal.message
    assert admission.requests == ["GET /ca.crt"]


def test_a_second_ca_behind_the_announced_one_is_not_trusted(
    applicant: Applicant, admission: FakeAdmission, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    admission.served_ca = admission.authority.ca_pem + other.ca_pem
    with admission.serve(authority=other):
        refusal = applicant.refusal()
    assert "in between" in refusal.message
    assert admission.requests == ["GET /ca.crt"]


def test_a_server_certificate_for_another_name_is_refused(applicant: Applicant, admission: FakeAdmission) -> None:
    with admission.serve(host="elsewhere.example"):
        refusal = applicant.refusal()
    assert "another name" in refusal.message


def test_an_unreachable_server_is_one_clear_line(applicant: Applicant, admission: FakeAdmission) -> None:
    with admission.serve() as url:
        pass
    refusal = applicant.refusal(TransientFault, url=url)
    assert refusal.code is Code.PEER_UNREACHABLE
    assert refusal.values["url"] == url


def test_something_else_than_admission_is_recognised(applicant: Applicant, served: FakeAdmission) -> None:
    served.served_ca = b"<html>login</html>"
    assert "is the URL right" in applicant.refusal().message


@pytest.mark.parametrize(
    ("offset_ms", "text"), [(-10 * 60_000, "10 minutes behind"), (3 * 3_600_000, "180 minutes ahead")]
)
def test_a_clock_that_is_off_by_minutes_is_named(
    applicant: Applicant, served: FakeAdmission, offset_ms: int, text: str
) -> None:
    applicant.clock.advance(offset_ms)
    refusal = applicant.refusal(LocalFault)
    assert refusal.code is Code.CLOCK_OFFSET
    assert text in refusal.message
    assert served.applications == {}


# what is refused


@pytest.mark.parametrize("member", ["Mokpo", "consortium", "a_b", "-a", "", "x" * 33, "a/b"])
def test_a_bad_member_id_is_refused_before_any_connection(
    applicant: Applicant, served: FakeAdmission, member: str
) -> None:
    assert applicant.refusal(member=member).code is Code.BAD_MEMBER_ID
    assert served.requests == []


@pytest.mark.parametrize("field", ["name", "contact"])
@pytest.mark.parametrize("text", ["", "x" * 201, "line\nbreak", "\x1b[2J"])
def test_name_and_contact_have_a_form(applicant: Applicant, served: FakeAdmission, field: str, text: str) -> None:
    assert applicant.refusal(LocalFault, **{field: text}).code is Code.BAD_ENROLMENT
    assert served.applications == {}


def test_a_name_that_is_taken_is_said_and_another_can_be_tried_at_once(
    applicant: Applicant, served: FakeAdmission
) -> None:
    served.refusal = (409, "member_exists", "This member id is taken, or was used before")
    refusal = applicant.refusal()
    assert (refusal.code, refusal.message) == (Code.MEMBER_EXISTS, "This member id is taken, or was used before")
    served.refusal = None
    served.state = "approved"
    for service in SERVICES:
        (applicant.node / "enrol" / f"{service}.json").unlink()
    enrol(applicant.node, member="mokpo-two")
    applicant.join(member="mokpo-two")
    assert applicant.installed() == ISSUED


def test_a_rejection_shows_its_reason_and_the_next_run_applies_anew(
    applicant: Applicant, served: FakeAdmission
) -> None:
    served.state, served.reason = "rejected", "Please call us first"
    assert applicant.refusal().values["reason"] == "Please call us first"
    assert applicant.installed() == []
    served.state = "approved"
    applicant.join()
    assert len(served.applications) == 2


def test_services_of_another_member_are_named(applicant: Applicant, served: FakeAdmission) -> None:
    refusal = applicant.refusal(LocalFault, member="somebody-else")
    assert refusal.values["found"] == f"{MEMBER}.ledger"
    assert served.applications == {}


def test_a_damaged_enrolment_file_is_named(applicant: Applicant, served: FakeAdmission) -> None:
    file = applicant.node / "enrol" / "miner.json"
    file.write_text(file.read_text().replace("minervas", "m").replace('"member":"mokpo', '"member":"nokpo'))
    refusal = applicant.refusal(LocalFault)
    assert refusal.values["file"] == str(file)
    assert served.applications == {}


def test_the_time_given_limits_the_waiting(applicant: Applicant, served: FakeAdmission) -> None:
    refusal = applicant.refusal(TransientFault, timeout_s=0.0)
    assert refusal.code is Code.TIMEOUT
    assert "pending" in str(refusal.values["waiting_for"])
    served.state = "approved"
    applicant.join()
    assert len(served.applications) == 1


def test_a_server_that_received_another_application_is_noticed(applicant: Applicant, served: FakeAdmission) -> None:
    served.change_receipt = lambda receipt: msgspec.structs.replace(receipt, fingerprint="0000 " * 5 + "0000")
    served.state = "approved"
    assert "another application" in applicant.refusal().message
    assert applicant.installed() == []


# interruptions


def test_an_application_whose_receipt_was_lost_is_sent_again_as_the_same_one(
    applicant: Applicant, served: FakeAdmission
) -> None:
    served.drop_answer_to = {"/v1/applications"}
    assert applicant.refusal(TransientFault).code is Code.PEER_UNREACHABLE
    served.drop_answer_to = set()
    served.state = "approved"
    applicant.join(name="Another name this time")
    assert served.requests.count("POST /v1/applications") == 2
    assert applicant.application().name == "Mokpo National University"


def test_an_application_that_never_arrived_and_is_old_now_is_made_anew(
    applicant: Applicant, served: FakeAdmission
) -> None:
    served.refusal = (503, "database_away", "Try again later")
    applicant.refusal(TransientFault)
    applicant.clock.advance(3_600_000)
    served.time_ms += 3_600_000
    served.refusal = (422, "clock_offset", "The clocks differ")

    def accept_the_second(path: str) -> None:
        if path == "/v1/applications":
            served.refusal = None

    served.on_request = accept_the_second
    served.state = "approved"
    applicant.join()
    assert applicant.application().sent_at_ms == NOW_MS + 3_600_000


def test_a_run_that_was_interrupted_while_it_waited_goes_on_with_the_same_application(
    applicant: Applicant, served: FakeAdmission
) -> None:
    def interrupt(_count: int) -> None:
        raise KeyboardInterrupt

    applicant.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        applicant.join()
    served.state = "approved"
    applicant.join()
    assert served.requests.count("POST /v1/applications") == 1
    assert applicant.installed() == ISSUED


def test_a_server_that_goes_away_while_it_waits_is_asked_again(applicant: Applicant, admission: FakeAdmission) -> None:
    with admission.serve() as url:

        def lose(count: int) -> None:
            admission.drop_answer_to = (
                {f"/v1/applications/{key}" for key in admission.applications} if count < 3 else set()
            )
            admission.state = "approved"

        applicant.on_sleep = lose
        applicant.join(url=url)
    assert [line for line in applicant.said if "trying on" in line]
    assert applicant.installed() == ISSUED


@pytest.mark.parametrize("number", range(len(ISSUED)))
def test_an_installation_that_fails_at_any_file_is_never_ready_and_the_next_run_completes_it(
    applicant: Applicant, served: FakeAdmission, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    written: list[Path] = []

    def fail(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        if len(written) == number:
            raise LocalFault(Code.BAD_KEY_FILE, "No space left", file=str(path))
        written.append(path)
        write_atomic(path, data, mode=mode)

    served.state = "approved"
    with monkeypatch.context() as patched:
        patched.setattr(install_module, "write_atomic", fail)
        assert applicant.refusal(LocalFault).code is Code.BAD_KEY_FILE
    assert "ready" not in applicant.installed()
    node_key = (applicant.node / "secrets" / "node.key").read_bytes()
    applicant.join()
    assert applicant.installed() == ISSUED
    assert (applicant.node / "secrets" / "node.key").read_bytes() == node_key
    assert len(served.applications) == 1


def test_another_application_of_the_same_node_is_not_mixed_up(applicant: Applicant, served: FakeAdmission) -> None:
    applicant.refusal(TransientFault, timeout_s=0.0)
    for service in SERVICES:
        (applicant.node / "enrol" / f"{service}.json").unlink()
    enrol(applicant.node, member="mokpo-two")
    refusal = applicant.refusal(LocalFault, member="mokpo-two")
    assert refusal.values["member"] == MEMBER


def test_services_that_lost_their_keys_after_the_application_are_noticed(
    applicant: Applicant, served: FakeAdmission
) -> None:
    applicant.refusal(TransientFault, timeout_s=0.0)
    enrol(applicant.node, generation="new")
    assert "other keys" in applicant.refusal(LocalFault).message


# what is granted


Change = Callable[[Grant], Grant]
Maker = Callable[[FakeAdmission, Path], Change]


def certificate(service: str, *, principal: str = "", **changes: object) -> Maker:
    """A grant whose certificate of one service is made otherwise."""

    def make(admission: FakeAdmission, directory: Path) -> Change:
        if changes.get("authority") == "another":
            changes["authority"] = Authority(directory)

        def change(grant: Grant) -> Grant:
            (body,) = admission.applications.values()
            application = msgspec.json.decode(body, type=Application)
            enrolment = next(item for item in application.services if item.claim.service == service)
            pem = admission.certify(enrolment, principal or f"{MEMBER}.{service}", **changes)
            return msgspec.structs.replace(grant, certificates={**grant.certificates, service: pem})

        return change

    return make


def field(make: Callable[[FakeAdmission, Path, Grant], dict[str, object]]) -> Maker:
    """A grant with other fields."""
    return lambda admission, directory: (
        lambda grant: msgspec.structs.replace(grant, **make(admission, directory, grant))
    )


def all_by_another_ca(admission: FakeAdmission, directory: Path) -> Change:
    """A grant that fits together, but by another authority than the one whose fingerprint we were told."""
    other = Authority(directory)

    def change(grant: Grant) -> Grant:
        for service in SERVICES:
            grant = certificate(service, authority=other)(admission, directory)(grant)
        return msgspec.structs.replace(grant, ca_pem=other.ca_pem.decode())

    return change


def other_parameters(admission: FakeAdmission) -> bytes:
    """A genesis of the same network by the same authority, but not the one that was announced."""
    consortium = admission.consortium
    body = msgspec.structs.replace(consortium.genesis.body, created_ms=NOW_MS + 1)
    return sign_genesis(body, consortium.authority).raw


STRANGER = Consortium(network="77" * 16)
WRONG_GRANTS: dict[str, Maker] = {
    "another key": certificate("peer", key=ec.generate_private_key(ec.SECP256R1()).public_key()),
    "another name": certificate("miner", principal=f"{MEMBER}.peer"),
    "another authority": certificate("ledger", authority="another"),
    "a server's": certificate("peer", usages=SERVER_AUTH),
    "nonsense": field(lambda _a, _d, grant: {"certificates": {**grant.certificates, "peer": "nonsense"}}),
    "a missing one": field(lambda _a, _d, grant: {"certificates": {"peer": grant.certificates["peer"]}}),
    "another ca": field(lambda _a, directory, _g: {"ca_pem": Authority(directory).ca_pem.decode()}),
    "all by another ca": all_by_another_ca,
    "a genesis with other parameters": field(
        lambda admission, _d, _g: {"genesis": msgspec.Raw(other_parameters(admission))}
    ),
    "another genesis": field(lambda _a, _d, _g: {"genesis": msgspec.Raw(STRANGER.genesis.raw)}),
    "a damaged genesis": field(lambda _a, _d, _g: {"genesis": msgspec.Raw(b"{}")}),
    "other keys on chain": field(
        lambda admission, _d, _g: {"membership": [msgspec.Raw(admission.consortium.member(MEMBER).admit.raw)]}
    ),
    "a foreign membership": field(lambda _a, _d, _g: {"membership": [msgspec.Raw(STRANGER.member(MEMBER).admit.raw)]}),
    "no membership": field(lambda _a, _d, _g: {"membership": []}),
}


@pytest.mark.parametrize("name", list(WRONG_GRANTS))
def test_a_wrong_grant_is_refused_and_nothing_is_installed(
    applicant: Applicant, served: FakeAdmission, tmp_path: Path, name: str
) -> None:
    served.state = "approved"
    served.change_grant = WRONG_GRANTS[name](served, tmp_path / "other")
    refusal = applicant.refusal()
    assert refusal.code is Code.BAD_ENROLMENT
    assert applicant.installed() == []
    served.change_grant = lambda grant: grant
    applicant.join()
    assert applicant.installed() == ISSUED


# the command line


def arguments(applicant: Applicant, admission: FakeAdmission) -> list[str]:
    return ["join", admission.url, "--ca-fingerprint", admission.fingerprint.upper().replace("SHA256", "sha256"),
            "--member", MEMBER, "--name", "목포대학교", "--contact", "c", "--node", str(applicant.node)]  # fmt: skip


def test_the_command_joins_with_status_0(
    applicant: Applicant, served: FakeAdmission, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minervas_peer.commands.join.SystemClock", lambda: applicant.clock)
    served.state = "approved"
    assert cli.run(arguments(applicant, served)) == 0
    out, err = capsys.readouterr()
    assert application_fingerprint(applicant.application()) in out
    assert err == ""
    assert applicant.application().name == "목포대학교"


def test_every_failure_of_the_command_is_one_line_and_status_1(
    applicant: Applicant, served: FakeAdmission, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minervas_peer.commands.join.SystemClock", lambda: applicant.clock)
    served.state, served.reason = "rejected", "No\x1b[2J panel\nno member"
    assert cli.run(arguments(applicant, served)) == 1
    _, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert "No\\x1b[2J panel\\nno member" in err


@pytest.mark.parametrize(
    ("changed", "value"),
    [(1, "http://localhost:1"), (1, "localhost"), (3, "sha256:12"), (3, "md5:" + "0" * 64), (9, "")],
)
def test_wrong_usage_is_status_2(
    applicant: Applicant, served: FakeAdmission, capsys: pytest.CaptureFixture[str], changed: int, value: str
) -> None:
    given = arguments(applicant, served)
    given[changed] = value
    if changed == 9:
        given = given[:9]
    with pytest.raises(SystemExit) as end:
        cli.run(given)
    assert end.value.code == 2
    assert served.requests == []
    assert json.dumps(value)[1:-1] in capsys.readouterr().err
