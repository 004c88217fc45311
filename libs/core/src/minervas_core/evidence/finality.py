"""That a block is final, shown with a few headers and one round of votes.

The headers lead from the block up to a checkpoint; votes of more than two thirds of the members lead from that
checkpoint to the next one. Who votes so says that the first is justified, and makes it final. This shows less than a
whole proof (`minervas_core.proof`): work is only checked header by header, and who the voters are is taken from the
membership transactions shown. It is small, and whoever forges it needs the same colluding members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from minervas_core.blocks import Header, block_signature_is_valid
from minervas_core.encoding import Record, Signature
from minervas_core.errors import Code, InvalidBlock, InvalidProof
from minervas_core.evidence.known_keys import KnownKeys
from minervas_core.finality.votes import MAX_BLOCK_VOTES, Vote, check_vote_signature, decode_vote
from minervas_core.genesis import Genesis
from minervas_core.transactions import Transaction, decode_transaction
from minervas_core.validation import check_header_alone, check_work

MAX_SHOWN_HEADERS = 2_000
"""From a block to a final checkpoint above it: finality that paused for 2,000 blocks is shown by whole proofs only."""
MAX_SHOWN_MEMBERS = 20_000
"""Membership transactions of a chain that are shown."""


class ShownFinality(Record, frozen=True, kw_only=True):
    """What shows that a block is final."""

    members: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_SHOWN_MEMBERS)]
    """All transactions up to the checkpoint that change who the members are, in the order of the chain."""
    headers: Annotated[list[Header], msgspec.Meta(min_length=1, max_length=MAX_SHOWN_HEADERS)]
    """From the block itself to the checkpoint."""
    signature: Signature
    """The miner's, on the block itself."""
    votes: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BLOCK_VOTES)]
    """From the checkpoint to the next one."""


def shown_members(shown: ShownFinality) -> list[Transaction]:
    """The membership transactions, decoded.

    Raises:
        InvalidEncoding: one is malformed.
    """
    return [decode_transaction(bytes(raw)) for raw in shown.members]


def check_block_shown(genesis: Genesis, shown: ShownFinality, keys: KnownKeys) -> str:
    """Check the block's header, its work and its miner's signature; returns its hash.

    Raises:
        InvalidBlock: ``wrong_network``, ``block_version``, ``block_difficulty``, ``block_work`` or
            ``block_signature``.
    """
    header = shown.headers[0]
    block_hash = _check_header(genesis, header)
    if not any(
        block_signature_is_valid(header, block_hash, shown.signature, key) for key in keys.block_keys_of(header.miner)
    ):
        raise InvalidBlock(Code.BLOCK_SIGNATURE, "Not signed by its miner", miner=header.miner, hash=block_hash)
    return block_hash


def check_final(genesis: Genesis, shown: ShownFinality, keys: KnownKeys) -> tuple[Header, list[str]]:
    """Check that the first header's block is final; returns the final checkpoint and who voted.

    Raises:
        InvalidBlock: a header breaks a rule, or does not follow the one before.
        InvalidVote: ``bad_signature`` or ``wrong_network``.
        InvalidProof: ``proof_not_final``.
    """
    last = shown.headers[0].hash()
    for header in shown.headers[1:]:
        if header.prev != last:
            raise InvalidBlock(Code.BLOCK_UNKNOWN_PARENT, "Does not name the block before it", height=header.height)
        last = _check_header(genesis, header)
    checkpoint = shown.headers[-1]
    if checkpoint.height != shown.headers[0].height + len(shown.headers) - 1:
        raise InvalidBlock(Code.BLOCK_HEIGHT, "Not as many blocks as the heights say", height=checkpoint.height)
    interval = genesis.parameters.vote_interval
    if checkpoint.height % interval:
        raise _not_final("The last header is no checkpoint", height=checkpoint.height)
    votes = [decode_vote(bytes(raw)) for raw in shown.votes]
    return checkpoint, _check_votes(genesis, votes, keys, (checkpoint.height, last, checkpoint.height + interval))


def _check_votes(genesis: Genesis, votes: Sequence[Vote], keys: KnownKeys, link: tuple[int, str, int]) -> list[str]:
    """More than two thirds of the members voted for one link from the checkpoint to the next one."""
    voters, source_height, source_hash, target_height = keys.voters, *link
    voted: set[str] = set()
    for vote in votes:
        body = vote.body
        if (body.source.height, body.source.hash, body.target.height) != (source_height, source_hash, target_height):
            raise _not_final("A vote for another link", voter=body.voter)
        if body.target.hash != votes[0].body.target.hash:
            raise _not_final("Votes for different blocks", voter=body.voter)
        if body.voter not in voters:
            raise _not_final("A vote of nobody who has one", voter=body.voter)
        check_vote_signature(vote, genesis.network, voters[body.voter])
        voted.add(body.voter)
    if 3 * len(voted) <= 2 * len(voters) or len(voters) < genesis.parameters.founding_voters:
        raise _not_final("Too few votes", votes=len(voted), voters=len(voters))
    return sorted(voted)


def _check_header(genesis: Genesis, header: Header) -> str:
    block_hash = header.hash()
    check_header_alone(header, genesis)
    least = min(genesis.parameters.min_difficulty, genesis.parameters.initial_difficulty)
    if header.difficulty < least:
        raise InvalidBlock(Code.BLOCK_DIFFICULTY, "Below the floor", difficulty=header.difficulty, hash=block_hash)
    check_work(header, block_hash)
    return block_hash


def _not_final(message: str, **values: str | int) -> InvalidProof:
    return InvalidProof(Code.PROOF_NOT_FINAL, message, **values)
