"""Connecting a full, validated block: what it does to the state, and writing that to PostgreSQL in one commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.comparing import compared, seconds
from benchmarks.databases import Databases, databases, naive_connect
from benchmarks.naive.node import NaiveNode
from benchmarks.naive.store import NaiveStore
from benchmarks.results import Result
from benchmarks.world import World, make_world
from minervas_core.blocks import Block
from minervas_ledger.node_chain import NodeChain
from minervas_ledger.prepared_bodies import PreparedBodies
from tests.support.builders import FAR_FUTURE_MS


def measure(*, transactions: int = 1_000, blocks: int = 5) -> list[Result]:
    """Measure; takes about 10 seconds.

    ``connect`` begins when both sides have decoded the block and verified its signatures, as when the project syncs, so
    it compares only state and storage; the project's share includes its undo data and its second look at the block.
    ``arrival`` begins with the bytes of a block whose transactions gossip had brought before, and ends with its commit;
    the project's share includes what the block changes in its stored queue. The naive node has neither.
    """
    with databases() as made:
        return measure_in(made, transactions=transactions, blocks=blocks)


def measure_in(made: Databases, *, transactions: int, blocks: int) -> list[Result]:
    """As `measure`, in databases of a server that runs already."""
    with made.naive_store() as store:
        return _measure(make_world(blocks, transactions), made, store)


@dataclass
class _Seconds:
    """Of both sides, for each block, without and with what comes before."""

    connect: list[float] = field(default_factory=list)
    arrival: list[float] = field(default_factory=list)


def _measure(world: World, made: Databases, store: NaiveStore) -> list[Result]:
    node = NaiveNode(world.genesis)
    syncing, gossiping = made.open_ledger(world.genesis), made.open_ledger(world.genesis)
    for block in world.founding:
        naive_connect(node, store, block.raw)
        for ledger in (syncing, gossiping):
            ledger.take_blocks([block], FAR_FUTURE_MS, origin="")
    plain, ours = _Seconds(), _Seconds()
    for block in world.blocks:
        _naive(node, store, block, plain)
        ours.connect.append(_connect(syncing, block))
        ours.arrival.append(_arrive(gossiping, block))
    syncing.close()
    gossiping.close()
    size = len(world.blocks[0].transactions)
    return [
        *compared("connect", plain.connect, ours.connect, per_s=size, unit="tx/s", goal=15),
        *compared("arrival", plain.arrival, ours.arrival, per_s=size, unit="tx/s", goal=None),
    ]


def _naive(node: NaiveNode, store: NaiveStore, block: Block, taken: _Seconds) -> None:
    validation_s = seconds(lambda: node.validate(block.raw))
    checked = node.validate(block.raw)
    taken.connect.append(seconds(lambda: store.write(node, checked, block.raw, node.connect(checked))))
    taken.arrival.append(validation_s + taken.connect[-1])


def _connect(ledger: NodeChain, block: Block) -> float:
    validated = PreparedBodies((block,), block.transactions)
    return seconds(lambda: ledger.take_bodies(validated, FAR_FUTURE_MS, origin=""))


def _arrive(ledger: NodeChain, block: Block) -> float:
    if not all(result is True for result in ledger.submit(block.transactions, FAR_FUTURE_MS)):
        raise RuntimeError("the queue refuses what the block carries")
    return seconds(lambda: ledger.take_blocks([ledger.decode(block.raw)], FAR_FUTURE_MS, origin=""))
