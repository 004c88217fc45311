"""The queue on disk: what is acknowledged is here or in a block (table `mempool`).

Rows come and go in sets: those of one submission in one statement, those of a block in the transaction that connects
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minervas_core.errors import PeerFault
from minervas_core.transactions import Transaction, decode_transaction
from minervas_ledger.store.arrays import Packed, bytea_array
from minervas_ledger.store.columns import as_bytes, binary
from minervas_ledger.store.connection import Connection

INSERT = """
INSERT INTO mempool (id, raw)
SELECT id, raw FROM unnest(%s::bytea[], %s::bytea[]) WITH ORDINALITY AS came (id, raw, place) ORDER BY place
"""


class QueueRows:
    """Writes what changed since the last time.

    Args:
        stored: ids of the rows that there are.
    """

    def __init__(self, stored: Iterable[str] = ()) -> None:
        self._stored = set(stored)

    def add(self, connection: Connection, transactions: Sequence[Transaction]) -> None:
        """Store what was queued just now, in the order in which it came, in one statement.

        Raises:
            psycopg.Error: then nothing of it is stored.
        """
        if transactions:
            ids = bytea_array(binary(transaction.id for transaction in transactions))
            raw = bytea_array([transaction.raw for transaction in transactions])
            connection.execute(INSERT, (Packed(ids), Packed(raw)))
            self._stored.update(transaction.id for transaction in transactions)

    def follow(self, connection: Connection, queue: Iterable[Transaction]) -> None:
        """Make the rows those of the queue as it is now; the caller's transaction makes it one with the block.

        Raises:
            psycopg.Error: then the rows are to be read again.
        """
        queued = {transaction.id: transaction for transaction in queue}
        if gone := self._stored - queued.keys():
            connection.execute("DELETE FROM mempool WHERE id = ANY(%s::bytea[])", (Packed(bytea_array(binary(gone))),))
            self._stored -= gone
        self.add(connection, [each for tx_id, each in queued.items() if tx_id not in self._stored])


def read_queue(connection: Connection) -> tuple[list[Transaction], list[tuple[str, PeerFault]], QueueRows]:
    """Read all rows.

    Returns:
        The transactions in order of arrival; what cannot even be read, with its row's id and the reason; and the rows.
    """
    rows = connection.execute("SELECT id, raw FROM mempool ORDER BY arrival", binary=True).fetchall()
    transactions: list[Transaction] = []
    unreadable: list[tuple[str, PeerFault]] = []
    for tx_id, raw in rows:
        try:
            transactions.append(decode_transaction(as_bytes(raw)))
        except PeerFault as error:
            unreadable.append((as_bytes(tx_id).hex(), error))
    return transactions, unreadable, QueueRows(as_bytes(tx_id).hex() for tx_id, _ in rows)
