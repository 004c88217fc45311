"""`minervas-ledger export`: the best chain into one file, also while the ledger works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from minervas_core.blocks import decode_block
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis
from minervas_ledger.audit_compare import block_name, mismatch
from minervas_ledger.genesis_file import read_genesis
from minervas_ledger.progress import Progress
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.store.audit_rows import best_chain_blocks, count_blocks, snapshot
from minervas_ledger.store.chain_state import read_node_state
from minervas_ledger.store.connection import Connection, as_transient, connect
from minervas_ledger.store.schema import check_schema
from minervas_runtime.chain_file import packed_by_name, write_chain
from minervas_runtime.key_files import atomic_file

APPLICATION = "minervas-ledger export"


def run_export(settings: LedgerSettings, path: Path, say: Callable[[str], None], tell: Callable[[str], None]) -> int:
    """Write the best chain of the database that the settings name; returns the exit status.

    Args:
        settings: of the ledger.
        path: the file; it takes its place, or that of an older one, once it is complete. ``.gz`` packs it.
        say: prints the result.
        tell: prints the progress.

    Raises:
        LocalFault: ``bad_chain_file`` if it cannot be written; ``bad_genesis``, ``schema_version`` or
            ``audit_mismatch``.
        TransientFault: ``database_away``.
    """
    genesis = read_genesis(settings.paths)
    progress = Progress(tell, "export")
    with (
        as_transient(settings.database),
        contextlib.closing(connect(settings.database, application=APPLICATION)) as connection,
    ):
        check_schema(connection, settings.database.name)
        with snapshot(connection):
            _check_genesis(connection, genesis, settings.database.name)
            count = _write(path, genesis, _blocks(connection, genesis, progress))
    say(f"exported {count} blocks to {path}: {path.stat().st_size} bytes, {progress.elapsed_ms / 1_000:.1f} s")
    return 0


def _write(path: Path, genesis: Genesis, blocks: Iterator[bytes]) -> int:
    try:
        with atomic_file(path) as file, packed_by_name(file, path) as target:
            return write_chain(target, genesis.hash, blocks)
    except OSError as error:
        raise LocalFault(
            Code.BAD_CHAIN_FILE, "The file cannot be written", file=str(path), reason=error.strerror or str(error)
        ) from error


def _blocks(connection: Connection, genesis: Genesis, progress: Progress) -> Iterator[bytes]:
    """The best chain; a block that is damaged in the database is not backed up as if it were good."""
    target, prev = count_blocks(connection)[0], genesis.hash
    for row in best_chain_blocks(connection):
        block = decode_block(row.raw)
        if (block.hash, block.header.prev) != (row.hash, prev):
            raise mismatch("blocks", block_name(row), "raw is not this block, or does not follow the one before")
        prev = block.hash
        yield row.raw
        progress(row.height, target)


def _check_genesis(connection: Connection, genesis: Genesis, name: str) -> None:
    state = read_node_state(connection)
    if state is not None and state.genesis_hash != genesis.hash:
        raise LocalFault(
            Code.BAD_GENESIS,
            "The database holds the chain of another genesis",
            name=name,
            found=state.genesis_hash,
            expected=genesis.hash,
        )
