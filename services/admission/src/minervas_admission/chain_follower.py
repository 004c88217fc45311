"""Follows membership transactions on the chain, as the operator member's peer reports them.

* In a block, deep enough: settled, and with it the decision.
* Not in a block, and too old for any block to come: signed anew, unless the change has lost its point.
* A revocation of somebody whose admission expired is moot: there is nobody to revoke on chain.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec

from minervas_admission import audit_log
from minervas_admission.authority import Consortium
from minervas_admission.membership_feed import MembershipFeed
from minervas_admission.membership_signing import sign_change
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.decisions import find_decision, finish_decision, record_step
from minervas_admission.store.members import lock_member
from minervas_admission.store.transactions import (
    ALIVE,
    TransactionRow,
    lock_open_transaction,
    open_transactions,
    set_operator_tip,
    set_transaction_place,
    transactions_of_member,
)
from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidEncoding, MinervasError, PeerFault
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_core.membership import membership_of
from minervas_core.messages import (
    MAX_PLAIN_BYTES,
    GetTransactionStatus,
    Reply,
    TransactionStatus,
    TransactionStatuses,
)
from minervas_core.transactions import Rotate, decode_transaction
from minervas_runtime.clock import Clock
from minervas_runtime.pending_replies import NoReply
from minervas_runtime.requests import Requester

log = logging.getLogger(__name__)

MAX_ASKED = 200
"""Transactions in one question (`GetTransactionStatus`)."""

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ChainFollower:
    """Asks where transactions stand and acts on it."""

    database: Database
    consortium: Consortium
    feed: MembershipFeed
    clock: Clock
    operator_member: str
    confirm_depth: int
    interval_ms: int

    async def follow_for_ever(self, requester: Requester) -> None:
        """Ask every few seconds while something is open."""
        while True:
            try:
                await self.follow_once(requester)
            except NoReply:  # the operator's node is off, or not there yet
                log.debug("operator_peer_silent", extra={"fields": {"operator": self.operator_member}})
            except MinervasError as error:
                fields = {"code": error.code, "reason": str(error)}
                log.warning("transaction_status_unknown", extra={"fields": fields})
            await asyncio.sleep(self.interval_ms / 1000)

    async def follow_once(self, requester: Requester) -> None:
        """Ask the operator's peer about everything open.

        Raises:
            NoReply: if it does not answer.
            PeerFault: if its answer is not one.
            TransientFault: ``database_away`` or ``bus_offline``.
        """
        async with self.database.transaction() as connection:
            rows = await open_transactions(connection)
            operator = await lock_member(connection, self.operator_member)
        if operator is None or operator.state != "active":
            return
        for start in range(0, len(rows), MAX_ASKED):
            part = rows[start : start + MAX_ASKED]
            question = GetTransactionStatus(ids=[row.id for row in part])
            answer = await requester.request(self.operator_member, "peer", "tx_status", encode(question), TIMEOUT_S)
            await self.apply(part, read_statuses(answer.payload))

    async def apply(self, rows: list[TransactionRow], answer: TransactionStatuses) -> None:
        """Act on a report.

        Raises:
            TransientFault: ``database_away``.
        """
        statuses = {status.id: status for status in answer.statuses}
        async with self.database.transaction() as connection:
            await set_operator_tip(connection, answer.tip_height, self.clock.now_ms())
        for row in rows:
            if (status := statuses.get(row.id)) is not None:
                async with self.database.transaction() as connection:
                    await self._apply_one(connection, row.number, status, answer.tip_height)

    async def _apply_one(self, connection: Connection, number: int, status: TransactionStatus, tip_height: int) -> None:
        row = await lock_open_transaction(connection, number)
        if row is None:  # became pointless with one that was dealt with just before
            return
        if status.state in ("in_block", "final"):
            settled = status.state == "final"
            await set_transaction_place(
                connection,
                number,
                state="settled" if settled else "open",
                height=status.height,
                depth=status.depth,
            )
            if settled:
                await self._settle(connection, row, f"final in block {status.height}")
        elif tip_height >= row.expires_height + self.confirm_depth:
            await self._expire(connection, row)
        elif row.height:
            await set_transaction_place(connection, number, state="open")  # its block was undone

    async def _expire(self, connection: Connection, row: TransactionRow) -> None:
        """No block can carry it any more, not even after a reorganisation of the depth that we wait for."""
        if not row.member:  # who made it decides whether to make it again
            await set_transaction_place(connection, row.number, state="expired")
            await self._log_settled(connection, row, "expired")
            return
        member = await lock_member(connection, row.member)
        known = await transactions_of_member(connection, row.member)
        if row.action == "admit" and (member is None or member.state == "revoked"):
            await set_transaction_place(connection, row.number, state="expired")
            await self._settle(connection, row, "expired; the member is revoked")
            for item in known:
                if item.action == "revoke" and item.state == "open":
                    await self._moot(connection, item)
        elif row.action != "revoke" and (member is None or member.state == "revoked"):
            await set_transaction_place(connection, row.number, state="expired")
            await self._settle(connection, row, "expired; the member is revoked")
        elif row.action == "revoke" and not any(item.action == "admit" and item.state in ALIVE for item in known):
            await self._moot(connection, row)
        elif _needs_consent(row):
            await set_transaction_place(connection, row.number, state="expired")
            await self._settle(connection, row, "expired; the member's old wallet must sign for the new one again")
        else:
            await set_transaction_place(connection, row.number, state="expired")
            await self._sign_anew(connection, row)

    async def _moot(self, connection: Connection, row: TransactionRow) -> None:
        await set_transaction_place(connection, row.number, state="moot")
        await self._settle(connection, row, "moot: the admission never came into a block")

    async def _sign_anew(self, connection: Connection, row: TransactionRow) -> None:
        change = membership_of(decode_transaction(row.raw)).change
        new = await sign_change(connection, self.consortium, change, row.decision, self.clock.now_ms())
        detail = f"number {new.number}, id {new.id}, valid to height {new.expires_height}; number {row.number} expired"
        now_ms = self.clock.now_ms()
        await record_step(
            connection, row.decision, "transaction", state="done", started_ms=now_ms, finished_ms=now_ms, took_us=0,
            detail=detail,
        )  # fmt: skip
        await audit_log.append(
            connection, time_ms=now_ms, who=audit_log.SERVICE, action="sign anew", subject=row.member,
            expired=row.id, new=new.id,
        )  # fmt: skip
        self.feed.wake()

    async def _settle(self, connection: Connection, row: TransactionRow, detail: str) -> None:
        """The chain has nothing more to say: that ends the decision."""
        if not row.member:
            await self._log_settled(connection, row, detail)
            return
        now_ms = self.clock.now_ms()
        took_us = max(0, now_ms - row.signed_ms) * 1000
        await record_step(
            connection, row.decision, "chain", state="done", started_ms=row.signed_ms, finished_ms=now_ms,
            took_us=took_us, detail=detail,
        )  # fmt: skip
        decision = await find_decision(connection, row.decision)
        rest = await transactions_of_member(connection, row.member)
        if any(item.decision == row.decision and item.state == "open" for item in rest):
            return
        if decision is not None and decision.state == "carried_out":
            await finish_decision(connection, row.decision, "done", now_ms)
        await self._log_settled(connection, row, detail)

    async def _log_settled(self, connection: Connection, row: TransactionRow, detail: str) -> None:
        subject = row.member or RESERVED_MEMBER
        await audit_log.append(
            connection, time_ms=self.clock.now_ms(), who=audit_log.SERVICE, action=f"{row.action} settled",
            subject=subject, id=row.id, detail=detail,
        )  # fmt: skip
        fields = {"of": subject, "action": row.action, "number": row.number, "detail": detail}
        log.info("transaction_settled", extra={"fields": fields})


def _needs_consent(row: TransactionRow) -> bool:
    """Whether a transaction cannot be signed anew without its member, whose consent names the height of expiry."""
    change = membership_of(decode_transaction(row.raw)).change
    return isinstance(change, Rotate) and not isinstance(change.consent, msgspec.UnsetType)


def read_statuses(payload: bytes) -> TransactionStatuses:
    """Read the answer of the operator's peer.

    Raises:
        PeerFault: ``not_ready`` or whatever reason it gives for not answering.
        InvalidEncoding: if it is not an answer.
    """
    reply = decode(payload, Reply, max_bytes=MAX_PLAIN_BYTES)
    if not isinstance(reply.body, msgspec.UnsetType):
        return decode(bytes(reply.body), TransactionStatuses, max_bytes=MAX_PLAIN_BYTES)
    if isinstance(reply.failure, msgspec.UnsetType):
        raise InvalidEncoding(Code.WRONG_SHAPE, "An answer with neither a body nor a failure")
    raise PeerFault(
        Code.NOT_READY,
        "The operator's peer can not answer",
        said=reply.failure.code,
        reason=reply.failure.message,
    )
