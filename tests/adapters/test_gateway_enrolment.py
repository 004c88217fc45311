"""What the gateway hands in to join."""

from __future__ import annotations

from pathlib import Path

import msgspec
from cryptography import x509

from minervas_core.encoding import encode
from minervas_core.enrolment import NO_NETWORK, PURPOSE
from minervas_core.keys import verify
from minervas_meter_gateway.enrolment import (
    ChannelClaim,
    GatewayEnrolment,
    MeterClaim,
    claimed_meters,
    write_gateway_enrolment,
)
from minervas_runtime.settings import NodePaths
from tests.support.gateway import ARRAY, GATEWAY, GATEWAY_KEY, PV1, load, write_settings


def enrol(directory: Path, meters: list[MeterClaim]) -> GatewayEnrolment:
    """Write the enrolment and read it again."""
    paths = NodePaths(data=directory, enrol=directory, issued=directory, secrets=directory)
    write_gateway_enrolment(paths, GATEWAY, GATEWAY_KEY, meters)
    raw = (directory / "meter-gateway.json").read_bytes()
    enrolment = msgspec.json.decode(raw, type=GatewayEnrolment)
    assert encode(enrolment) == raw
    return enrolment


def test_it_claims_key_and_meters_and_proves_that_it_has_the_key(tmp_path: Path) -> None:
    ports = load(write_settings(tmp_path, {"roof": "/dev/none"}, [PV1, ARRAY]))[1]
    enrolment = enrol(tmp_path, claimed_meters(ports))
    claim = enrolment.claim
    assert (claim.member, claim.service, claim.signing_key) == (*str(GATEWAY).split("."), GATEWAY_KEY.public)
    assert claim.meters == [
        MeterClaim(id="pv1", register_step_wh=1, channels=[ChannelClaim(name="dc", rated_w=120)]),
        MeterClaim(id="array", register_step_wh=10, channels=[ChannelClaim(name="export", rated_w=30_000)]),
    ]
    assert verify(claim.signing_key, PURPOSE, NO_NETWORK, encode(claim), enrolment.signature)
    request = x509.load_pem_x509_csr(claim.csr.encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == f"CN={GATEWAY}"


def test_the_same_claim_is_not_written_twice_and_another_one_is(tmp_path: Path) -> None:
    first = enrol(tmp_path, [])
    assert enrol(tmp_path, []) == first
    more = [MeterClaim(id="pv1", register_step_wh=1, channels=[ChannelClaim(name="dc", rated_w=1)])]
    assert enrol(tmp_path, more).claim.meters == more


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    first = enrol(tmp_path, [])
    (tmp_path / "meter-gateway.json").write_bytes(b"{}")
    assert enrol(tmp_path, []).claim.signing_key == first.claim.signing_key
