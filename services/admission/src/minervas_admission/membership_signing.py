"""Signs membership transactions: numbered, stored, and only then published."""

from __future__ import annotations

from minervas_admission.authority import Consortium
from minervas_admission.store.database import Connection
from minervas_admission.store.transactions import TransactionRow, insert_transaction, next_number, operator_tip
from minervas_core.transactions import Change, Membership, sign_transaction
from minervas_runtime.randomness import new_salt


async def sign_change(
    connection: Connection,
    consortium: Consortium,
    change: Change,
    decision_id: int,
    now_ms: int,
) -> TransactionRow:
    """Sign a change of the roster and store it as the next transaction.

    It expires half the allowed span above the operator's tip as last reported, which leaves room for a report that is
    behind. One that expires before any block carried it is signed anew.
    """
    number = await next_number(connection)
    span = max(1, consortium.genesis.parameters.max_expiry_blocks // 2)
    body = Membership(
        network=consortium.network,
        sender=consortium.signer.public,
        salt=new_salt(),
        expires_height=await operator_tip(connection) + span,
        change=change,
    )
    transaction = sign_transaction(body, consortium.signer)
    row = TransactionRow(
        number=number,
        id=transaction.id,
        member=change.member,
        action=str(change.__struct_config__.tag),
        decision=decision_id,
        raw=transaction.raw,
        expires_height=body.expires_height,
        signed_ms=now_ms,
        state="open",
        height=0,
        depth=0,
    )
    await insert_transaction(connection, row)
    return row
