"""Votes of the members on the fixture's chain, and one sample of every message about votes."""

from __future__ import annotations

from msgspec import Raw

from minervas_core import messages, node_vote_messages
from minervas_core.encoding import Record, sha256_hex
from minervas_core.finality.votes import Checkpoint, Target, Vote, VoteBody, VoteForm, sign_vote
from tools.vectors.fixtures import GENESIS, HAENAM, KIM, MOKPO, NETWORK, MemberKeys

GENESIS_CHECKPOINT = Checkpoint(height=0, hash=GENESIS.hash)
FIRST = Checkpoint(height=4, hash=sha256_hex(b"checkpoint 4"))
SECOND = Checkpoint(height=8, hash=sha256_hex(b"checkpoint 8"))


def vote(who: MemberKeys, source: Checkpoint, target: Checkpoint) -> Vote:
    """A member's vote that `target` follows from `source`."""
    body = VoteBody(
        network=NETWORK, voter=who.member, source=source, target=Target(height=target.height, hash=target.hash)
    )
    return sign_vote(body, who.vote)


VOTES = tuple(vote(who, GENESIS_CHECKPOINT, FIRST) for who in (HAENAM, KIM, MOKPO))
SURROUNDED = vote(KIM, FIRST, SECOND)
SURROUNDING = vote(KIM, GENESIS_CHECKPOINT, Checkpoint(height=12, hash=sha256_hex(b"checkpoint 12")))


def vote_samples() -> dict[str, Record]:
    """Messages about votes between peers, by name of the sample."""
    raw = [Raw(each.raw) for each in VOTES]
    return {
        "VoteForm": VoteForm(body=VOTES[0].body, signature=VOTES[0].signature),
        "VoteBatch": messages.VoteBatch(votes=raw[:1]),
        "GetVotes": messages.GetVotes(above_height=0, limit=500),
        "GetVotes of one member": messages.GetVotes(above_height=4, voter=HAENAM.member, limit=20),
        "Votes": messages.Votes(votes=raw),
        "Votes, none": messages.Votes(votes=[]),
    }


def node_vote_samples() -> dict[str, Record]:
    """Messages about votes inside one node, by name of the sample."""
    raw = [Raw(each.raw) for each in VOTES]
    members = [HAENAM.member, KIM.member, MOKPO.member]
    checkpoints = [
        node_vote_messages.CheckpointEntry(checkpoint=SECOND, state="open", voters=members, voted=members[:1]),
        node_vote_messages.CheckpointEntry(checkpoint=FIRST, state="justified", voters=members, voted=members),
    ]
    lie = node_vote_messages.EquivocationEntry(
        voter=KIM.member, kind="surround", first=Raw(SURROUNDED.raw), second=Raw(SURROUNDING.raw)
    )
    return {
        "SubmitVotes": node_vote_messages.SubmitVotes(votes=raw, origin=HAENAM.member),
        "VoteResults": node_vote_messages.VoteResults(accepted=2, known=1, refused={"bad_signature": 1}),
        "GetFinality": node_vote_messages.GetFinality(),
        "FinalityReport": node_vote_messages.FinalityReport(
            justified=FIRST,
            final=GENESIS_CHECKPOINT,
            tip_height=12,
            missing=members[1:],
            voting="",
            checkpoints=checkpoints,
            equivocations=[lie],
        ),
        "AnnounceVotes": node_vote_messages.AnnounceVotes(votes=raw[:1]),
        "FetchVotes": node_vote_messages.FetchVotes(
            member=HAENAM.member, question=messages.GetVotes(above_height=0, voter=MOKPO.member, limit=20)
        ),
    }
