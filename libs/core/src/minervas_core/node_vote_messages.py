"""Votes and finality inside one node, sealed under the node key: the ledger votes, the peer carries votes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from minervas_core.encoding import Count, FieldName, Record
from minervas_core.finality.votes import Checkpoint
from minervas_core.identifiers import MemberId
from minervas_core.messages import MAX_VOTES_PER_FRAME, GetVotes, Votes

# peer -> ledger


class SubmitVotes(Record, frozen=True, kw_only=True):
    """Votes that another member sent."""

    votes: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_VOTES_PER_FRAME)]
    origin: MemberId


class VoteResults(Record, frozen=True, kw_only=True):
    """Answer to `SubmitVotes`."""

    accepted: Count
    known: Count
    refused: dict[FieldName, Count]
    """How many were refused, by code."""


class GetFinality(Record, frozen=True, kw_only=True):
    """Ask how far finality has come."""


class CheckpointEntry(Record, frozen=True, kw_only=True):
    """A checkpoint of the best chain, newer than the last but one final one."""

    checkpoint: Checkpoint
    state: Literal["open", "justified", "final"]
    voters: list[MemberId]
    """Who may vote for it."""
    voted: list[MemberId]
    """Whose votes for it the chain carries; not known any more once it is final."""


class EquivocationEntry(Record, frozen=True, kw_only=True):
    """Two votes that no honest voter makes; both signatures together prove it."""

    voter: MemberId
    kind: Literal["double", "surround"]
    first: msgspec.Raw
    second: msgspec.Raw


class FinalityReport(Record, frozen=True, kw_only=True):
    """Answer to `GetFinality`."""

    justified: Checkpoint
    final: Checkpoint
    tip_height: Count
    missing: list[MemberId]
    """Who has not voted for the newest checkpoint that was due."""
    voting: str
    """Why this node does not vote at present; empty if it does."""
    checkpoints: list[CheckpointEntry]
    """Newest first."""
    equivocations: list[EquivocationEntry]
    """Newest first."""


# ledger -> peer


class AnnounceVotes(Record, frozen=True, kw_only=True):
    """Event: tell everybody these votes of our own."""

    votes: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_VOTES_PER_FRAME)]


class FetchVotes(Record, frozen=True, kw_only=True):
    """Ask our peer to get votes from one member."""

    member: MemberId
    question: GetVotes


NODE_VOTE_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "vote": (SubmitVotes, VoteResults),
    "get_votes": (GetVotes, Votes),
    "finality": (GetFinality, FinalityReport),
    "fetch_votes": (FetchVotes, Votes),
}
"""Request and answer inside a node, by kind."""

NODE_VOTE_EVENT_TYPES: dict[str, type[Record]] = {"announce_votes": AnnounceVotes}
"""Messages without an answer inside a node, by kind."""
