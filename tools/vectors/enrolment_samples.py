"""Samples of applying for membership and of adding gateways."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, structs

from minervas_core import addition, applicant, ca_bundle, enrolment, renewal
from minervas_core.encoding import Record
from minervas_core.keys import SigningKey
from tools.vectors.fixtures import (
    ADMISSIONS,
    AUTHORITY,
    GENESIS,
    GENESIS_BODY,
    HAENAM,
    NETWORK,
    START_MS,
    MemberKeys,
    seed,
)
from tools.vectors.market_fixtures import PANELS, gateway_key
from tools.vectors.rekeying_samples import key_wish, signed_rotation

NOW_MS = START_MS + 10_000
Service = Literal["ledger", "miner", "peer", "meter-gateway"]
SERVICES: tuple[Service, ...] = ("ledger", "miner", "peer")
ALL_SERVICES: tuple[Service, ...] = (*SERVICES, "meter-gateway")
CSR = "-----BEGIN CERTIFICATE REQUEST-----\nMIIBsamplesample\n-----END CERTIFICATE REQUEST-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBsamplesample\n-----END CERTIFICATE-----\n"


def service_enrolment(who: MemberKeys, service: Service) -> enrolment.ServiceEnrolment:
    """The claim of one service of a member."""
    keys: dict[Service, SigningKey] = {
        "peer": who.wallet,
        "miner": who.block,
        "ledger": who.vote,
        "meter-gateway": gateway_key(who),
    }
    claim = enrolment.ServiceClaim(
        member=who.member,
        service=service,
        csr=CSR,
        signing_key=keys[service].public,
        box=who.box.public if service == "peer" else UNSET,
        meters=[PANELS] if service == "meter-gateway" else UNSET,
    )
    return enrolment.sign_claim(claim, keys[service])


def application(who: MemberKeys, services: tuple[Service, ...] = SERVICES) -> enrolment.Application:
    """An application for membership, with a meter-gateway only if it is among the services."""
    return enrolment.Application(
        member=who.member,
        name="Haenam Solar Farm",
        contact="+82 61 000 0000",
        salt=seed(f"application {who.member}", 16).hex(),
        sent_at_ms=NOW_MS,
        services=[service_enrolment(who, service) for service in services],
        accepts_visibility=True,
    )


def about() -> applicant.About:
    """Details with one of everything."""
    return applicant.About(
        registration="123-45-67890",
        address="Haenam-gun, Jeollanam-do",
        sites=[applicant.Site(name="barn", latitude_e6=34_573_500, longitude_e6=126_599_200, address="Barn 2")],
        panels=[
            applicant.Panel(
                site="barn", rated_w=120, tilt_tenths=300, azimuth_tenths=1_800, meter="roof-east", channel="ch2"
            )
        ],
    )


def detailed_application(who: MemberKeys) -> enrolment.Application:
    """An application with details."""
    return structs.replace(application(who), about=about())


def application_form() -> applicant.ApplicationForm:
    """What was filled in on the web page."""
    return applicant.ApplicationForm(
        member=HAENAM.member, name="Haenam Solar Farm", contact="+82 61 000 0000", accepts_visibility=True,
        about=about(),
    )  # fmt: skip


def added(who: MemberKeys) -> addition.Addition:
    """A second gateway of a member."""
    claim = structs.replace(service_enrolment(who, "meter-gateway").claim, service="meter-gateway-2")
    body = addition.AdditionBody(
        member=who.member,
        salt=seed(f"addition {who.member}", 16).hex(),
        sent_at_ms=NOW_MS,
        services=[enrolment.sign_claim(claim, gateway_key(who))],
        about=about(),
    )
    return addition.sign_addition(body, who.wallet, NETWORK)


def signed_ca_bundle() -> ca_bundle.SignedCaBundle:
    """A bundle during a rollover, with two authorities."""
    second = CERTIFICATE.replace("sample", "second")
    bundle = ca_bundle.CaBundle(network=NETWORK, number=3, certificates=[CERTIFICATE, second])
    return ca_bundle.sign_ca_bundle(bundle, AUTHORITY, [])


def enrolment_samples() -> dict[str, Record]:
    """Documents of the enrolment API, by name of the sample."""
    handed_in = application(HAENAM)
    application_id = seed("application id", 16).hex()
    fingerprint = enrolment.application_fingerprint(handed_in)
    grant = enrolment.Grant(
        ca_pem=CERTIFICATE,
        certificates=dict.fromkeys(enrolment.MEMBER_SERVICES, CERTIFICATE),
        genesis=Raw(GENESIS.raw),
        membership=[Raw(ADMISSIONS[1].raw)],
        broker=enrolment.BrokerAddress(host="broker.example", port=8_883),
    )
    return {
        "ServiceEnrolment": service_enrolment(HAENAM, "peer"),
        "ServiceEnrolment, meter-gateway": service_enrolment(HAENAM, "meter-gateway"),
        "Application": handed_in,
        "Application, replacement": structs.replace(application(HAENAM), kind="replace"),
        "KeyWish": key_wish(),
        "SignedRotation": signed_rotation(HAENAM, NOW_MS),
        "Application with a meter-gateway": application(HAENAM, ALL_SERVICES),
        "Application with details": detailed_application(HAENAM),
        "ApplicationForm": application_form(),
        "Addition": added(HAENAM),
        "ApplicationReceipt": enrolment.ApplicationReceipt(
            application_id=application_id, token=seed("token").hex(), fingerprint=fingerprint
        ),
        "ApplicationState, pending": enrolment.ApplicationState(
            application_id=application_id, member=HAENAM.member, state="pending", fingerprint=fingerprint
        ),
        "ApplicationState, approved": enrolment.ApplicationState(
            application_id=application_id, member=HAENAM.member, state="approved", fingerprint=fingerprint, grant=grant
        ),
        "ApplicationState, rejected": enrolment.ApplicationState(
            application_id=application_id,
            member=HAENAM.member,
            state="rejected",
            fingerprint=fingerprint,
            reason="Not a member",
        ),
        "SignedCaBundle": signed_ca_bundle(),
        "ConsortiumInfo": enrolment.ConsortiumInfo(
            name=GENESIS_BODY.name,
            network=NETWORK,
            genesis_hash=GENESIS.hash,
            time_ms=NOW_MS,
            protocol_version=1,
        ),
    }


def renewal_request(who: MemberKeys, services: tuple[Service, ...] = ALL_SERVICES) -> renewal.Renewal:
    """A member asks for new certificates of its services."""
    body = renewal.RenewalBody(
        network=NETWORK,
        member=who.member,
        requests=[renewal.ServiceRequest(service=service, csr=CSR) for service in sorted(services)],
        salt=seed(f"renewal {who.member}", 16).hex(),
        sent_at_ms=NOW_MS,
    )
    return renewal.sign_renewal(body, who.wallet)


def renewal_samples() -> dict[str, Record]:
    """Documents of a renewal, by name of the sample."""
    return {
        "Renewal": renewal_request(HAENAM),
        "RenewalAnswer": renewal.RenewalAnswer(
            ca_pem=2 * CERTIFICATE,
            certificates=[
                renewal.ServiceCertificate(service=service, certificate=CERTIFICATE) for service in sorted(ALL_SERVICES)
            ],
            membership=[Raw(ADMISSIONS[1].raw)],
            broker=enrolment.BrokerAddress(host="broker.example", port=8_883),
        ),
    }
