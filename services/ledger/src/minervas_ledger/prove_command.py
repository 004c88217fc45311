"""`minervas-ledger prove`: show outsiders that a transaction is final, with one file; also while the ledger works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from minervas_core.blocks import decode_block
from minervas_core.encoding import Record, encode
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.finality.state import Finality
from minervas_core.genesis import Genesis
from minervas_core.proof import FORMAT, ProofHead, block_part, subject_part
from minervas_ledger.genesis_file import read_genesis
from minervas_ledger.progress import Progress
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.store.audit_rows import best_chain_blocks, snapshot
from minervas_ledger.store.chain_reads import TransactionPlace, transaction_places
from minervas_ledger.store.chain_state import NodeState, read_node_state
from minervas_ledger.store.connection import Connection, as_transient, connect
from minervas_ledger.store.schema import check_schema
from minervas_ledger.store.state_rows import read_state_rows, rows_of
from minervas_runtime.key_files import atomic_file

APPLICATION = "minervas-ledger prove"


def run_prove(
    settings: LedgerSettings, tx_id: str, path: Path, say: Callable[[str], None], tell: Callable[[str], None]
) -> int:
    """Write a proof that a transaction stands in a final block; returns the exit status.

    Args:
        settings: of the ledger.
        tx_id: the transaction.
        path: the file; it takes its place, or that of an older one, once it is complete.
        say: prints the result.
        tell: prints the progress.

    Raises:
        LocalFault: ``not_found`` if the best chain has no such transaction, or the file cannot be written;
            ``bad_genesis`` or ``schema_version``.
        TransientFault: ``not_ready`` while its block is not final, or ``database_away``.
    """
    genesis = read_genesis(settings.paths)
    progress = Progress(tell, "proof")
    with (
        as_transient(settings.database),
        contextlib.closing(connect(settings.database, application=APPLICATION)) as connection,
    ):
        check_schema(connection, settings.database.name)
        with snapshot(connection):
            place, state = _place(connection, genesis, tx_id)
            final_height = _check_final(connection, genesis, place.height)
            _write(path, _lines(connection, genesis, state.tip_height, tx_id, place.height, progress))
    say(
        f"proved: transaction {tx_id} in block {place.height}, final since block {final_height} is; "
        f"{path}: {path.stat().st_size} bytes, {progress.elapsed_ms / 1_000:.1f} s"
    )
    return 0


def _place(connection: Connection, genesis: Genesis, tx_id: str) -> tuple[TransactionPlace, NodeState]:
    state = read_node_state(connection)
    if state is None or state.genesis_hash != genesis.hash:
        raise LocalFault(Code.BAD_GENESIS, "The database does not hold the chain of this genesis")
    place = transaction_places(connection, [tx_id]).get(tx_id)
    if place is None:
        raise LocalFault(Code.NOT_FOUND, "The best chain has no such transaction", id=tx_id)
    return place, state


def _check_final(connection: Connection, genesis: Genesis, height: int) -> int:
    """How far the best chain's own votes make it final: after a change of branches the node may know more, elsewhere.

    Raises:
        TransientFault: ``not_ready`` if not up to `height`.
    """
    finality = Finality()
    finality.put_back(rows_of(Finality, read_state_rows(connection)))
    final_height = finality.head(genesis.hash).final.height
    if height > final_height:
        raise TransientFault(Code.NOT_READY, "Its block is not final yet", height=height, final_height=final_height)
    return final_height


def _lines(  # noqa: PLR0917 - a proof is of all of these
    connection: Connection, genesis: Genesis, tip_height: int, tx_id: str, height: int, progress: Progress
) -> Iterator[Record]:
    yield ProofHead(format=FORMAT, network=genesis.network, genesis=genesis.hash, blocks=tip_height)
    subject: Record | None = None
    for row in best_chain_blocks(connection):
        block = decode_block(row.raw)
        yield block_part(block)
        if row.height == height:
            subject = subject_part(block, tx_id)
        progress(row.height, tip_height)
    if subject is None:
        raise LocalFault(Code.AUDIT_MISMATCH, "The database has no block where it should be; run the audit")
    yield subject


def _write(path: Path, lines: Iterator[Record]) -> None:
    try:
        with atomic_file(path) as file:
            for line in lines:
                file.write(encode(line) + b"\n")
    except OSError as error:
        raise LocalFault(
            Code.NOT_FOUND, "The file cannot be written", file=str(path), reason=error.strerror or str(error)
        ) from error
