"""Reading back what the chain is made of: at start, after the database was away, and for the audit.

Nothing is replayed: the state tables are as of `node_state.tip_hash`, and headers give the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from minervas_core.block_outcome import Landmarks
from minervas_core.blocks import MAX_BLOCK_BYTES, Header, decode_header
from minervas_core.encoding import decode
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.roster import MemberRecord
from minervas_core.state import BlockUndo
from minervas_core.transactions import ServiceKeys
from minervas_ledger.store.columns import as_bytes, as_int
from minervas_ledger.store.connection import Connection

WRITER_LOCK_KEY = 0x6C6564676572
"""Key of the advisory lock of the one writing ledger: "ledger" in ASCII."""

MAX_UNDO_BYTES = 256 * MAX_BLOCK_BYTES
"""Undo data are our own. They hold the previous record of every row that changed: when thousands of offers expire in
one block, those of all their lots."""

FETCH_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class StoredNode:
    """A row of `blocks` without its body."""

    hash: str
    header: Header
    work: int
    invalid: bool
    first_seen: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """The row of `node_state`."""

    genesis_hash: str
    tip_hash: str
    tip_height: int
    reorganisations: int
    landmarks: Landmarks
    justified_height: int
    final_height: int


def become_writer(connection: Connection, name: str) -> None:
    """Make sure that no other ledger works in this database, for as long as the connection lives.

    Raises:
        TransientFault: ``database_away`` if one does: it may be the last one, which is not quite gone.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (WRITER_LOCK_KEY,)).fetchone()
    if row != (True,):
        raise TransientFault(Code.DATABASE_AWAY, "Another ledger works in this database", name=name)


def open_node_state(connection: Connection, genesis_hash: str, name: str) -> NodeState:
    """Read the committed tip; in a new database, write genesis as the tip.

    Raises:
        LocalFault: ``bad_genesis`` if the database holds the chain of another genesis.
    """
    connection.execute(
        """
        INSERT INTO node_state (genesis_hash, tip_hash, tip_height, justified_hash, final_hash)
        VALUES (%(genesis)s, %(genesis)s, 0, %(genesis)s, %(genesis)s) ON CONFLICT DO NOTHING
        """,
        {"genesis": bytes.fromhex(genesis_hash)},
    )
    state = read_node_state(connection)
    if state is None or state.genesis_hash != genesis_hash:
        raise LocalFault(
            Code.BAD_GENESIS,
            "The database holds the chain of another genesis; give this node a database of its own",
            name=name,
            found=state.genesis_hash if state else "",
            expected=genesis_hash,
        )
    return state


def read_node_state(connection: Connection) -> NodeState | None:
    """The committed tip; None in a database that no ledger has used yet."""
    row = connection.execute(
        """
        SELECT genesis_hash, tip_hash, tip_height, reorganisations,
            justified_hash, justified_height, final_hash, final_height
        FROM node_state
        """,
        binary=True,
    ).fetchone()
    if row is None:
        return None
    genesis_hash, tip_hash, tip_height, reorganisations, *finality = row
    justified_hash, justified_height, final_hash, final_height = finality
    return NodeState(
        genesis_hash=as_bytes(genesis_hash).hex(),
        tip_hash=as_bytes(tip_hash).hex(),
        tip_height=as_int(tip_height),
        reorganisations=as_int(reorganisations),
        landmarks=Landmarks(as_bytes(justified_hash).hex(), as_bytes(final_hash).hex()),
        justified_height=as_int(justified_height),
        final_height=as_int(final_height),
    )


def read_nodes(connection: Connection) -> Iterator[StoredNode]:
    """All stored blocks without their bodies, parents before children. The connection must be in a transaction."""
    with connection.cursor("nodes", binary=True) as cursor:
        cursor.itersize = FETCH_ROWS
        cursor.execute("SELECT hash, header, work::text, invalid, first_seen FROM blocks ORDER BY height, first_seen")
        for block_hash, header, work, invalid, first_seen in cursor:
            yield StoredNode(
                hash=as_bytes(block_hash).hex(),
                header=decode_header(as_bytes(header)),
                work=int(str(work)),
                invalid=bool(invalid),
                first_seen=as_int(first_seen),
            )


def read_members(connection: Connection) -> list[MemberRecord]:
    """The roster, by member id."""
    rows = connection.execute(
        """
        SELECT member, status, admitted_height, ended_height, suspended_height, admitted_by,
            wallet_key, box_key, block_key, vote_key
        FROM roster ORDER BY member COLLATE "C"
        """,
        binary=True,
    ).fetchall()
    return [_member(row) for row in rows]


def read_recent_ids(connection: Connection, above_height: int) -> dict[str, int]:
    """Transactions of the best chain above a height: height by id."""
    rows = connection.execute(
        """
        SELECT t.id, b.height FROM blocks b JOIN transactions t ON t.block = b.hash
        WHERE b.best_chain AND b.height > %s
        """,
        (above_height,),
        binary=True,
    ).fetchall()
    return {as_bytes(tx_id).hex(): as_int(height) for tx_id, height in rows}


def read_time_ms(connection: Connection, block_hash: str) -> int | None:
    """Time of a stored block; None if it is not there."""
    row = connection.execute("SELECT time_ms FROM blocks WHERE hash = %s", (bytes.fromhex(block_hash),)).fetchone()
    return as_int(row[0]) if row else None


def read_raw(connection: Connection, block_hash: str) -> bytes:
    """Canonical bytes of a stored block.

    Raises:
        LocalFault: ``internal`` if it is not there.
    """
    return _column(connection, "SELECT raw FROM blocks WHERE hash = %s", block_hash)


def read_undo(connection: Connection, block_hash: str) -> BlockUndo:
    """Undo data of a block of the best chain.

    Raises:
        LocalFault: ``internal`` if it is not there.
    """
    raw = _column(connection, "SELECT undo FROM blocks WHERE hash = %s", block_hash)
    return decode(raw, BlockUndo, max_bytes=MAX_UNDO_BYTES)


def _column(connection: Connection, query: str, block_hash: str) -> bytes:
    row = connection.execute(query.encode(), (bytes.fromhex(block_hash),), binary=True).fetchone()
    if row is None or row[0] is None:
        raise LocalFault(
            Code.INTERNAL, "A block that the chain needs is not in the database; run the audit", hash=block_hash
        )
    return as_bytes(row[0])


def _member(row: tuple[object, ...]) -> MemberRecord:
    member, status, admitted_height, ended_height, suspended_height, admitted_by, wallet, box, block, vote = row
    return MemberRecord(
        member=str(member),
        keys=ServiceKeys(
            wallet=as_bytes(wallet).hex(),
            box=as_bytes(box).hex(),
            block=as_bytes(block).hex(),
            vote=as_bytes(vote).hex(),
        ),
        status=_status(str(member), str(status)),
        admitted_height=as_int(admitted_height),
        ended_height=as_int(ended_height),
        suspended_height=as_int(suspended_height),
        admitted_by=as_bytes(admitted_by).hex(),
    )


def _status(member: str, status: str) -> Literal["active", "revoked", "left"]:
    """The constraint of the table lets no other one in, but somebody may have taken it away.

    Raises:
        LocalFault: ``audit_mismatch``.
    """
    match status:
        case "active":
            return "active"
        case "revoked":
            return "revoked"
        case "left":
            return "left"
    raise LocalFault(
        Code.AUDIT_MISMATCH,
        "This row does not follow from genesis",
        table="roster",
        row=member,
        reason=f"no member is {status!r}",
    )
