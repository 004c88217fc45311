"""What the chain state knows of checkpoints and votes: the result of the votes that its own blocks carry."""

from __future__ import annotations

from collections.abc import Mapping

from minervas_core.encoding import Count, Hash, PublicKey, Record
from minervas_core.finality.votes import Checkpoint
from minervas_core.identifiers import MemberId
from minervas_core.record_tables import RecordTables
from minervas_core.tables import Table

HEAD_KEY = "head"


class Voter(Record, frozen=True, kw_only=True):
    """A member that may vote for a checkpoint, with its key as of the checkpoint's state."""

    member: MemberId
    vote_key: PublicKey


class CheckpointRecord(Record, frozen=True, kw_only=True):
    """A checkpoint of this chain."""

    hash: Hash
    members: list[MemberId]
    """Who had the vote in its own state: the voters of later checkpoints once this one is final."""
    voters: list[Voter]
    """Who may vote for it: members of `current` and `previous`, by member."""
    current: list[MemberId]
    """Voters of the last final checkpoint (while that is genesis: of this one), as far as they still have the vote."""
    previous: list[MemberId]
    """Voters of the final checkpoint before, as far as they still have the vote; empty while that is genesis."""
    justified: bool = False


class ChainVote(Record, frozen=True, kw_only=True):
    """A vote that a block of this chain carries."""

    source_height: Count
    included_height: Count


class FinalityHead(Record, frozen=True, kw_only=True):
    """How far the chain's own votes have come."""

    justified: Checkpoint
    """Highest justified checkpoint."""
    final: Checkpoint
    """Highest final checkpoint."""
    previous_final_height: Count
    """The final checkpoint before."""


ROW_TYPES: Mapping[str, type[Record]] = {
    "checkpoints": CheckpointRecord,
    "finality": FinalityHead,
    "votes": ChainVote,
}
"""Type of each table's records."""


class Finality(RecordTables):
    """Tables of finality, which can lie over another's as a layer. Genesis is final without a row."""

    __slots__ = ()

    ROW_TYPES = ROW_TYPES

    @property
    def checkpoints(self) -> Table[str, CheckpointRecord]:
        """Checkpoints from the last but one final one on, by `checkpoint_key`."""
        return self._tables["checkpoints"]  # type: ignore[return-value]  # ROW_TYPES ties the name to the type

    @property
    def votes(self) -> Table[str, ChainVote]:
        """Votes for checkpoints above the last final one, by `vote_key_of`."""
        return self._tables["votes"]  # type: ignore[return-value]  # as above

    @property
    def heads(self) -> Table[str, FinalityHead]:
        """One row, once a checkpoint was justified."""
        return self._tables["finality"]  # type: ignore[return-value]  # as above

    def head(self, genesis_hash: str) -> FinalityHead:
        """How far the chain's own votes have come; at first, genesis is justified and final."""
        genesis = Checkpoint(height=0, hash=genesis_hash)
        return self.heads.get(HEAD_KEY) or FinalityHead(justified=genesis, final=genesis, previous_final_height=0)

    def put_head(self, head: FinalityHead) -> None:
        """Set how far the votes have come."""
        self.heads.put(HEAD_KEY, head)

    def checkpoint(self, height: int) -> CheckpointRecord | None:
        """The checkpoint at a height, unless it is too old or none."""
        return self.checkpoints.get(checkpoint_key(height))

    def put_checkpoint(self, height: int, record: CheckpointRecord) -> None:
        """Set a checkpoint."""
        self.checkpoints.put(checkpoint_key(height), record)

    def vote(self, target_height: int, voter: str) -> ChainVote | None:
        """A member's vote for the checkpoint at a height, if the chain carries it."""
        return self.votes.get(vote_key_of(target_height, voter))

    def put_vote(self, target_height: int, voter: str, vote: ChainVote) -> None:
        """Set a vote."""
        self.votes.put(vote_key_of(target_height, voter), vote)


def checkpoint_key(height: int) -> str:
    """Key of a checkpoint's row; sorts by height."""
    return f"{height:016d}"


def vote_key_of(target_height: int, voter: str) -> str:
    """Key of a vote's row; sorts by height."""
    return f"{target_height:016d}/{voter}"
