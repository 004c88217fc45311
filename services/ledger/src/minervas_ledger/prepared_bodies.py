"""Blocks that sync fetched, as far as they can be judged without the chain: off its thread, on all processors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minervas_core.blocks import Block, block_signature_is_valid, decode_block, transactions_root
from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.signature_cache import find_valid
from minervas_core.transactions import Transaction
from minervas_ledger.verifying import VerifyingThreads


@dataclass(frozen=True, slots=True)
class PreparedBodies:
    """Blocks of the hashes that were asked for."""

    blocks: tuple[Block, ...]
    valid: tuple[Transaction, ...]
    """Transactions in them that are valid by themselves. The others are judged again, for the reason."""

    def without(self, hashes: Sequence[str]) -> list[str]:
        """Those of `hashes` that are not of these blocks."""
        here = {block.hash for block in self.blocks}
        return [block_hash for block_hash in hashes if block_hash not in here]


def prepare_bodies(
    expected: Sequence[str],
    raw: Sequence[bytes],
    block_keys: Mapping[str, str],
    genesis: Genesis,
    threads: VerifyingThreads,
) -> PreparedBodies:
    """Decode blocks and verify their signatures; changes nothing but what is remembered of signatures.

    Args:
        expected: hashes that were asked for; the blocks must be the first of them.
        raw: the blocks.
        block_keys: block key by member, as of some state. A block's signature is judged by the roster at the block;
            if that has the same key, it need not be verified then.
        genesis: the consortium's genesis.
        threads: to verify on.

    Raises:
        PeerFault: if a block is malformed, or not the one that was asked for.
    """
    blocks = tuple(decode_block(item) for item in raw)
    hashes = [block.hash for block in blocks]
    if hashes != list(expected[: len(hashes)]):
        raise PeerFault(Code.NOT_FOUND, "Not the blocks that were asked for", asked=expected[0], got=hashes[0])
    whole = [block for block in blocks if transactions_root(block.transactions) == block.header.tx_root]
    valid = find_valid([each for block in whole for each in block.transactions], genesis, threads)

    def is_signed(block: Block) -> bool:
        key = block_keys.get(block.header.miner, "")
        return block_signature_is_valid(block.header, block.hash, block.signature, key)

    list(threads(is_signed, whole))
    return PreparedBodies(blocks, tuple(valid))
