"""Membership transactions of every kind for the vectors. A member's second keys are those of its name and a number."""

from __future__ import annotations

from msgspec import UNSET

from minervas_core.transactions import (
    Leave,
    MeterKey,
    NewKeys,
    Recover,
    Resume,
    Rotate,
    Suspend,
    Transaction,
    Veto,
    WalletConsent,
    sign_consent,
    sign_transaction,
)
from tools.vectors.fixtures import HAENAM, KIM, NETWORK, MemberKeys, member_keys, membership, seed
from tools.vectors.market_fixtures import gateway_key

KIM_2, KIM_3, HAENAM_2 = (member_keys(name) for name in ("kim-house 2", "kim-house 3", "haenam-farm 2"))


def suspend(who: MemberKeys, name: str = "") -> Transaction:
    """A suspension; `name` makes its salt, here and below."""
    return membership(Suspend(member=who.member), f"suspend {who.member} {name}")


def resume(who: MemberKeys, name: str = "") -> Transaction:
    """The end of a suspension."""
    return membership(Resume(member=who.member), f"resume {who.member} {name}")


def leave(who: MemberKeys, name: str = "") -> Transaction:
    """A member leaves."""
    return membership(Leave(member=who.member), f"leave {who.member} {name}")


def consent_body(who: MemberKeys, to: MemberKeys) -> WalletConsent:
    """What the old wallet signs."""
    return WalletConsent(member=who.member, wallet=to.wallet.public, expires_height=50)


def rotate_wallet(who: MemberKeys, to: MemberKeys, name: str = "", *, signer: MemberKeys | None = None) -> Transaction:
    """A new wallet and box key, with the consent of the old wallet or of another one."""
    consent = sign_consent(consent_body(who, to), NETWORK, (signer or who).wallet)
    keys = NewKeys(wallet=to.wallet.public, box=to.box.public)
    change = Rotate(member=who.member, keys=keys, meters=[], consent=consent)
    return membership(change, f"rotate {who.member} {to.member} {name}")


def rotate_others(who: MemberKeys, to: MemberKeys, name: str = "", *, meters: tuple[MeterKey, ...] = ()) -> Transaction:
    """A new block key and vote key, and gateway keys of meters."""
    keys = NewKeys(block=to.block.public, vote=to.vote.public)
    change = Rotate(member=who.member, keys=keys, meters=list(meters), consent=UNSET)
    return membership(change, f"rotate others {who.member} {to.member} {name}")


def recover(who: MemberKeys, to: MemberKeys, name: str = "") -> Transaction:
    """A request for a new wallet."""
    change = Recover(member=who.member, wallet=to.wallet.public)
    return membership(change, f"recover {who.member} {to.member} {name}")


def veto(signer: MemberKeys, recovery: Transaction, name: str = "") -> Transaction:
    """An objection by a wallet."""
    body = Veto(
        network=NETWORK,
        sender=signer.wallet.public,
        salt=seed(f"salt veto {signer.member} {recovery.id} {name}", 16).hex(),
        expires_height=50,
        recovery=recovery.id,
    )
    return sign_transaction(body, signer.wallet)


SUSPENSION, RESUMPTION, LEAVING = suspend(KIM), resume(KIM), leave(KIM)
WALLET_ROTATION = rotate_wallet(KIM, KIM_2)
ROOF_KEY = MeterKey(meter="roof", gateway=gateway_key(HAENAM_2).public)
KEY_ROTATION = rotate_others(HAENAM, HAENAM_2, meters=(ROOF_KEY,))
RECOVERY = recover(KIM, KIM_2)
VETO = veto(KIM, RECOVERY)
