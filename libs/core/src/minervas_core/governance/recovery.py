"""Replacing a lost wallet: it is announced, waits, can be objected to, and then takes effect (design section 5).

The wait is counted from the time of the block that carries the recovery. It ends with the first block whose
predecessor's time is late enough: like the expiry of orders, so that the time which a miner still raises while it
searches does not change what applies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.governance.key_owners import check_unused
from minervas_core.governance.state import Governance, PendingRecovery
from minervas_core.transactions import Recover, Veto

if TYPE_CHECKING:
    from minervas_core.state import ChainState


def check_recovery(state: ChainState, recover: Recover, tx_id: str) -> None:
    """Check a recovery of an active member's wallet.

    Raises:
        InvalidTransaction: ``recovery_pending`` or ``key_reused``.
    """
    pending = state.governance.recoveries.get(recover.member)
    if pending is not None:
        raise InvalidTransaction(
            Code.RECOVERY_PENDING,
            "A recovery of this member waits already",
            tx=tx_id,
            member=recover.member,
            recovery=pending.transaction,
        )
    check_unused(state, recover.wallet, tx_id)


def announce_recovery(state: ChainState, recover: Recover, tx_id: str, height: int) -> None:
    """Let a checked recovery of the block at `height` wait. Its wallet is the member's from now on, come what may."""
    pending = PendingRecovery(wallet=recover.wallet, transaction=tx_id, height=height, since_ms=0)
    state.governance.recoveries.put(recover.member, pending)
    state.governance.use_up(recover.wallet, recover.member)


def start_waiting(governance: Governance, height: int, time_ms: int) -> None:
    """Tell the recoveries of the block at `height` its time, which is only known when all of it has applied."""
    for member, pending in list(governance.recoveries.items()):
        if pending.height == height:
            governance.recoveries.put(member, msgspec.structs.replace(pending, since_ms=time_ms))


def recover_wallets(state: ChainState, wait_ms: int) -> None:
    """At the start of a block: let those recoveries take effect that have waited long enough by the predecessor's time.

    Args:
        state: the state after the predecessor.
        wait_ms: how long a recovery waits.
    """
    for member, pending in sorted(state.governance.recoveries.items()):
        record = state.roster.active(member)
        if record is None or state.time_ms < pending.since_ms + wait_ms:
            continue
        state.governance.use_up(record.keys.wallet, member)
        keys = msgspec.structs.replace(record.keys, wallet=pending.wallet)
        state.roster.put(msgspec.structs.replace(record, keys=keys))
        state.governance.recoveries.drop(member)


def check_veto(state: ChainState, veto: Veto, member: str) -> None:
    """Check the objection of a member's present wallet.

    Raises:
        InvalidTransaction: ``recovery_unknown``.
    """
    pending = state.governance.recoveries.get(member)
    if pending is None or pending.transaction != veto.recovery:
        raise InvalidTransaction(
            Code.RECOVERY_UNKNOWN, "No such recovery of this member waits", member=member, recovery=veto.recovery
        )
