"""Checking a full block: every signature for the first time, and when gossip had brought the transactions before."""

from __future__ import annotations

from benchmarks.comparing import compared, seconds
from benchmarks.naive.node import NaiveNode
from benchmarks.results import Result
from benchmarks.world import World, make_world
from minervas_core.blocks import decode_block
from minervas_core.chain import Chain
from minervas_core.mempool import Mempool
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import BlockUndo
from minervas_core.validation import check_block_body, check_header
from minervas_ledger.verifying import VerifyingThreads
from tests.support.builders import FAR_FUTURE_MS


def measure(*, transactions: int = 1_000, rounds: int = 5) -> list[Result]:
    """Measure; takes about 6 seconds.

    Both sides get the block's bytes and do all that needs no state: decode, check the header against its predecessors,
    the Merkle root, the order and every transaction by itself. What it does to the state is measured in `connecting`.
    """
    world = make_world(1, transactions)
    node, chain, mempool = naive_node(world), ours(world), _Gossip(world)
    threads, raw = VerifyingThreads(), world.blocks[0].raw

    def cold() -> None:
        _validate(chain, Mempool(world.genesis, chain.signatures), SignatureCache(world.genesis, spread=threads), raw)

    plain, first, seen = [], [], []
    for _ in range(rounds):
        plain.append(seconds(lambda: node.validate(raw)))
        first.append(seconds(cold))
        seen.append(seconds(lambda: _validate(chain, mempool.queue, mempool.signatures, raw)))
    again = compared("validate.seen", plain, seen, per_s=transactions, unit="tx/s", goal=50)
    return [*compared("validate.cold", plain, first, per_s=transactions, unit="tx/s", goal=4), *again[1:]]


def naive_node(world: World) -> NaiveNode:
    """A naive node up to the blocks to measure with."""
    node = NaiveNode(world.genesis)
    for block in world.founding:
        node.connect(node.validate(block.raw))
    return node


def ours(world: World) -> Chain:
    """The project's chain up to there."""
    chain = Chain.fresh(world.genesis, _nothing_stored, _nothing_undone)
    for block in world.founding:
        chain.receive_block(block, FAR_FUTURE_MS)
    return chain


class _Gossip:
    """A queue that has heard of every transaction of the first block to measure with."""

    def __init__(self, world: World) -> None:
        self.signatures = SignatureCache(world.genesis)
        self.queue = Mempool(world.genesis, self.signatures)
        state = ours(world).state
        for transaction in world.blocks[0].transactions:
            self.queue.add(transaction, state, FAR_FUTURE_MS)


def _validate(chain: Chain, queue: Mempool, signatures: SignatureCache, raw: bytes) -> None:
    block = decode_block(raw, queue.find)
    check_header(block.header, block.hash, chain.tip, chain.genesis)
    check_block_body(block, signatures)


def _nothing_stored(block_hash: str) -> bytes:
    raise KeyError(block_hash)


def _nothing_undone(block_hash: str) -> BlockUndo:
    raise KeyError(block_hash)
