"""What an admission grants is checked before anything of it is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.enrolment import Application, Grant
from minervas_core.errors import Code
from minervas_core.genesis import sign_genesis
from tests.support.applicant import ISSUED, MEMBER, SERVICES, Applicant
from tests.support.fake_admission import FakeAdmission
from tests.support.peer import NOW_MS, Consortium
from tests.support.pki import SERVER_AUTH, Authority

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
    assert refusal.code in (Code.BAD_ENROLMENT, Code.CA_MISMATCH)
    assert applicant.installed() == []
    served.change_grant = lambda grant: grant
    applicant.join()
    assert applicant.installed() == ISSUED
