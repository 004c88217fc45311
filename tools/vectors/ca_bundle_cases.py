"""Signed CA bundles: which a node installs, and which it refuses (spec/membership.md)."""

from __future__ import annotations

from msgspec.structs import replace

from minervas_core.ca_bundle import MAX_CA_BUNDLE_BYTES, PURPOSE, SignedCaBundle, check_ca_bundle, sign_ca_bundle
from minervas_core.encoding import decode, encode
from minervas_core.keys import signing_bytes
from tools.vectors.document_cases import changed, put
from tools.vectors.enrolment_samples import signed_ca_bundle
from tools.vectors.fixtures import AUTHORITY, MOKPO, NETWORK, OTHER_NETWORK
from tools.vectors.format import Case, refused

INSTALLED = 3
"""Number of the bundle that the node of the vectors has."""


def ca_bundle_cases() -> list[Case]:
    """Bundles that are installed: a newer one, and the same again."""
    same = signed_ca_bundle()
    newer = sign_ca_bundle(replace(same.bundle, number=4, certificates=same.bundle.certificates[::-1]), AUTHORITY, [])
    return [
        {
            "name": name,
            "canonical_hex": encode(signed).hex(),
            "signed_bytes_hex": signing_bytes(PURPOSE, NETWORK, encode(signed.bundle)).hex(),
            "authority": AUTHORITY.public,
            "installed": INSTALLED,
        }
        for name, signed in {"the same number": same, "a higher number": newer}.items()
    ]


def judge_ca_bundle(raw: bytes) -> None:
    """Check a bundle as the node of the vectors does."""
    signed = decode(raw, SignedCaBundle, max_bytes=MAX_CA_BUNDLE_BYTES)
    check_ca_bundle(signed, network=NETWORK, trusted=frozenset([AUTHORITY.public]), installed=INSTALLED)


def refused_ca_bundle_cases() -> list[Case]:
    """Bundles that are refused, each with one fault."""
    good = signed_ca_bundle()
    raw = encode(good)
    older = sign_ca_bundle(replace(good.bundle, number=2), AUTHORITY, [])
    foreign = sign_ca_bundle(replace(good.bundle, network=OTHER_NETWORK), AUTHORITY, [])
    faults = {
        "a lower number": encode(older),
        "another network": encode(foreign),
        "signed by somebody else": encode(sign_ca_bundle(good.bundle, MOKPO.wallet, [])),
        "signed by somebody else in the authority's name": changed(
            raw, put("signature", value=sign_ca_bundle(good.bundle, MOKPO.wallet, []).signature)
        ),
        "number changed after signing": changed(raw, put("bundle", "number", value=9)),
        "certificate changed after signing": changed(raw, put("bundle", "certificates", 0, value="x")),
        "no certificate": changed(raw, put("bundle", "certificates", value=[])),
        "five certificates": changed(raw, put("bundle", "certificates", value=["x"] * 5)),
        "unknown field": changed(raw, put("extra", value=1)),
    }
    return refused(faults, judge_ca_bundle)
