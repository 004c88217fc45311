"""What a final block makes useless is forgotten: votes that no later block can carry cost nothing any more."""

from __future__ import annotations

from minervas_core.finality.state import Voter
from minervas_core.finality.voter import Guard, next_vote
from minervas_core.finality.votes import Vote, sign_vote
from minervas_ledger.settings import DatabaseSettings
from tests.support.builders import FAR_FUTURE_MS, vote_key
from tests.support.killed_ledger import first_blocks, found, genesis
from tests.support.ledger import StoredChain
from tests.support.ledger_market import MEMBERS


def votes_due(stored: StoredChain) -> list[Vote]:
    """What every member votes at the tip."""
    state = stored.now._chain.state
    due: list[Vote] = []
    for member in MEMBERS:
        key = vote_key(member)
        body = next_vote(
            state.finality, state.height, Voter(member=member, vote_key=key.public), Guard(), stored.genesis
        )
        if body is not None:
            due.append(sign_vote(body, key))
    return due


def test_votes_below_a_final_block_are_forgotten(ledger_database: DatabaseSettings) -> None:
    stored = StoredChain(ledger_database, genesis())
    stored.take(*first_blocks())
    cast = 0
    while stored.now._chain.final.height == 0:
        results = stored.now.votes.take([vote.raw for vote in votes_due(stored)], FAR_FUTURE_MS, origin="test")
        cast += results.accepted
        content = stored.now.draft("m0", stored.now.view().tip_time_ms + 1_000)
        assert stored.take(found(content)) == ["connected"]
        assert stored.now._chain.tip.height < 40, "finality does not come"
    final_height = stored.now._chain.final.height
    assert cast >= 2 * len(MEMBERS)
    kept = [vote for member in MEMBERS for vote in stored.now.votes._book.pool.of(member)]
    assert kept
    assert all(vote.body.target.height > final_height for vote in kept)
    stored.now.close()
