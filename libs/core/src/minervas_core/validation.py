"""Rules of blocks in three steps, each needing more than the one before (design section 5).

1. `check_header`: the header against its predecessors. Cheap; what passes has cost its miner the work.
2. `check_block_body`: the content against the header, without the state.
3. `connect_block`: transactions and miner against the state of the predecessor.

A refusal is *lasting* when it follows from the header alone, for the header commits to the transactions. Whoever relays
a block can still exchange its content or its signature; such a refusal says nothing about the block hash
(`follows_from_hash`), or one liar could make others refuse an honest block for ever.
"""

from __future__ import annotations

from itertools import islice, pairwise

from minervas_core.blocks import (
    VERSION,
    Block,
    Header,
    block_signature_is_valid,
    transactions_root,
    votes_root,
)
from minervas_core.difficulty import next_difficulty
from minervas_core.diversity import check_turn, excluded_blocks
from minervas_core.errors import Code, InvalidBlock, InvalidTransaction, InvalidVote
from minervas_core.finality.votes import vote_order
from minervas_core.genesis import Genesis, Parameters
from minervas_core.governance.parameters import active_parameters, check_rules_known
from minervas_core.proof_of_work import is_good
from minervas_core.roster import Roster
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import AppliedBlock, ChainState, apply_block
from minervas_core.timing import check_after_parent
from minervas_core.transactions import block_order
from minervas_core.tree import HeaderNode

_NOT_IN_HASH = frozenset({Code.BLOCK_TX_ROOT, Code.BLOCK_VOTES_ROOT, Code.BLOCK_SIGNATURE})
"""Refusals of what the block hash does not cover."""


def follows_from_hash(error: InvalidBlock) -> bool:
    """Whether every block of this hash must be refused like this."""
    return error.code not in _NOT_IN_HASH


def expected_difficulty(parent: HeaderNode, parameters: Parameters) -> int:
    """Difficulty that the block after `parent` must have."""
    recent = [(node.time_ms, node.header.difficulty) for node in islice(parent.blocks(), parameters.lwma_window + 1)]
    return next_difficulty(recent[::-1], parameters)


def check_header(header: Header, block_hash: str, parent: HeaderNode, genesis: Genesis) -> None:
    """Check a header against its predecessor's chain, in this order.

    Raises:
        InvalidBlock: a code of `check_header_alone`, ``block_height``, ``block_time_too_old``, ``block_difficulty`` or
            ``block_work``.
    """
    check_header_alone(header, genesis)
    if header.height != parent.height + 1:
        raise InvalidBlock(
            Code.BLOCK_HEIGHT, "Not one above its predecessor", height=header.height, parent_height=parent.height
        )
    check_after_parent(header, parent.time_ms)
    expected = expected_difficulty(parent, genesis.parameters)
    if header.difficulty != expected:
        raise InvalidBlock(
            Code.BLOCK_DIFFICULTY, "Not the difficulty due", difficulty=header.difficulty, expected=expected
        )
    check_work(header, block_hash)


def check_header_alone(header: Header, genesis: Genesis) -> None:
    """Check what a header must say on every chain of this network.

    Raises:
        InvalidBlock: ``block_version`` or ``wrong_network``.
    """
    if header.version != VERSION:
        raise InvalidBlock(Code.BLOCK_VERSION, "Made under rules that we do not know", version=header.version)
    if header.network != genesis.network:
        raise InvalidBlock(Code.WRONG_NETWORK, "A block of another network", network=header.network)


def check_work(header: Header, block_hash: str) -> None:
    """Check the block hash against the difficulty that the header claims.

    Raises:
        InvalidBlock: ``block_work``.
    """
    if not is_good(bytes.fromhex(block_hash), header.difficulty):
        raise InvalidBlock(
            Code.BLOCK_WORK, "The hash does not fulfil the difficulty", hash=block_hash, difficulty=header.difficulty
        )


def check_orphan(block: Block, genesis: Genesis) -> None:
    """Check what can be checked while the predecessor is unknown: the right network, some work, the right content.

    Signatures are left for later: the work is only claimed, so we spend little on it.

    Raises:
        InvalidBlock: a code of `check_header_alone`, ``block_difficulty``, ``block_work``, ``block_tx_root`` or
            ``block_votes_root``.
    """
    header, parameters = block.header, genesis.parameters
    check_header_alone(header, genesis)
    least = min(parameters.min_difficulty, parameters.initial_difficulty)
    if header.difficulty < least:
        raise InvalidBlock(
            Code.BLOCK_DIFFICULTY, "Below every possible difficulty", difficulty=header.difficulty, least=least
        )
    check_work(header, block.hash)
    _check_roots(block)


def check_block_body(block: Block, signatures: SignatureCache) -> None:
    """Check a block's content by itself: roots, order, and every transaction alone. Its size is for `connect_block`.

    Raises:
        InvalidBlock: ``block_tx_root``, ``block_votes_root``, ``tx_duplicate``, ``block_tx_order``,
            ``block_vote_order``, or a transaction's code of `SignatureCache.check`.
    """
    _check_roots(block)
    _check_order(block)
    signatures.check_together(block.transactions)
    for transaction in block.transactions:
        try:
            signatures.check(transaction)
        except InvalidTransaction as error:
            raise _in_block(block, error) from error


def connect_block(state: ChainState, block: Block, parent: HeaderNode, genesis: Genesis) -> AppliedBlock:
    """Check a block against the state of its predecessor and apply it; on a refusal the state is as before.

    The miner and its signature are judged by the roster *after* the block's transactions: block 1 can admit its own
    miner, and nobody mines the block that revokes it.

    Raises:
        InvalidBlock: ``too_large``, ``block_tx_count``, ``block_miner_unknown``, ``block_miner_too_soon``,
            ``block_signature``, a vote's code of `check_vote`, or a transaction's code of `check_transaction`.
        LocalFault: ``software_too_old`` if the block is to be judged by rules that this software does not have.
    """
    check_rules_known(state.governance)
    parameters = active_parameters(state.governance, genesis)
    _check_size(block, parameters)
    layer = state.scratch()
    try:
        applied = apply_block(layer, block, genesis)
    except (InvalidTransaction, InvalidVote) as error:
        raise _in_block(block, error) from error
    header = block.header
    block_key = check_miner(layer.roster, header.miner, header.time_ms, parent, parameters)
    if not block_signature_is_valid(header, block.hash, block.signature, block_key):
        raise InvalidBlock(Code.BLOCK_SIGNATURE, "Not signed by its miner", hash=block.hash, miner=header.miner)
    layer.commit()
    return applied


def check_miner(roster: Roster, miner: str, time_ms: int, parent: HeaderNode, parameters: Parameters) -> str:
    """Check that a member may mine the block after `parent`; returns its block key.

    Args:
        roster: after the block's membership transactions.
        miner: member id.
        time_ms: the block's time.
        parent: the predecessor.
        parameters: those by which the block is judged.

    Raises:
        InvalidBlock: ``block_miner_unknown`` or ``block_miner_too_soon``.
    """
    record = roster.active(miner)
    if record is None:
        raise InvalidBlock(Code.BLOCK_MINER_UNKNOWN, "Not an active member", miner=miner, height=parent.height + 1)
    last = islice(parent.blocks(), excluded_blocks(roster.active_count, parameters))
    check_turn(
        miner,
        time_ms,
        parent_time_ms=parent.time_ms,
        last_miners=(node.header.miner for node in last),
        parameters=parameters,
    )
    return record.keys.block


def _check_roots(block: Block) -> None:
    if transactions_root(block.transactions) != block.header.tx_root:
        raise InvalidBlock(Code.BLOCK_TX_ROOT, "Not the transactions that the header names", hash=block.hash)
    if votes_root(block.votes) != block.header.votes_root:
        raise InvalidBlock(Code.BLOCK_VOTES_ROOT, "Not the votes that the header names", hash=block.hash)


def _check_size(block: Block, parameters: Parameters) -> None:
    if len(block.raw) > parameters.max_block_bytes:
        raise InvalidBlock(
            Code.TOO_LARGE, "The block is too large", size_bytes=len(block.raw), max_bytes=parameters.max_block_bytes
        )
    if len(block.transactions) > parameters.max_block_transactions:
        raise InvalidBlock(
            Code.BLOCK_TX_COUNT,
            "Too many transactions",
            count=len(block.transactions),
            max_count=parameters.max_block_transactions,
        )


def _check_order(block: Block) -> None:
    keys = [block_order(transaction) for transaction in block.transactions]
    for position, (before, after) in enumerate(pairwise(keys), 1):
        if before == after:
            raise InvalidBlock(Code.TX_DUPLICATE, "A transaction stands twice in the block", tx=after[-1])
        if before > after:
            raise InvalidBlock(Code.BLOCK_TX_ORDER, "Transactions are out of order", hash=block.hash, position=position)
    for one, other in pairwise(block.votes):
        if vote_order(one) >= vote_order(other):
            raise InvalidBlock(
                Code.BLOCK_VOTE_ORDER,
                "Votes are out of order",
                hash=block.hash,
                target_height=other.body.target.height,
                voter=other.body.voter,
            )


def _in_block(block: Block, error: InvalidTransaction | InvalidVote) -> InvalidBlock:
    """A transaction's refusal as the refusal of the block that carries it."""
    return InvalidBlock(error.code, error.message, hash=block.hash, **error.values)
