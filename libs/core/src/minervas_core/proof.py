"""A proof for outsiders: that a transaction stands in a final block, checked with nothing but the genesis file.

It holds every header, every vote, and every transaction that changes who the members are, from block 1 to the block
whose votes made the transaction's block final. Whoever checks it follows the same rules as a node, but for what trades:
headers and their work, whose turn it was to mine, the roster, the votes and what they make final. Of other transactions
there are only the headers' Merkle roots, and the path of the one in question.

What it cannot show is that this is the only history: see spec/proofs.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from minervas_core.blocks import Block, Header, votes_root
from minervas_core.encoding import Hash, NetworkId, Record, Signature
from minervas_core.errors import Code, InvalidBlock, InvalidProof
from minervas_core.finality.votes import MAX_BLOCK_VOTES, decode_vote
from minervas_core.genesis import MAX_BLOCK_TRANSACTIONS, Genesis, Positive
from minervas_core.merkle import merkle_path, path_leads_to
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import ChainState
from minervas_core.transactions import Transaction, decode_transaction, is_about_members
from minervas_core.tree import BlockTree
from minervas_core.validation import check_header, connect_block

FORMAT = 1

MAX_LINE_BYTES = 4_000_000
"""A block's part of a proof: 500 votes and a block full of admissions with their paths."""
MAX_PATH = 11
"""Steps in a block of 1,500 transactions."""


class ProofHead(Record, frozen=True, kw_only=True):
    """First line of a proof."""

    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    network: NetworkId
    genesis: Hash
    blocks: Positive
    """How many blocks follow, from block 1 on."""


class CarriedTransaction(Record, frozen=True, kw_only=True):
    """A transaction with its audit path in the block's `tx_root`."""

    index: Annotated[int, msgspec.Meta(ge=0, lt=MAX_BLOCK_TRANSACTIONS)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOCK_TRANSACTIONS)]
    path: Annotated[list[Hash], msgspec.Meta(max_length=MAX_PATH)]
    transaction: msgspec.Raw


class ProofBlock(Record, frozen=True, kw_only=True):
    """One block's line: all of it but the transactions that do not change who the members are."""

    header: Header
    signature: Signature
    votes: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_BLOCK_VOTES)]
    members: Annotated[list[CarriedTransaction], msgspec.Meta(max_length=MAX_BLOCK_TRANSACTIONS)]


class ProofSubject(Record, frozen=True, kw_only=True):
    """Last line: the transaction in question."""

    height: Positive
    carried: CarriedTransaction


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof shows."""

    transaction: Transaction
    height: int
    block: str
    """Hash of the block that carries it."""
    final_height: int
    """Height of the last block that the shown votes make final."""
    final_block: str
    work: int
    """Expected tries behind the shown chain."""
    members: tuple[str, ...]
    """Active members after the last shown block: whom the reader has to know for what they are."""


def block_part(block: Block) -> ProofBlock:
    """A block's line."""
    raws = [transaction.raw for transaction in block.transactions]
    return ProofBlock(
        header=block.header,
        signature=block.signature,
        votes=[msgspec.Raw(vote.raw) for vote in block.votes],
        members=[carried_at(raws, index) for index, each in enumerate(block.transactions) if is_about_members(each)],
    )


def subject_part(block: Block, tx_id: str) -> ProofSubject:
    """The last line, about a transaction of a block.

    Raises:
        KeyError: if the block does not carry it.
    """
    for index, transaction in enumerate(block.transactions):
        if transaction.id == tx_id:
            raws = [each.raw for each in block.transactions]
            return ProofSubject(height=block.header.height, carried=carried_at(raws, index))
    raise KeyError(tx_id)


class ProofCheck:
    """Follows the shown chain with a node's own rules; its state has the members, but nothing that trades.

    Hand it the blocks' lines, oldest first, then `conclude` with the subject's.

    Raises:
        InvalidProof: ``wrong_network`` if the proof is of another consortium.
    """

    def __init__(self, genesis: Genesis, head: ProofHead) -> None:
        if (head.network, head.genesis) != (genesis.network, genesis.hash):
            raise InvalidProof(Code.WRONG_NETWORK, "A proof of another consortium", genesis=head.genesis)
        self._genesis = genesis
        self._announced = head.blocks
        self._tree = BlockTree(genesis)
        self._state = ChainState.fresh(genesis)
        self._signatures = SignatureCache(genesis)

    def add(self, part: ProofBlock) -> None:
        """Check the next block.

        Raises:
            InvalidProof: ``proof_path``.
            InvalidBlock, InvalidEncoding, InvalidTransaction: a block, a vote or a transaction breaks a rule.
        """
        header, parent = part.header, self._tree.tip
        block_hash = header.hash()
        if header.prev != parent.hash:
            raise InvalidBlock(Code.BLOCK_UNKNOWN_PARENT, "Does not name the block before it", hash=block_hash)
        check_header(header, block_hash, parent, self._genesis)
        votes = tuple(decode_vote(bytes(raw)) for raw in part.votes)
        if votes_root(votes) != header.votes_root:
            raise InvalidBlock(Code.BLOCK_VOTES_ROOT, "Not the votes that the header names", hash=block_hash)
        shown = tuple(shown_transaction(each, header) for each in part.members)
        for transaction in shown:
            self._signatures.check(transaction)
        connect_block(self._state, Block(block_hash, header, part.signature, shown, votes, b""), parent, self._genesis)
        node = self._tree.add(header, block_hash, parent)
        self._tree.set_body(node)
        self._tree.move_tip(node)

    def conclude(self, subject: ProofSubject) -> Proven:
        """Judge the transaction in question, after all blocks.

        Raises:
            InvalidProof: ``proof_incomplete``, ``proof_path`` or ``proof_not_final``.
        """
        if self._tree.tip.height != self._announced:
            raise InvalidProof(
                Code.PROOF_INCOMPLETE,
                "Not as many blocks as announced",
                blocks=self._tree.tip.height,
                announced=self._announced,
            )
        node = self._tree.main_at(subject.height)
        if node is None:
            raise InvalidProof(Code.PROOF_INCOMPLETE, "The transaction's block is not shown", height=subject.height)
        transaction = shown_transaction(subject.carried, node.header)
        final = self._state.finality.head(self._genesis.hash).final
        if subject.height > final.height:
            raise InvalidProof(
                Code.PROOF_NOT_FINAL,
                "The shown votes do not make the transaction's block final",
                height=subject.height,
                final_height=final.height,
            )
        return Proven(
            transaction=transaction,
            height=subject.height,
            block=node.hash,
            final_height=final.height,
            final_block=final.hash,
            work=self._tree.tip.work,
            members=tuple(record.member for record in self._state.roster.active_members()),
        )


def carried_at(raws: Sequence[bytes], index: int) -> CarriedTransaction:
    """Transaction number `index` of a block with its audit path."""
    return CarriedTransaction(
        index=index, count=len(raws), path=merkle_path(raws, index), transaction=msgspec.Raw(raws[index])
    )


def shown_transaction(carried: CarriedTransaction, header: Header) -> Transaction:
    """A shown transaction, if it is under its block's root.

    Raises:
        InvalidProof: ``proof_path``.
    """
    raw = bytes(carried.transaction)
    if not path_leads_to(raw, carried.index, carried.count, carried.path, header.tx_root):
        raise InvalidProof(
            Code.PROOF_PATH, "A shown transaction is not in its block", height=header.height, index=carried.index
        )
    return decode_transaction(raw)
