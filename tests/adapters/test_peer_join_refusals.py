"""`minervas join` refuses a server that is not the announced one, and tells applicants what is wrong with theirs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from minervas_core.errors import Code, LocalFault, TransientFault
from tests.support.applicant import ISSUED, MEMBER, SERVICES, Applicant, enrol
from tests.support.fake_admission import FakeAdmission
from tests.support.pki import Authority

# who is at the other end


def test_a_wrong_ca_fingerprint_is_refused_before_anything_is_sent(applicant: Applicant, served: FakeAdmission) -> None:
    wrong = "sha256:" + "ab" * 32
    refusal = applicant.refusal(ca_fingerprint=wrong)
    assert refusal.code is Code.CA_MISMATCH
    assert refusal.values == {"expected": wrong, "found": served.fingerprint}
    assert served.requests == ["GET /ca.crt"]
    assert applicant.installed() == []


def test_a_server_whose_certificate_is_not_by_the_announced_ca_is_refused(
    applicant: Applicant, admission: FakeAdmission, tmp_path: Path
) -> None:
    with admission.serve(authority=Authority(tmp_path / "other")):
        refusal = applicant.refusal()
    assert refusal.code is Code.TLS_INTERCEPTED
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
    assert refusal.code is Code.MEMBER_EXISTS
    assert refusal.message.startswith("This member id is taken, or was used before. What to do: choose another id")
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
