"""Votes: a member's ledger says that one checkpoint follows from another (design section 5, finality)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from minervas_core.encoding import Count, Hash, NetworkId, Record, Signature, decode, encode
from minervas_core.errors import Code, InvalidVote
from minervas_core.genesis import Positive
from minervas_core.identifiers import MemberId
from minervas_core.keys import SigningKey, verify

PURPOSE = "vote"

MAX_VOTE_BYTES = 1_024
"""A vote has about 410 bytes."""

MAX_BLOCK_VOTES = 500
"""Hard limit of votes in a block: several rounds of a large consortium, about 205 kB."""


class Checkpoint(Record, frozen=True, kw_only=True):
    """A block at a multiple of ``vote_interval``, or genesis at height 0."""

    height: Count
    hash: Hash


class Target(Checkpoint, frozen=True, kw_only=True):
    """A checkpoint that is voted for: never genesis."""

    height: Positive


class VoteBody(Record, frozen=True, kw_only=True):
    """What the vote key signs: a link from a justified checkpoint to a newer one of the same chain."""

    network: NetworkId
    voter: MemberId
    source: Checkpoint
    target: Target

    def __post_init__(self) -> None:
        """Refuse a link that does not lead upwards; a decoder reports ``wrong_shape``."""
        if self.source.height >= self.target.height:
            raise ValueError("a vote leads from a lower checkpoint to a higher one")


class VoteForm(Record, frozen=True, kw_only=True):
    """The signed form on the wire and in blocks."""

    body: VoteBody
    signature: Signature


@dataclass(frozen=True, slots=True)
class Vote:
    """A decoded vote with the bytes as they were received."""

    body: VoteBody
    signature: Signature
    raw: bytes


def vote_order(vote: Vote) -> tuple[int, str]:
    """Sort key of a vote within its block; no two votes of a block share it."""
    return vote.body.target.height, vote.body.voter


def sign_vote(body: VoteBody, key: SigningKey) -> Vote:
    """Sign a vote. Whoever calls this has made sure that it contradicts none of the voter's earlier votes."""
    signature = key.sign(PURPOSE, body.network, encode(body))
    return decode_vote(encode(VoteForm(body=body, signature=signature)))


def decode_vote(raw: bytes) -> Vote:
    """Decode canonical bytes. The signature is not checked here.

    Raises:
        InvalidEncoding: if the bytes are not a vote.
    """
    form = decode(raw, VoteForm, max_bytes=MAX_VOTE_BYTES)
    return Vote(form.body, form.signature, raw)


def check_vote_signature(vote: Vote, network: str, vote_key: str) -> None:
    """Check that the holder of `vote_key` made the vote for this network.

    Raises:
        InvalidVote: ``wrong_network`` or ``bad_signature``.
    """
    body = vote.body
    if body.network != network:
        raise InvalidVote(Code.WRONG_NETWORK, "A vote of another network", network=body.network, voter=body.voter)
    if not _is_signed(vote.raw, vote_key):
        raise InvalidVote(
            Code.BAD_SIGNATURE, "Not signed by its voter", voter=body.voter, target_height=body.target.height
        )


def is_signed_by(vote: Vote, network: str, vote_key: str) -> bool:
    """Whether the holder of `vote_key` made the vote for this network."""
    return vote.body.network == network and _is_signed(vote.raw, vote_key)


@lru_cache(maxsize=16_384)
def _is_signed(raw: bytes, vote_key: str) -> bool:
    """A vote comes by gossip and then in blocks of several branches: remember the answer, which never changes."""
    vote = decode_vote(raw)
    return verify(vote_key, PURPOSE, vote.body.network, encode(vote.body), vote.signature)
