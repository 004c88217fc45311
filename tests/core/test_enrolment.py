"""Applying for membership: every key is proved to be held, and everything is in the fingerprint."""

from __future__ import annotations

import json

import msgspec
import pytest

from minervas_core.encoding import decode, encode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    MEMBER_SERVICES,
    NO_NETWORK,
    Application,
    ServiceClaim,
    application_fingerprint,
    check_application,
    check_enrolment,
    declared_meters,
    sign_claim,
)
from minervas_core.errors import Code, InvalidEnrolment, PeerFault
from minervas_core.market.records import Channel, MeterDeclaration
from tools.vectors.document_cases import changed, put
from tools.vectors.enrolment_samples import SERVICES, application, service_enrolment
from tools.vectors.fixtures import HAENAM, KIM, MOKPO, NETWORK
from tools.vectors.market_fixtures import PANELS, gateway_key

GOOD = application(HAENAM)


def test_an_application_yields_the_keys_to_register() -> None:
    assert check_application(GOOD) == HAENAM.public


def test_services_may_come_in_any_order() -> None:
    assert check_application(msgspec.structs.replace(GOOD, services=GOOD.services[::-1])) == HAENAM.public


@pytest.mark.parametrize("service", SERVICES)
def test_a_claim_is_signed_by_the_key_that_it_names(service: str) -> None:
    enrolled = next(one for one in GOOD.services if one.claim.service == service)
    check_enrolment(enrolled)
    forged = msgspec.structs.replace(
        enrolled, signature=KIM.wallet.sign("enrolment", NO_NETWORK, encode(enrolled.claim))
    )
    with pytest.raises(InvalidEnrolment) as refused:
        check_enrolment(forged)
    assert refused.value.code is Code.BAD_SIGNATURE


def test_a_claim_is_no_signature_for_anything_else() -> None:
    """Enrolments have a purpose of their own and the network id of no network."""
    claim = GOOD.services[0].claim
    assert HAENAM.vote.sign("enrolment", NO_NETWORK, encode(claim)) == GOOD.services[0].signature
    assert HAENAM.vote.sign("enrolment", NETWORK, encode(claim)) != GOOD.services[0].signature
    assert HAENAM.vote.sign("transaction", NO_NETWORK, encode(claim)) != GOOD.services[0].signature


@pytest.mark.parametrize("missing", SERVICES)
def test_every_service_must_come(missing: str) -> None:
    rest = [one for one in GOOD.services if one.claim.service != missing]
    _refused(msgspec.structs.replace(GOOD, services=rest), Code.BAD_ENROLMENT)


@pytest.mark.parametrize("doubled", SERVICES)
def test_no_service_comes_twice(doubled: str) -> None:
    again = [one for one in GOOD.services if one.claim.service == doubled]
    _refused(msgspec.structs.replace(GOOD, services=GOOD.services + again), Code.BAD_ENROLMENT)


@pytest.mark.parametrize("position", range(3))
def test_no_service_of_another_member_is_slipped_in(position: int) -> None:
    services = list(GOOD.services)
    services[position] = application(MOKPO).services[position]
    _refused(msgspec.structs.replace(GOOD, services=services), Code.BAD_ENROLMENT)


def test_two_services_do_not_share_a_key() -> None:
    claim = ServiceClaim(member=HAENAM.member, service="miner", csr="x", signing_key=HAENAM.wallet.public)
    services = [GOOD.services[0], sign_claim(claim, HAENAM.wallet), GOOD.services[2]]
    _refused(msgspec.structs.replace(GOOD, services=services), Code.KEY_REUSED)


def test_only_the_peer_brings_a_box_key() -> None:
    claim = ServiceClaim(
        member=HAENAM.member, service="ledger", csr="x", signing_key=HAENAM.vote.public, box=HAENAM.box.public
    )
    with pytest.raises(InvalidEnrolment) as refused:
        check_enrolment(sign_claim(claim, HAENAM.vote))
    assert refused.value.code is Code.BAD_ENROLMENT


def test_a_box_key_that_nobody_can_seal_to_is_refused() -> None:
    """Otherwise one member could make every other peer fail when it answers a Hello."""
    claim = msgspec.structs.replace(GOOD.services[2].claim, box=HAENAM.box.public[:-64] + "00" * 32)
    with pytest.raises(PeerFault) as refused:
        check_enrolment(sign_claim(claim, HAENAM.wallet))
    assert refused.value.code is Code.BAD_KEY


def test_the_reserved_member_id_is_refused() -> None:
    with pytest.raises(PeerFault) as refused:
        check_application(msgspec.structs.replace(GOOD, member="consortium"))
    assert refused.value.code is Code.BAD_MEMBER_ID


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "Other"), ("contact", "other"), ("salt", "00" * 16), ("sent_at_ms", 1), ("member", "other")],
)
def test_everything_in_an_application_is_in_its_fingerprint(field: str, value: object) -> None:
    assert application_fingerprint(msgspec.structs.replace(GOOD, **{field: value})) != application_fingerprint(GOOD)


GATEWAY = service_enrolment(HAENAM, "meter-gateway")


def with_gateway(*meters: MeterDeclaration) -> Application:
    """An application with a meter-gateway that has these meters."""
    claim = msgspec.structs.replace(GATEWAY.claim, meters=list(meters))
    return msgspec.structs.replace(GOOD, services=[*GOOD.services, sign_claim(claim, gateway_key(HAENAM))])


def test_a_meter_gateway_may_come_along_with_its_meters() -> None:
    other = msgspec.structs.replace(PANELS, meter="barn")
    handed_in = with_gateway(PANELS, other)
    assert check_application(handed_in) == HAENAM.public
    key = gateway_key(HAENAM).public
    assert declared_meters(handed_in) == [(key, PANELS), (key, other)]
    assert declared_meters(with_gateway()) == declared_meters(GOOD) == []


def test_its_meters_are_in_the_fingerprint() -> None:
    rated = msgspec.structs.replace(PANELS, channels=[Channel(name="ch2", rated_w=121), PANELS.channels[1]])
    applications = (GOOD, with_gateway(), with_gateway(PANELS), with_gateway(rated))
    assert len({application_fingerprint(each) for each in applications}) == 4


def test_no_two_meters_share_an_id_and_no_two_channels_of_a_meter_a_name() -> None:
    _refused(with_gateway(PANELS, PANELS), Code.BAD_ENROLMENT)
    _refused(with_gateway(msgspec.structs.replace(PANELS, channels=[PANELS.channels[0]] * 2)), Code.BAD_ENROLMENT)


def test_only_the_meter_gateway_brings_meters_and_it_comes_once() -> None:
    without = msgspec.structs.replace(GATEWAY.claim, meters=msgspec.UNSET)
    claims = [
        (sign_claim(without, gateway_key(HAENAM)), GOOD.services),
        (sign_claim(msgspec.structs.replace(GOOD.services[0].claim, meters=[PANELS]), HAENAM.vote), GOOD.services[1:]),
    ]
    for claim, others in claims:
        _refused(msgspec.structs.replace(GOOD, services=[claim, *others]), Code.BAD_ENROLMENT)
    _refused(msgspec.structs.replace(GOOD, services=[*GOOD.services, GATEWAY, GATEWAY]), Code.BAD_ENROLMENT)


def test_the_gateway_key_is_none_of_the_other_keys() -> None:
    claim = msgspec.structs.replace(GATEWAY.claim, signing_key=HAENAM.wallet.public)
    services = [*GOOD.services, sign_claim(claim, HAENAM.wallet)]
    _refused(msgspec.structs.replace(GOOD, services=services), Code.KEY_REUSED)


def test_a_service_in_an_application_is_in_its_fingerprint() -> None:
    services = [service_enrolment(HAENAM, "ledger"), *GOOD.services[1:]]
    claim = msgspec.structs.replace(services[0].claim, csr="other")
    services[0] = sign_claim(claim, HAENAM.vote)
    assert application_fingerprint(msgspec.structs.replace(GOOD, services=services)) != application_fingerprint(GOOD)


def test_a_fingerprint_reads_well_over_the_phone() -> None:
    groups = application_fingerprint(GOOD).split(" ")
    assert len(groups) == 6
    assert all(len(group) == 4 and int(group, 16) >= 0 for group in groups)


def test_an_application_is_below_its_limit() -> None:
    assert len(encode(GOOD)) < MAX_APPLICATION_BYTES // 4
    assert [one.claim.service for one in GOOD.services] == list(MEMBER_SERVICES)


def test_an_application_can_not_draw_on_the_operators_terminal() -> None:
    for field in ("name", "contact"):
        raw = changed(encode(GOOD), put(field, value="\x1b[31mApproved\n"))
        with pytest.raises(PeerFault) as refused:
            decode(raw, Application, max_bytes=MAX_APPLICATION_BYTES)
        assert refused.value.code is Code.WRONG_SHAPE


def test_the_sample_is_what_a_member_would_send() -> None:
    assert json.loads(encode(GOOD))["services"][2]["claim"]["box"] == HAENAM.box.public


def _refused(bad: Application, code: Code) -> None:
    with pytest.raises(InvalidEnrolment) as refused:
        check_application(bad)
    assert refused.value.code is code
