"""Which keys a member has, by the transactions that the authority signed for it.

The chain may be a few blocks behind this, or wait: a recovery that was signed takes effect only after its wait. But
admission itself decided it, so the new wallet speaks to admission from then on and the lost one no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from minervas_admission.store.database import Connection
from minervas_admission.store.transactions import ALIVE, TransactionRow, transactions_of_member
from minervas_core.membership import membership_of
from minervas_core.transactions import Admit, Recover, RegisterMeter, Rotate, ServiceKeys, decode_transaction


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """The keys of a member."""

    keys: ServiceKeys
    """The newest of each, whether or not a block carries them yet."""
    wallets: tuple[str, ...]
    """Wallets (public, hex) that speak to admission for the member, newest first: while a rotation of the wallet may
    not be on chain yet, the one before it too. After a recovery was signed only the new one."""
    meters: dict[str, str]
    """Newest gateway key of each registered meter."""


async def current_keys(connection: Connection, member: str) -> MemberKeys | None:
    """The keys of a member; None if no admission of it was signed."""
    return keys_of(await transactions_of_member(connection, member))


async def current_wallets(connection: Connection, member: str) -> tuple[str, ...]:
    """Wallets that speak to admission for a member, newest first; none if it was never admitted."""
    found = await current_keys(connection, member)
    return found.wallets if found is not None else ()


def keys_of(rows: Sequence[TransactionRow]) -> MemberKeys | None:
    """The keys to which a member's transactions lead, in the order in which they were signed."""
    found: MemberKeys | None = None
    for row in rows:
        if row.state in ALIVE:
            found = _after(found, row)
    return found


def _after(found: MemberKeys | None, row: TransactionRow) -> MemberKeys | None:
    change = membership_of(decode_transaction(row.raw)).change
    if isinstance(change, Admit):
        return MemberKeys(change.keys, (change.keys.wallet,), {})
    if found is None:
        return None
    match change:
        case Rotate():
            given = change.keys.given()
            wallets = found.wallets
            if "wallet" in given:
                earlier = wallets[:1] if row.state == "open" else ()
                wallets = (given["wallet"], *earlier)
            meters = found.meters | {each.meter: each.gateway for each in change.meters}
            return MemberKeys(msgspec.structs.replace(found.keys, **given), wallets, meters)
        case Recover(wallet=wallet):
            return MemberKeys(msgspec.structs.replace(found.keys, wallet=wallet), (wallet,), found.meters)
        case RegisterMeter(gateway=gateway, meter=meter):
            return MemberKeys(found.keys, found.wallets, found.meters | {meter.meter: gateway})
    return found
