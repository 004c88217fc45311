"""Which certificate authorities a consortium's servers and members may be certified by, signed by its authority.

Servers and members trust the certificates in ``issued/ca.crt``. When the CA is replaced, this document tells every node
the new one, whoever hands it over: it needs no connection that the new or the old CA vouches for.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import Count, NetworkId, PublicKey, Record, Signature, encode
from minervas_core.enrolment import Pem
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.keys import SigningKey, verify

PURPOSE = "ca_bundle"

MAX_CA_BUNDLE_BYTES = 262_144
"""Two certificates have about 2,000; a change of the authority's key with 280 approvals has 62,700."""

MAX_AUTHORITIES = 4
"""Two during a rollover; more only if one is forced before the last has ended."""

MAX_AUTHORITY_CHANGES = 64
"""Changes of the authority's key that come along."""


class CaBundle(Record, frozen=True, kw_only=True):
    """What the authority signs."""

    network: NetworkId
    number: Count
    """Rises with every change; a node never goes back to a lower one."""
    certificates: Annotated[list[Pem], msgspec.Meta(min_length=1, max_length=MAX_AUTHORITIES)]
    """CA certificates in PEM, one each, the one that signs first."""


class SignedCaBundle(Record, frozen=True, kw_only=True):
    """What admission hands to anybody who asks."""

    bundle: CaBundle
    signer: PublicKey
    """The authority's key that signed."""
    signature: Signature
    changes: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_AUTHORITY_CHANGES)]
    """Transactions that replaced the authority's key, oldest first, for nodes that do not know the signer yet."""


def sign_ca_bundle(bundle: CaBundle, authority: SigningKey, changes: list[msgspec.Raw]) -> SignedCaBundle:
    """Sign a bundle with the authority's key."""
    signature = authority.sign(PURPOSE, bundle.network, encode(bundle))
    return SignedCaBundle(bundle=bundle, signer=authority.public, signature=signature, changes=changes)


def check_ca_bundle(signed: SignedCaBundle, *, network: str, trusted: frozenset[str], installed: int) -> CaBundle:
    """Return what was signed, if we may install it.

    Args:
        signed: the document.
        network: our network id.
        trusted: keys that count as the authority's.
        installed: number of the bundle that we have, or 0.

    Raises:
        InvalidEnrolment: ``wrong_network``; ``bad_signature`` if no trusted key signed it; ``ca_bundle_old`` if we have
            a newer one.
    """
    bundle = signed.bundle
    if bundle.network != network:
        raise InvalidEnrolment(Code.WRONG_NETWORK, "The CA bundle is another network's", network=bundle.network)
    if signed.signer not in trusted:
        raise InvalidEnrolment(
            Code.BAD_SIGNATURE, "The CA bundle is not signed by the consortium's authority", signer=signed.signer
        )
    if not verify(signed.signer, PURPOSE, network, encode(bundle), signed.signature):
        raise InvalidEnrolment(Code.BAD_SIGNATURE, "The signature of the CA bundle is wrong", signer=signed.signer)
    if bundle.number < installed:
        raise InvalidEnrolment(
            Code.CA_BUNDLE_OLD,
            "The CA bundle is older than the installed one",
            number=bundle.number,
            installed=installed,
        )
    return bundle
