"""A process that works on a ledger's database as fast as it can until it is killed (test_ledger_kills.py).

It does what a ledger does, through the same code: takes transactions in, connects blocks, follows better branches, all
on the chain's thread against a real PostgreSQL. Whatever was acknowledged goes to standard output, one line each, after
the acknowledgement: ``open``, ``tx <id>``, ``block <hash>`` or ``vote <id>``. What the killer reads was promised.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from minervas_core.blocks import Block, assemble_block, sign_block_hash
from minervas_core.chain import Chain
from minervas_core.errors import MinervasError
from minervas_core.finality.voter import Guard
from minervas_core.finality.votes import sign_vote
from minervas_core.genesis import Genesis
from minervas_core.node_messages import Submit
from minervas_core.template import BlockContent
from minervas_core.transactions import Transaction
from minervas_core.tree import HeaderNode
from minervas_ledger.chain_open import ChainOpener
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.intake import Intake
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.settings import DatabaseSettings
from minervas_ledger.store.connection import as_transient
from minervas_runtime.clock import ManualClock
from tests.support.builders import (
    FAR_FUTURE_MS,
    MARKET,
    LocalChain,
    array,
    block_key,
    find_nonce,
    make_genesis,
    mine_block,
    register_meter,
)
from tests.support.ledger import VOTE_KEY, VOTER, lonely_sync
from tests.support.ledger_market import MEMBERS, TradingChain

MAX_DEPTH = 4
"""Most blocks that a reorganisation takes back."""
EXPIRES_AFTER = 900


def genesis() -> Genesis:
    """Of the chain that is worked on."""
    return make_genesis(MARKET)


def acknowledge(line: str) -> None:
    """Say what was promised, past all buffers."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


@dataclass
class _Tip:
    """The part of `LocalChain` that random transactions need."""

    chain: Chain

    @property
    def tip(self) -> HeaderNode:
        return self.chain.tip


class _Trading(TradingChain):
    """Random trades on the ledger's own chain."""

    def __init__(self, chain: Chain) -> None:
        self.local = _Tip(chain)  # type: ignore[assignment]  # only `chain` and `tip` are used
        self.stored = None


class Workload:
    """Random work; the same seed does the same to the same database.

    Args:
        worker: the chain on its thread.
        seed: of what is done, and of names that nobody used before.
    """

    def __init__(self, worker: ChainWorker, seed: str) -> None:
        self._worker = worker
        self._seed = seed
        self._choose = random.Random(seed)  # noqa: S311 - test data
        clock = ManualClock(FAR_FUTURE_MS)
        self._intake = Intake(worker, lonely_sync(worker, clock, genesis()), clock)
        self._count = 0

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await self._choose.choices([self._submit, self._extend, self._vote, self._reorganise], [3, 3, 1, 1])[0]()

    async def _submit(self) -> None:
        """Several submissions at once: they share commits."""
        height = self._worker.view.tip.height
        salt = self._next()
        trades = await self._worker.run(lambda chain: _Trading(chain._chain).random_transactions(self._choose, salt))
        await asyncio.gather(*(self._hand_in(each) for each in trades))
        meters = [self._meter(height) for _ in range(self._choose.randrange(1, 9))]
        parts = [meters[place::3] for place in range(3)]
        await asyncio.gather(*(self._hand_in(*part, promised=True) for part in parts if part))

    async def _hand_in(self, *transactions: Transaction, promised: bool = False) -> None:
        """Submit; trades may come to nothing by the rules, so they are not counted as promised."""
        body = Submit(transactions=[msgspec.Raw(each.raw) for each in transactions], origin="test")
        for result in (await self._intake.submit(body)).results:
            if promised:
                assert result.status == "accepted", result
                acknowledge(f"tx {result.id}")

    async def _extend(self) -> None:
        """One block with what the queue has, or several in one commit, of which the others are empty."""
        blocks = await self._worker.run(self._make_blocks)
        await self._take(blocks)

    def _make_blocks(self, chain: NodeChain) -> list[Block]:
        tip = chain._chain.tip
        content = chain.draft(self._choose.choice(MEMBERS), tip.time_ms + MARKET.block_interval_ms)
        first = found(content)
        node = HeaderNode(first.hash, first.header, tip, tip.work + first.header.difficulty)
        return [first, *self._branch(node, self._choose.choice([0, 0, 2]))]

    async def _reorganise(self) -> None:
        """A better branch from below the tip, block by block or in one commit; some of its blocks have content."""
        blocks = await self._worker.run(self._make_branch)
        if self._choose.random() < 0.5:
            await self._take(blocks)
        else:
            for block in blocks:
                await self._take([block])

    def _make_branch(self, chain: NodeChain) -> list[Block]:
        tree = chain._chain.tree
        depth = min(self._choose.randrange(1, MAX_DEPTH + 1), tree.tip.height - 2)
        base = tree.main_at(tree.tip.height - depth)
        assert base is not None
        return self._branch(base, depth + 1) if depth > 0 else []

    def _branch(self, base: HeaderNode, length: int) -> list[Block]:
        blocks: list[Block] = []
        for _ in range(length):
            content = [self._meter(base.height) for _ in range(self._choose.choice([0, 0, 3]))]
            block = mine_block(base, content, self._choose.choice(MEMBERS), genesis(), start=self._count)
            base = HeaderNode(block.hash, block.header, base, base.work + block.header.difficulty)
            blocks.append(block)
        return blocks

    async def _vote(self) -> None:
        """The vote that is due: what was cast must be known for ever, or the node would contradict itself."""
        vote = await self._worker.run(
            lambda chain: chain.votes.cast(lambda body, _key: sign_vote(body, VOTE_KEY), Guard(), FAR_FUTURE_MS)
        )
        if vote is not None:
            acknowledge(f"vote {hashlib.sha256(vote.raw).hexdigest()}")

    async def _take(self, blocks: list[Block]) -> None:
        outcomes = await self._worker.run(lambda chain: chain.take_blocks(blocks, FAR_FUTURE_MS, origin="test"))
        for outcome in outcomes:
            assert outcome.status in ("connected", "side_branch", "known"), outcome  # an empty block may recur
            acknowledge(f"block {outcome.hash}")

    def _meter(self, height: int) -> Transaction:
        """A transaction that applies on every branch, and that nothing excludes."""
        member = self._choose.choice(MEMBERS)
        return register_meter(member, array(f"m-{self._next()}"), expires=height + EXPIRES_AFTER)

    def _next(self) -> str:
        self._count += 1
        return f"{self._seed}-{self._count}"


def found(content: BlockContent) -> Block:
    """The block that a search for this content finds."""
    header = find_nonce(content.draft)
    signature = sign_block_hash(header.hash(), header.network, block_key(header.miner))
    return assemble_block(header, signature, content.transactions, content.votes)


def first_blocks() -> list[Block]:
    """Members and their first meters: what every chain of these tests begins with."""
    trading = TradingChain()
    local: LocalChain = trading.local
    return [local.chain._stored(node) for node in list(local.tip.blocks())[::-1]]


async def work(database: DatabaseSettings, seed: str) -> None:
    """Open the chain and work until killed."""
    worker = ChainWorker(ChainOpener(database, genesis(), [VOTER]).open, lambda: as_transient(database))
    await worker.start()
    acknowledge("open")
    try:
        await Workload(worker, seed).run()
    except MinervasError as error:
        acknowledge(f"failed {error}")
        raise


def read_settings(file: Path) -> DatabaseSettings:
    """The database that the killer names."""
    return msgspec.json.decode(file.read_bytes(), type=DatabaseSettings, dec_hook=lambda type_, text: type_(text))


if __name__ == "__main__":
    asyncio.run(work(read_settings(Path(sys.argv[1])), sys.argv[2]))
