"""The vote keys of this ledger: each checkpoint says with which of them it is voted for (docs/adr/0036)."""

from __future__ import annotations

from minervas_core.finality.state import Voter
from minervas_core.finality.votes import Vote, VoteBody, sign_vote
from minervas_core.keys import SigningKey
from minervas_runtime.key_ring import KeyRing

VOTE_KEY = "vote"


class VoteKeys:
    """All vote keys that this ledger made.

    Args:
        ring: the keys.
        member: whose ledger it is.
    """

    def __init__(self, ring: KeyRing[SigningKey], member: str) -> None:
        self._ring = ring
        self._member = member
        self.voters = [Voter(member=member, vote_key=key.public) for key in self._ring.all()]
        """Grows with every new key."""

    def make(self, wish: str) -> SigningKey:
        """The key for a wish; it votes for the first checkpoint that has it.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        key = self._ring.made_for(wish)
        voter = Voter(member=self._member, vote_key=key.public)
        if voter not in self.voters:
            self.voters.append(voter)
        return key

    def sign(self, body: VoteBody, public: str) -> Vote:
        """Sign a vote with the key of this public half.

        Raises:
            KeyError: if it is not ours.
        """
        key = self._ring.find(public)
        if key is None:
            raise KeyError(public)
        return sign_vote(body, key)
