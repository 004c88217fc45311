"""`minervas-ledger import`: a chain from a file, through all the rules that apply to a chain from other members."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from minervas_core.blocks import Block, decode_block
from minervas_core.chain import BlockOutcome
from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.genesis_file import read_genesis
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.progress import Progress
from minervas_ledger.settings import LedgerSettings
from minervas_ledger.store.connection import as_transient
from minervas_runtime.chain_file import ChainFileReader, open_chain_file
from minervas_runtime.clock import Clock

ORIGIN = "import"

BLOCKS_PER_COMMIT = 200
BYTES_PER_COMMIT = 4_000_000
"""Whatever is reached first: small blocks cost a commit, large ones memory."""


def run_import(
    settings: LedgerSettings, path: Path, clock: Clock, say: Callable[[str], None], tell: Callable[[str], None]
) -> int:
    """Take in the chain of a file; returns the exit status.

    Blocks that the database has already are passed over, so it may be interrupted and run again.

    Args:
        settings: of the ledger, which must not run.
        path: the exported chain.
        clock: a block from the future is refused.
        say: prints the result.
        tell: prints the progress.

    Raises:
        LocalFault: ``bad_chain_file`` naming the block at which the file is damaged or breaks a rule; the blocks
            before it stay. ``bad_genesis`` if it is another consortium's; ``schema_version``.
        TransientFault: ``database_away``, also if a ledger works in the database.
    """
    genesis = read_genesis(settings.paths)
    with open_chain_file(path) as reader:
        if reader.genesis_hash != genesis.hash:
            raise LocalFault(
                Code.BAD_GENESIS,
                "The file holds the chain of another genesis",
                file=str(path),
                found=reader.genesis_hash,
                expected=genesis.hash,
            )
        with contextlib.closing(ChainOpener(settings.database, genesis, []).open()) as chain:
            with as_transient(settings.database):
                taken = ChainImport(chain, str(path), clock, Progress(tell, "import")).run(reader)
            tip = chain.view().tip
    say(f"imported {taken} new of {reader.count} blocks; the best chain has height {tip.height}, tip {tip.hash}")
    return 0


class ChainImport:
    """Hands the blocks of a file to the chain, many in each commit.

    Args:
        chain: the node's chain.
        name: how errors name the file.
        clock: time of day.
        progress: told after every commit.
    """

    def __init__(self, chain: NodeChain, name: str, clock: Clock, progress: Progress) -> None:
        self._chain = chain
        self._name = name
        self._clock = clock
        self._progress = progress

    def run(self, reader: ChainFileReader) -> int:
        """Take in all blocks; returns how many were new.

        Raises:
            LocalFault: ``bad_chain_file``.
            psycopg.Error: then the commits before stay.
        """
        new = 0
        for blocks in self._batches(reader):
            outcomes = self._chain.take_blocks(blocks, self._clock.now_ms(), origin=ORIGIN, until_refusal=True)
            for block, outcome in zip(blocks, outcomes, strict=False):
                self._check(block, outcome)
                new += outcome.status != "known"
            self._progress(blocks[-1].header.height)
        return new

    def _batches(self, reader: ChainFileReader) -> Iterator[list[Block]]:
        """Blocks for one commit each; what came before a damaged place still counts."""
        batch: list[Block] = []
        size = 0
        try:
            for raw in reader.blocks():
                batch.append(self._decode(raw, reader.count))
                size += len(raw)
                if len(batch) == BLOCKS_PER_COMMIT or size >= BYTES_PER_COMMIT:
                    yield batch
                    batch, size = [], 0
        except LocalFault:
            if batch:
                yield batch
            raise
        if batch:
            yield batch

    def _decode(self, raw: bytes, number: int) -> Block:
        try:
            block = decode_block(raw)
        except PeerFault as error:
            raise self._fault(number, f"not a block: {error}") from error
        if block.header.height != number:
            raise self._fault(number, f"it says height {block.header.height}")
        return block

    def _check(self, block: Block, outcome: BlockOutcome) -> None:
        if outcome.status in ("refused", "orphan", "postponed"):
            raise self._fault(block.header.height, str(outcome.error))

    def _fault(self, number: int, reason: str) -> LocalFault:
        return LocalFault(
            Code.BAD_CHAIN_FILE, "The file holds no valid chain", file=self._name, block=number, reason=reason
        )
