"""Make the block that a miner searches for (design section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from minervas_core.blocks import VERSION, Draft, transactions_root, votes_root
from minervas_core.chain import Chain
from minervas_core.errors import InvalidBlock, InvalidTransaction, TransientFault
from minervas_core.finality.rules import choose_votes
from minervas_core.finality.votes import MAX_BLOCK_VOTES, MAX_VOTE_BYTES, Vote
from minervas_core.genesis import Genesis
from minervas_core.governance.parameters import check_rules_known
from minervas_core.mempool import Mempool
from minervas_core.rules import begin_block
from minervas_core.state import ChainState, apply_transaction, check_transaction
from minervas_core.timing import earliest_time_ms
from minervas_core.transactions import Membership, Rotate, Transaction
from minervas_core.validation import check_miner

FRAME_BYTES = 1_200
"""Room for all of a block but its transactions and votes: header (about 450 bytes), signature and field names."""


class BlockContent(NamedTuple):
    """What a block to search for carries."""

    draft: Draft
    transactions: tuple[Transaction, ...]
    votes: tuple[Vote, ...]
    block_key: str
    """The miner's block key (public, hex) after these transactions: the block must be signed with it."""


def build_draft(chain: Chain, mempool: Mempool, votes: Iterable[Vote], miner: str, now_ms: int) -> BlockContent:
    """The block that `miner` should search for on the tip, with its transactions and votes.

    Transactions that do not apply (yet) are left in the queue. A miner may be admitted by the block itself. No
    transaction is left out to make the miner eligible: a sole active miner that an admission (one more member to let
    go first) excludes would otherwise mine on without it for ever; so it waits for the others, or for the idle time.
    But the miner leaves the exchange of its own block key to the others: the block that carries it needs the new key,
    which the miner gets when the chain has it.

    Raises:
        LocalFault: ``software_too_old`` if the next block is judged by rules that this software does not have.
        TransientFault: ``block_miner_unknown`` (not admitted, or revoked) or ``block_miner_too_soon`` (others are
            first; value ``idle_from_ms`` says when it is free in any case).
    """
    genesis, tip = chain.genesis, chain.tip
    check_rules_known(chain.state.governance)
    parameters = chain.parameters
    time_ms = earliest_time_ms(now_ms, tip.time_ms)
    room = parameters.max_block_bytes - FRAME_BYTES
    most_votes = min(MAX_BLOCK_VOTES, room // 2 // MAX_VOTE_BYTES)
    carried = choose_votes(chain.state.scratch().finality, votes, tip.height + 1, genesis, most_votes)
    room -= sum(len(vote.raw) + 1 for vote in carried)
    layer, chosen = _fill(chain, mempool, time_ms, room, left_out=_own_block_keys(chain, mempool, miner))
    try:
        check_miner(layer.roster, miner, time_ms, tip, parameters)
    except InvalidBlock as error:
        raise TransientFault(error.code, error.message, **error.values) from error
    draft = Draft(
        version=VERSION,
        network=genesis.network,
        height=tip.height + 1,
        prev=tip.hash,
        tx_root=transactions_root(chosen),
        votes_root=votes_root(carried),
        time_ms=time_ms,
        difficulty=chain.next_difficulty(),
        miner=miner,
    )
    record = layer.roster.active(miner)
    return BlockContent(draft, tuple(chosen), carried, record.keys.block if record else "")


def _own_block_keys(chain: Chain, mempool: Mempool, miner: str) -> set[str]:
    """Queued rotations of the miner's block key, unless nobody else is there to carry them."""
    if chain.state.roster.active_count == 1:
        return set()
    queued = ((each.id, each.body.change) for each in mempool if isinstance(each.body, Membership))
    return {
        tx_id
        for tx_id, change in queued
        if isinstance(change, Rotate) and change.member == miner and "block" in change.keys.given()
    }


def _fill(
    chain: Chain, mempool: Mempool, time_ms: int, room: int, *, left_out: Iterable[str]
) -> tuple[ChainState, list[Transaction]]:
    """Choose transactions that apply; returns the state after them, too.

    What does not apply makes room for what waited less, so that nobody keeps blocks empty by queueing such. While
    most of a selection applied it stays as it is: the rest has its turn in the next block.
    """
    parameters = chain.parameters
    refused = set(left_out)
    while True:
        candidates = mempool.select(room, parameters.max_block_transactions, skip=refused)
        layer = chain.state.scratch()
        chosen = _apply_those_that_fit(layer, candidates, time_ms, chain.genesis)
        all_seen = len(candidates) + len(refused) == len(mempool)
        if all_seen or 2 * _size(chosen) >= _size(candidates):
            return layer, chosen
        refused.update({each.id for each in candidates} - {each.id for each in chosen})


def _size(transactions: list[Transaction]) -> int:
    """Bytes of all transactions."""
    return sum(len(transaction.raw) for transaction in transactions)


def _apply_those_that_fit(
    layer: ChainState, candidates: list[Transaction], time_ms: int, genesis: Genesis
) -> list[Transaction]:
    height = layer.height + 1
    context = begin_block(layer, height, genesis)
    chosen: list[Transaction] = []
    for transaction in candidates:
        try:
            check_transaction(layer, transaction, height, time_ms, genesis)
        except InvalidTransaction:
            continue
        apply_transaction(layer, transaction, context)
        chosen.append(transaction)
    return chosen
