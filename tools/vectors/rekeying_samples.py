"""Samples of what a node's services and its peer make to ask for new keys."""

from __future__ import annotations

from minervas_core.keys import SigningKey
from minervas_core.rekeying import (
    KeyName,
    KeyWish,
    NewKey,
    RotationRequest,
    SignedRotation,
    claim_key,
    sign_rotation,
)
from minervas_core.transactions import WalletConsent, sign_consent
from tools.vectors.fixtures import NETWORK, MemberKeys, member_keys, seed

WISH = seed("wish", 16).hex()


def key_wish() -> KeyWish:
    """What services are told."""
    return KeyWish(wish=WISH, keys=["ledger.vote", "meter-gateway.gateway"])


def signed_rotation(who: MemberKeys, now_ms: int) -> SignedRotation:
    """A request for a new wallet, box key and vote key."""
    wish, new = WISH, member_keys(f"{who.member}-2")
    consent = WalletConsent(member=who.member, wallet=new.public.wallet, expires_height=400)
    made: list[tuple[str, KeyName, SigningKey | None]] = [
        ("peer", "wallet", new.wallet), ("peer", "box", None), ("ledger", "vote", new.vote),
    ]  # fmt: skip
    claims = [
        claim_key(
            NewKey(
                wish=wish,
                member=who.member,
                service=service,
                name=name,
                key=getattr(new.public, name),
                replaces=getattr(who.public, name),
            ),
            key,
        )
        for service, name, key in made
    ]
    request = RotationRequest(
        network=NETWORK,
        member=who.member,
        salt=wish,
        sent_at_ms=now_ms,
        wallet=who.wallet.public,
        keys=claims,
        expires_height=400,
        consent=sign_consent(consent, NETWORK, who.wallet),
    )
    return sign_rotation(request, who.wallet)
