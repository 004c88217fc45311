"""`minervas join` against a stand-in for admission with real TLS: from enrolment files to installed certificates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minervas_core.enrolment import application_fingerprint
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_peer import cli
from minervas_peer.join import install as install_module
from minervas_runtime.enrolment import load_issued
from minervas_runtime.key_files import write_atomic
from tests.support.applicant import ISSUED, MEMBER, SERVICES, Applicant, approve, enrol, paths
from tests.support.fake_admission import FakeAdmission
from tests.support.peer import NOW_MS

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


# interruptions


def test_an_application_whose_receipt_was_lost_is_sent_again_as_the_same_one(
    applicant: Applicant, served: FakeAdmission
) -> None:
    served.drop_answer_to = {"/v1/applications"}
    assert applicant.refusal(TransientFault, timeout_s=0.0).code is Code.TIMEOUT
    served.drop_answer_to = set()
    served.state = "approved"
    applicant.join(name="Another name this time")
    assert served.requests.count("POST /v1/applications") == 2
    assert applicant.application().name == "Mokpo National University"


def test_an_application_that_never_arrived_and_is_old_now_is_made_anew(
    applicant: Applicant, served: FakeAdmission
) -> None:
    served.refusal = (503, "database_away", "Try again later")
    applicant.refusal(TransientFault, timeout_s=0.0)
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


# the command line


def arguments(applicant: Applicant, admission: FakeAdmission) -> list[str]:
    return ["join", admission.url, "--ca-fingerprint", admission.fingerprint.upper().replace("SHA256", "sha256"),
            "--member", MEMBER, "--name", "목포대학교", "--contact", "c", "--node", str(applicant.node),
            "--accept-visibility"]  # fmt: skip


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
