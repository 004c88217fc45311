"""Replacing keys of a member (design section 5, membership)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.governance.key_owners import check_gateway, check_unused, reused
from minervas_core.roster import MemberRecord
from minervas_core.transactions import Membership, Rotate, WalletConsent, consent_is_valid

if TYPE_CHECKING:
    from minervas_core.state import ChainState


def check_rotation(state: ChainState, rotate: Rotate, record: MemberRecord, body: Membership, tx_id: str) -> None:
    """Check a rotation of keys of an active member.

    Args:
        state: the state before it.
        rotate: the change.
        record: the member's record.
        body: the body whose change it is.
        tx_id: id of the transaction.

    Raises:
        InvalidTransaction: ``key_reused``, ``meter_unknown`` or ``bad_consent``.
    """
    for key in rotate.keys.given().values():
        check_unused(state, key, tx_id)
    for each in rotate.meters:
        meter = state.market.meters.get(f"{rotate.member}/{each.meter}")
        if meter is None:
            raise InvalidTransaction(Code.METER_UNKNOWN, "No such registered meter", tx=tx_id, meter=each.meter)
        if meter.gateway == each.gateway:
            raise reused(tx_id, each.gateway, rotate.member)
        check_gateway(state, each.gateway, rotate.member, tx_id)
    check_consent(rotate, record.keys.wallet, body, tx_id)


def check_consent(rotate: Rotate, old_wallet: str, body: Membership, tx_id: str) -> None:
    """Check that the old wallet (public, hex) agreed to the new one, if there is a new one.

    The consent names the transaction's height of expiry, so that it cannot be kept for later.

    Raises:
        InvalidTransaction: ``bad_consent``.
    """
    if isinstance(rotate.keys.wallet, msgspec.UnsetType) or isinstance(rotate.consent, msgspec.UnsetType):
        return
    consent = WalletConsent(member=rotate.member, wallet=rotate.keys.wallet, expires_height=body.expires_height)
    if not consent_is_valid(consent, body.network, old_wallet, rotate.consent):
        raise InvalidTransaction(
            Code.BAD_CONSENT, "The old wallet did not sign for the new one", tx=tx_id, member=rotate.member
        )


def rotate_keys(state: ChainState, rotate: Rotate, record: MemberRecord) -> None:
    """Carry out a checked rotation. With a new wallet a pending recovery ends, for the old wallet has spoken."""
    given = rotate.keys.given()
    for name in given:
        state.governance.use_up(getattr(record.keys, name), rotate.member)
    if given:
        keys = msgspec.structs.replace(record.keys, **given)
        state.roster.put(msgspec.structs.replace(record, keys=keys))
    if "wallet" in given:
        state.governance.end_recovery(rotate.member)
    for each in rotate.meters:
        key = f"{rotate.member}/{each.meter}"
        meter = state.market.meter(key)
        state.governance.use_up(meter.gateway, rotate.member)
        state.market.meters.put(key, msgspec.structs.replace(meter, gateway=each.gateway))
