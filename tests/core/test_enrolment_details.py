"""What an applicant says besides its keys: consent, sites, panels; and what a member adds later."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from minervas_core.addition import (
    Addition,
    addition_fingerprint,
    check_addition,
    sign_addition,
)
from minervas_core.applicant import MAX_PANELS, MAX_SITES, About, Panel, Site, panels_of, sites_of
from minervas_core.encoding import encode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    application_fingerprint,
    check_application,
    declared_meters,
    sign_claim,
)
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.market.records import Channel, MeterDeclaration
from tools.vectors.document_cases import changed, put
from tools.vectors.enrolment_samples import (
    ALL_SERVICES,
    about,
    added,
    application,
    detailed_application,
    service_enrolment,
)
from tools.vectors.fixtures import HAENAM, KIM, NETWORK
from tools.vectors.market_fixtures import PANELS, gateway_key

GOOD = detailed_application(HAENAM)
ADDED = added(HAENAM)
SITE = sites_of(GOOD.about)[0]
PANEL = panels_of(GOOD.about)[0]


def with_details(**changes: object) -> About:
    return msgspec.structs.replace(about(), **changes)


def test_who_does_not_accept_that_all_members_see_trades_is_refused() -> None:
    with pytest.raises(InvalidEnrolment) as refused:
        check_application(msgspec.structs.replace(GOOD, accepts_visibility=False))
    assert refused.value.code is Code.CONSENT_MISSING


@pytest.mark.parametrize(
    "details",
    [
        with_details(sites=[SITE, SITE]),
        with_details(sites=msgspec.UNSET),
        with_details(panels=[msgspec.structs.replace(PANEL, site="elsewhere")]),
        with_details(panels=[msgspec.structs.replace(PANEL, channel=msgspec.UNSET)]),
        with_details(panels=[msgspec.structs.replace(PANEL, meter=msgspec.UNSET)]),
    ],
)
def test_details_that_do_not_fit_together_are_refused(details: About) -> None:
    with pytest.raises(InvalidEnrolment) as refused:
        check_application(msgspec.structs.replace(GOOD, about=details))
    assert refused.value.code is Code.BAD_ENROLMENT


@pytest.mark.parametrize(
    "details",
    [
        msgspec.UNSET,
        with_details(registration="other"),
        with_details(address=msgspec.UNSET),
        with_details(sites=[msgspec.structs.replace(SITE, latitude_e6=SITE.latitude_e6 + 1)]),
        with_details(sites=[msgspec.structs.replace(SITE, longitude_e6=0)]),
        with_details(sites=[msgspec.structs.replace(SITE, address="elsewhere")]),
        with_details(panels=[msgspec.structs.replace(PANEL, tilt_tenths=0)]),
        with_details(panels=[msgspec.structs.replace(PANEL, azimuth_tenths=0)]),
        with_details(panels=[msgspec.structs.replace(PANEL, rated_w=1)]),
        with_details(panels=[PANEL, PANEL]),
    ],
)
def test_every_detail_is_in_the_fingerprint(details: About | msgspec.UnsetType) -> None:
    other = msgspec.structs.replace(GOOD, about=details)
    assert application_fingerprint(other) != application_fingerprint(GOOD)
    body = msgspec.structs.replace(ADDED.body, about=details)
    assert addition_fingerprint(sign_addition(body, HAENAM.wallet, NETWORK)) != addition_fingerprint(ADDED)


def test_the_largest_details_fit_into_an_application_with_all_meters() -> None:
    sites = [
        Site(name=f"site-{number:02}", latitude_e6=-90_000_000, longitude_e6=-180_000_000, address="목" * 200)
        for number in range(MAX_SITES)
    ]
    panel = Panel(
        site="site-00", rated_w=100_000_000, tilt_tenths=900, azimuth_tenths=3_599, meter="m" * 32, channel="c" * 32
    )
    meters = [
        MeterDeclaration(
            meter=f"{number:032}", model="m" * 32, channels=[Channel(name="c", rated_w=1)], register_step_wh=1
        )
        for number in range(64)
    ]
    claim = msgspec.structs.replace(service_enrolment(HAENAM, "meter-gateway").claim, meters=meters, csr="x" * 1_000)
    largest = msgspec.structs.replace(
        application(HAENAM),
        services=[*application(HAENAM).services, sign_claim(claim, gateway_key(HAENAM))],
        about=About(sites=sites, panels=[panel] * MAX_PANELS),
    )
    check_application(largest)
    assert len(encode(largest)) < MAX_APPLICATION_BYTES


def test_an_application_may_bring_several_gateways_with_keys_of_their_own() -> None:
    second = msgspec.structs.replace(
        service_enrolment(HAENAM, "meter-gateway").claim,
        service="meter-gateway-2",
        signing_key=gateway_key(KIM).public,
        meters=[msgspec.structs.replace(PANELS, meter="barn")],
    )
    brought = application(HAENAM, ALL_SERVICES)
    services = [*brought.services, sign_claim(second, gateway_key(KIM))]
    check_application(msgspec.structs.replace(brought, services=services))
    assert len(declared_meters(msgspec.structs.replace(brought, services=services))) == 2
    shared = sign_claim(msgspec.structs.replace(second, signing_key=gateway_key(HAENAM).public), gateway_key(HAENAM))
    with pytest.raises(InvalidEnrolment) as refused:
        check_application(msgspec.structs.replace(brought, services=[*brought.services, shared]))
    assert refused.value.code is Code.KEY_REUSED


# additions


def test_an_addition_is_signed_by_the_wallet_for_this_network() -> None:
    check_addition(ADDED, HAENAM.public.wallet, NETWORK)
    for wallet, network in ((KIM.public.wallet, NETWORK), (HAENAM.public.wallet, "0" * 32)):
        with pytest.raises(InvalidEnrolment) as refused:
            check_addition(ADDED, wallet, network)
        assert refused.value.code is Code.BAD_SIGNATURE


def test_nothing_in_an_addition_can_be_changed_after_signing() -> None:
    for path, value in ((("body", "salt"), "00" * 16), (("body", "about"), {}), (("body", "sent_at_ms"), 1)):
        raw = changed(encode(ADDED), put(*path, value=value))
        with pytest.raises(InvalidEnrolment) as refused:
            check_addition(msgspec.json.decode(raw, type=Addition), HAENAM.public.wallet, NETWORK)
        assert refused.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("service", ["peer", "miner", "ledger"])
def test_only_gateways_can_be_added(service: str) -> None:
    enrolled = next(one for one in GOOD.services if one.claim.service == service)
    _refused([enrolled], Code.BAD_ENROLMENT)


def test_gateways_of_an_addition_are_different_and_our_own() -> None:
    twice = msgspec.structs.replace(ADDED.services[0].claim, service="meter-gateway-3", meters=[])
    _refused(ADDED.services * 2, Code.BAD_ENROLMENT)
    _refused(added(KIM).services, Code.BAD_ENROLMENT)
    _refused([*ADDED.services, sign_claim(twice, gateway_key(HAENAM))], Code.KEY_REUSED)


def _refused(services: Sequence[object], code: Code) -> None:
    body = msgspec.structs.replace(ADDED.body, services=services)
    with pytest.raises(InvalidEnrolment) as refused:
        check_addition(sign_addition(body, HAENAM.wallet, NETWORK), HAENAM.public.wallet, NETWORK)
    assert refused.value.code is code
