"""What the gateway hands in to join."""

from __future__ import annotations

from pathlib import Path

import msgspec

from minervas_core.encoding import decode
from minervas_core.enrolment import MAX_APPLICATION_BYTES, ServiceEnrolment, check_enrolment
from minervas_core.market.records import Channel, MeterDeclaration
from minervas_meter_gateway.enrolment import declared_meters
from minervas_runtime.enrolment import write_enrolment
from minervas_runtime.settings import NodePaths
from tests.support.gateway import ARRAY, GATEWAY, GATEWAY_KEY, PV1, MeterSpec, load, write_settings


def enrol(directory: Path, *specs: MeterSpec) -> ServiceEnrolment:
    """Write the enrolment as the service does, and read it again."""
    paths = NodePaths(data=directory, enrol=directory, issued=directory, secrets=directory)
    ports = load(write_settings(directory, {"roof": "/dev/none"}, specs))[1]
    write_enrolment(paths, GATEWAY.member, "meter-gateway", GATEWAY_KEY, meters=declared_meters(ports))
    raw = (directory / "meter-gateway.json").read_bytes()
    enrolment = decode(raw, ServiceEnrolment, max_bytes=MAX_APPLICATION_BYTES)
    check_enrolment(enrolment)
    return enrolment


def test_it_claims_key_and_meters(tmp_path: Path) -> None:
    claim = enrol(tmp_path, PV1, ARRAY).claim
    assert (claim.member, claim.service, claim.signing_key) == (*str(GATEWAY).split("."), GATEWAY_KEY.public)
    assert claim.meters == [
        MeterDeclaration(meter="pv1", model="pzem-003", register_step_wh=1, channels=[Channel(name="dc", rated_w=120)]),
        MeterDeclaration(
            meter="array", model="sdm630", register_step_wh=10, channels=[Channel(name="export", rated_w=30_000)]
        ),
    ]


def test_the_same_claim_is_not_written_twice_and_another_one_is(tmp_path: Path) -> None:
    first = enrol(tmp_path, PV1)
    assert enrol(tmp_path, PV1) == first
    meters = enrol(tmp_path, PV1, ARRAY).claim.meters
    assert not isinstance(meters, msgspec.UnsetType)
    assert len(meters) == 2
