"""Connecting a full, validated block: what it does to the state, and writing that to PostgreSQL in one commit."""

from __future__ import annotations

import time

from benchmarks.comparing import compared, seconds
from benchmarks.databases import Databases, databases, naive_connect
from benchmarks.naive.node import NaiveNode
from benchmarks.naive.store import NaiveStore
from benchmarks.results import Result
from benchmarks.world import World, make_world
from minervas_core.blocks import Block
from minervas_ledger.node_chain import NodeChain
from tests.support.builders import FAR_FUTURE_MS


def measure(*, transactions: int = 1_000, blocks: int = 4) -> list[Result]:
    """Measure; takes about 8 seconds.

    ``connect`` begins when both sides have decoded the block and verified its signatures, so it compares only state
    and storage; the project's share includes its undo data, its second look at the block, and its queue. ``arrival``
    begins with the bytes of a block whose transactions gossip had brought before, and ends with the same commit.
    """
    world = make_world(blocks, transactions)
    with databases() as made, made.naive_store() as store:
        return _measure(world, made, store)


def _measure(world: World, made: Databases, store: NaiveStore) -> list[Result]:
    node, ledger = NaiveNode(world.genesis), made.open_ledger(world.genesis)
    for block in world.founding:
        naive_connect(node, store, block.raw)
        ledger.take_blocks([block], FAR_FUTURE_MS, origin="")
    validated, plain, decoded, ours = [], [], [], []
    for block in world.blocks:
        began = time.perf_counter()
        checked = node.validate(block.raw)
        validated.append(time.perf_counter() - began)
        plain.append(seconds(lambda: store.write(node, checked, block.raw, node.connect(checked))))
        _gossip(ledger, block)
        decoded.append(seconds(lambda: ledger.decode(block.raw)))
        ours.append(seconds(lambda: ledger.take_blocks([block], FAR_FUTURE_MS, origin="")))
    ledger.close()
    size = len(world.blocks[0].transactions)
    arrived_plain = [one + two for one, two in zip(validated, plain, strict=True)]
    arrived = [one + two for one, two in zip(decoded, ours, strict=True)]
    return [
        *compared("connect", plain, ours, per_s=size, unit="tx/s", goal=15),
        *compared("arrival", arrived_plain, arrived, per_s=size, unit="tx/s", goal=None),
    ]


def _gossip(ledger: NodeChain, block: Block) -> None:
    for transaction in block.transactions:
        ledger.submit(transaction, FAR_FUTURE_MS)
