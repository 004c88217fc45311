"""Membership transactions of every kind. A member's later keys are those of a name such as ``a2``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from minervas_core.keys import SigningKey
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
from tests.support.builders import EXPIRES, NETWORK, gateway_key, membership, seed_bytes, service_keys, signing_key


def suspend(member: str, *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """Take a member's vote away."""
    return membership(Suspend(member=member), expires=expires, salt=f"suspend {salt}")


def resume(member: str, *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """Give a member its vote back."""
    return membership(Resume(member=member), expires=expires, salt=f"resume {salt}")


def leave(member: str, *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """A member leaves."""
    return membership(Leave(member=member), expires=expires, salt=f"leave {salt}")


def new_keys(name: str, *services: str) -> NewKeys:
    """Some of the keys of a name."""
    keys = service_keys(name)
    return NewKeys(**{service: getattr(keys, service) for service in services})


def rotate(
    member: str,
    to: str,
    *services: str,
    meters: Mapping[str, str] | None = None,
    signer: str = "",
    expires: int = EXPIRES,
    salt: str = "",
) -> Transaction:
    """Replace some of a member's service keys by those of another name, and gateway keys of meters.

    Args:
        member: whose keys.
        to: the name whose keys take their place.
        services: which: ``wallet``, ``box``, ``block``, ``vote``.
        meters: by meter, the name whose gateway key takes the place of its.
        signer: the name whose wallet consents; the member's own unless told otherwise.
        expires: expiry height.
        salt: makes another transaction of the same content.
    """
    change = Rotate(
        member=member,
        keys=new_keys(to, *services),
        meters=[MeterKey(meter=meter, gateway=gateway_key(name).public) for meter, name in (meters or {}).items()],
        consent=consent(member, to, signer=signer, expires=expires) if "wallet" in services else msgspec.UNSET,
    )
    return membership(change, expires=expires, salt=f"rotate {to} {services} {salt}")


def consent(member: str, to: str, *, signer: str = "", expires: int = EXPIRES) -> str:
    """A wallet's signature for the wallet of another name."""
    body = WalletConsent(member=member, wallet=wallet(to).public, expires_height=expires)
    return sign_consent(body, NETWORK, wallet(signer or member))


def recover(member: str, to: str, *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """Ask for a new wallet for a member: that of another name."""
    change = Recover(member=member, wallet=wallet(to).public)
    return membership(change, expires=expires, salt=f"recover {to} {salt}")


def veto(signer: str, recovery: Transaction | str, *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """Object to a recovery with the wallet of a name."""
    key = wallet(signer)
    body = Veto(
        network=NETWORK,
        sender=key.public,
        salt=seed_bytes(f"veto {salt}", 16).hex(),
        expires_height=expires,
        recovery=recovery if isinstance(recovery, str) else recovery.id,
    )
    return sign_transaction(body, key)


def wallet(name: str) -> SigningKey:
    """The wallet of a name."""
    return signing_key(f"{name}.peer")
