"""Renewing certificates: what a wallet signs, and what admission refuses."""

from __future__ import annotations

import msgspec

from minervas_core.encoding import decode, encode
from minervas_core.enrolment import PURPOSE as ENROLMENT_PURPOSE
from minervas_core.keys import SigningKey, signing_bytes
from minervas_core.renewal import MAX_RENEWAL_BYTES, Renewal, check_renewal
from minervas_core.renewal import PURPOSE as RENEWAL_PURPOSE
from tools.vectors.document_cases import changed, put
from tools.vectors.enrolment_samples import renewal_request
from tools.vectors.fixtures import HAENAM, KIM, NETWORK, OTHER_NETWORK
from tools.vectors.format import Case, refused


def renewal_cases() -> list[Case]:
    """A renewal with the bytes that the wallet signs."""
    asked = renewal_request(HAENAM)
    return [
        {
            "name": f"all services of {HAENAM.member}",
            "canonical_hex": encode(asked).hex(),
            "signed_bytes_hex": signing_bytes(RENEWAL_PURPOSE, NETWORK, encode(asked.body)).hex(),
            "wallet": HAENAM.wallet.public,
            "signature": asked.signature,
        }
    ]


def judge_renewal(raw: bytes) -> None:
    """Check a renewal of Haenam as admission does."""
    renewal = decode(raw, Renewal, max_bytes=MAX_RENEWAL_BYTES)
    check_renewal(renewal, NETWORK, frozenset({HAENAM.wallet.public}))


def refused_renewal_cases() -> list[Case]:
    """Renewals that are refused, each with one fault."""
    good = renewal_request(HAENAM)
    raw, body = encode(good), good.body
    first, second = body.requests[:2]

    def resigned(key: SigningKey = HAENAM.wallet, purpose: str = RENEWAL_PURPOSE, **changes: object) -> bytes:
        other = msgspec.structs.replace(body, **changes)
        return encode(Renewal(body=other, signature=key.sign(purpose, other.network, encode(other))))

    faults = {
        "changed after signing": changed(raw, put("body", "sent_at_ms", value=body.sent_at_ms + 1)),
        "signed by another wallet": resigned(KIM.wallet),
        "signed by the vote key": resigned(HAENAM.vote),
        "signature made for another purpose": resigned(purpose=ENROLMENT_PURPOSE),
        "for another network": resigned(network=OTHER_NETWORK),
        "a service twice": resigned(requests=[first, first]),
        "services out of order": resigned(requests=[second, first]),
        "no service": resigned(requests=[]),
        "33 services": resigned(requests=[first] * 33),
        "no name of a service": resigned(requests=[msgspec.structs.replace(first, service="Peer")]),
        "unknown field": changed(raw, put("body", "extra", value=1)),
    }
    return refused(faults, judge_renewal)
