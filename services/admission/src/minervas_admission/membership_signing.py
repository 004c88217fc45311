"""Signs the authority's transactions: numbered, stored, and only then published."""

from __future__ import annotations

import msgspec

from minervas_admission.authority import Consortium
from minervas_admission.parameter_changes import WantedChange, last_carrying_height, unsigned_change
from minervas_admission.store.database import Connection
from minervas_admission.store.transactions import TransactionRow, insert_transaction, next_number, operator_tip
from minervas_core.governance.records import ChangeParameters
from minervas_core.transactions import Change, Membership, sign_transaction
from minervas_runtime.randomness import new_salt


async def sign_change(
    connection: Connection,
    consortium: Consortium,
    change: Change,
    decision_id: int,
    now_ms: int,
    *,
    expires_height: int = 0,
) -> TransactionRow:
    """Sign a change of the roster and store it as the next transaction.

    It expires half the allowed span above the operator's tip as last reported, which leaves room for a report that is
    behind. One that expires before any block carried it is signed anew. An `expires_height` may be given: a member's
    consent names it.
    """
    body = Membership(
        network=consortium.network,
        sender=consortium.signer.public,
        salt=new_salt(),
        expires_height=expires_height or await _default_expiry(connection, consortium),
        change=change,
    )
    action = str(change.__struct_config__.tag)
    return await _store_signed(
        connection, consortium, body, about=(change.member, action), decision_id=decision_id, now_ms=now_ms
    )


async def sign_parameters(
    connection: Connection, consortium: Consortium, wanted: WantedChange, decision_id: int, now_ms: int
) -> TransactionRow:
    """Sign a change of parameters and store it as the next transaction.

    It expires like any other, but at the latest when no block may carry it any more because its height has come too
    close.
    """
    latest = last_carrying_height(wanted.activation_height, consortium.genesis)
    body = msgspec.structs.replace(
        unsigned_change(wanted, consortium.genesis),
        sender=consortium.signer.public,
        salt=new_salt(),
        expires_height=min(await _default_expiry(connection, consortium), latest),
    )
    return await _store_signed(
        connection, consortium, body, about=("", "parameters"), decision_id=decision_id, now_ms=now_ms
    )


async def _default_expiry(connection: Connection, consortium: Consortium) -> int:
    return await operator_tip(connection) + max(1, consortium.genesis.parameters.max_expiry_blocks // 2)


async def _store_signed(
    connection: Connection,
    consortium: Consortium,
    body: Membership | ChangeParameters,
    *,
    about: tuple[str, str],
    decision_id: int,
    now_ms: int,
) -> TransactionRow:
    """Sign and store a transaction about a member (or nobody) that carries out an action.

    Its number is taken first, so that nobody else's can come between.
    """
    number = await next_number(connection)
    transaction = sign_transaction(body, consortium.signer)
    row = TransactionRow(
        number=number,
        id=transaction.id,
        member=about[0],
        action=about[1],
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
