"""Gateways that a member adds later (spec/membership.md)."""

from __future__ import annotations

import json

import msgspec

from minervas_core.addition import (
    PURPOSE,
    Addition,
    addition_fingerprint,
    check_addition,
    sign_addition,
)
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import MAX_APPLICATION_BYTES, NO_NETWORK
from minervas_core.keys import signing_bytes
from tools.vectors.document_cases import changed, put
from tools.vectors.enrolment_samples import added, service_enrolment
from tools.vectors.fixtures import HAENAM, KIM, NETWORK
from tools.vectors.format import Case, refused


def addition_cases() -> list[Case]:
    """An addition with its fingerprint and the bytes that the wallet signs."""
    document = added(HAENAM)
    check_addition(document, HAENAM.public.wallet, NETWORK)
    return [
        {
            "name": f"a second gateway of {HAENAM.member}",
            "canonical_hex": encode(document).hex(),
            "signed_bytes_hex": signing_bytes(PURPOSE, NETWORK, encode(document.body)).hex(),
            "wallet": HAENAM.public.wallet,
            "fingerprint": addition_fingerprint(document),
        }
    ]


def judge_addition(raw: bytes) -> None:
    """Check an addition of our member as admission does."""
    check_addition(decode(raw, Addition, max_bytes=MAX_APPLICATION_BYTES), HAENAM.public.wallet, NETWORK)


def refused_addition_cases() -> list[Case]:
    """Additions that are refused, each with one fault."""
    document = added(HAENAM)
    raw = encode(document)
    gateway = json.loads(raw)["body"]["services"][0]
    bodies = {
        "nothing added": msgspec.structs.replace(document.body, services=[]),
        "a peer added": msgspec.structs.replace(document.body, services=[service_enrolment(HAENAM, "peer")]),
        "a gateway of another member": msgspec.structs.replace(document.body, services=added(KIM).body.services),
        "one gateway twice": msgspec.structs.replace(document.body, services=document.body.services * 2),
    }
    faults = {name: encode(sign_addition(body, HAENAM.wallet, NETWORK)) for name, body in bodies.items()}
    faults |= {
        "signed by another wallet": encode(sign_addition(document.body, KIM.wallet, NETWORK)),
        "signed for another network": encode(sign_addition(document.body, HAENAM.wallet, NO_NETWORK)),
        "site moved after signing": changed(raw, put("body", "about", "sites", 0, "latitude_e6", value=1)),
        "claim changed after signing": changed(
            raw, put("body", "services", value=[{**gateway, "claim": {**gateway["claim"], "csr": "x"}}])
        ),
    }
    return refused(faults, judge_addition)
