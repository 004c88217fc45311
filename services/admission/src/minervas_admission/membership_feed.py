"""Hands out membership transactions: broadcast until they are settled, and all of them to any peer that asks.

None of it is secret, and everything is signed by the authority, so the messages are plain.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import accumulate

import msgspec

from minervas_admission.metrics import OPEN_TRANSACTIONS
from minervas_admission.store.database import Database
from minervas_admission.store.transactions import TransactionRow, open_transactions, transactions_from
from minervas_core.encoding import decode, encode
from minervas_core.errors import MinervasError
from minervas_core.messages import MAX_PLAIN_BYTES, Failure, GetMembership, MembershipBatch, Reply
from minervas_core.rights import ADMISSION
from minervas_core.topics import mesh
from minervas_runtime.bus import Bus
from minervas_runtime.requests import EXPIRY_S, Request

log = logging.getLogger(__name__)

MAX_BATCH = 400
"""Transactions in one message: about 1.3 MB of admissions, below MAX_PLAIN_BYTES."""

MAX_BATCH_BYTES = MAX_PLAIN_BYTES - 1_000
"""Their bytes: a change of the authority's key by the members is larger than an admission."""

MAX_REQUEST_BYTES = 256


class MembershipFeed:
    """Publishes and serves membership transactions."""

    def __init__(self, database: Database, *, interval_ms: int) -> None:
        self._database = database
        self._interval_s = interval_ms / 1000
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Publish soon: there is a new transaction, or the broker is back."""
        self._wake.set()

    async def publish_for_ever(self, bus: Bus) -> None:
        """Publish what is not settled yet, every few seconds and when woken."""
        while True:
            try:
                await self.publish_open(bus)
            except MinervasError as error:
                fields = {"code": error.code, "reason": str(error)}
                log.warning("membership_not_published", extra={"fields": fields})
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()
            except TimeoutError:
                pass  # time to publish again
            self._wake.clear()

    async def publish_open(self, bus: Bus) -> int:
        """Publish what is not settled yet, once; returns how many transactions that is.

        Raises:
            TransientFault: ``database_away`` or ``bus_offline``.
            LocalFault: if the broker does not let us.
        """
        async with self._database.transaction() as connection:
            rows = await open_transactions(connection)
            total = (await transactions_from(connection, 0, 0))[1]
        OPEN_TRANSACTIONS.set(len(rows))
        if not bus.connected:
            return 0
        for run in consecutive_runs(rows):
            batch = MembershipBatch(
                transactions=[msgspec.Raw(row.raw) for row in run], first=run[0].number, total=total
            )
            await bus.publish(mesh(ADMISSION, "tx"), encode(batch), expiry_s=EXPIRY_S)
        return len(rows)

    async def serve(self, request: Request) -> bytes:
        """Answer ``get_membership``: the transactions from number `after` on, as many as fit into one message."""
        try:
            wanted = decode(request.payload, GetMembership, max_bytes=MAX_REQUEST_BYTES)
            async with self._database.transaction() as connection:
                found, total = await transactions_from(connection, wanted.after, MAX_BATCH)
        except MinervasError as error:
            return encode(Reply(failure=Failure(code=error.code, message=error.message)))
        fitting = found[: count_fitting(found)]
        batch = MembershipBatch(transactions=[msgspec.Raw(raw) for raw in fitting], first=wanted.after, total=total)
        return encode(Reply(body=msgspec.Raw(encode(batch))))


def count_fitting(raws: list[bytes]) -> int:
    """How many of the first transactions fit into a message."""
    sizes = accumulate(len(raw) + 1 for raw in raws)
    return sum(1 for size in sizes if size <= MAX_BATCH_BYTES)


def _fits(run: list[TransactionRow], row: TransactionRow) -> bool:
    return len(run) < MAX_BATCH and count_fitting([*(each.raw for each in run), row.raw]) > len(run)


def consecutive_runs(rows: list[TransactionRow]) -> list[list[TransactionRow]]:
    """Cut into runs of consecutive numbers that fit into a message each."""
    runs: list[list[TransactionRow]] = []
    for row in rows:
        if runs and runs[-1][-1].number + 1 == row.number and _fits(runs[-1], row):
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs
