"""Histories of blocks with votes: what they justify and make final, and what that means for the fork choice."""

from __future__ import annotations

from minervas_core.blocks import Block, assemble_block
from minervas_core.finality.votes import Checkpoint, Target, Vote, VoteBody, sign_vote
from tools.vectors.chain_blocks import revoke
from tools.vectors.chain_cases import Step
from tools.vectors.finality_blocks import MINERS, Line
from tools.vectors.fixtures import HAENAM, KIM, MOKPO, OTHER_NETWORK, OUTSIDER, REVOCATION, admit
from tools.vectors.vote_samples import vote

Histories = dict[str, list[Step]]
TWO = MINERS[:2]
NOWHERE = "ab" * 32


def finality_histories() -> Histories:
    """Every history by name."""
    return {**_counting(), **_refused(), **_rosters(), **_forks()}


def taken(blocks: list[Block]) -> list[Step]:
    """Every block extends the best chain."""
    return [Step(block, "connected") for block in blocks]


def side(blocks: list[Block]) -> list[Step]:
    """Every block stays off the best chain."""
    return [Step(block, "side_branch") for block in blocks]


def _counting() -> Histories:
    consecutive = Line().grow_to(4)
    consecutive.add(*consecutive.votes(0, 4))
    consecutive.grow_to(8).add(*consecutive.votes(4, 8))
    consecutive.grow_to(12).add(*consecutive.votes(8, 12))

    skipping = Line().grow_to(4)
    skipping.add(*skipping.votes(0, 4))
    skipping.grow_to(12).add(*skipping.votes(4, 12))
    skipping.grow_to(16).add(*skipping.votes(12, 16))

    short = Line().grow_to(4)
    short.add(*short.votes(0, 4, TWO))
    short.add(*short.votes(0, 4, (KIM,)))

    split = Line().grow_to(4)
    split.add(*split.votes(0, 4))
    split.grow_to(8).add(*split.votes(4, 8, TWO), *split.votes(0, 8, (KIM,)))

    together = Line().grow_to(8)
    together.add(*together.votes(0, 4), *together.votes(4, 8))
    return {
        "three consecutive checkpoints": taken(consecutive.blocks),
        "a link that skips a checkpoint makes nothing final": taken(skipping.blocks),
        "two of three are no majority, three are": taken(short.blocks),
        "votes from two sources are not added up": taken(split.blocks),
        "votes of one block build on each other": taken(together.blocks),
    }


def _foreign(line: Line) -> Vote:
    """A vote for another network."""
    target = line.at(8)
    body = VoteBody(
        network=OTHER_NETWORK,
        voter=MOKPO.member,
        source=line.at(4),
        target=Target(height=target.height, hash=target.hash),
    )
    return sign_vote(body, MOKPO.vote)


def _forged(line: Line) -> Vote:
    """A vote in Mokpo's name, signed by another member."""
    return sign_vote(vote(MOKPO, line.at(4), line.at(8)).body, KIM.vote)


def _refused() -> Histories:
    """A chain with 4 justified and 8 open, and a block upon it that must be refused."""
    line = Line().grow_to(4)
    line.add(*line.votes(0, 4))
    line.grow_to(8).add(*line.votes(4, 8, (HAENAM,)))
    start, first, second = line.at(0), line.at(4), line.at(8)
    faults: dict[str, tuple[Block, str]] = {
        "target of another chain": (line.next(vote(MOKPO, first, Checkpoint(height=8, hash=NOWHERE))), "vote_target"),
        "target is no checkpoint": (line.next(vote(MOKPO, first, line.at(7))), "vote_target"),
        "target is higher than the chain": (
            line.next(vote(MOKPO, first, Checkpoint(height=12, hash=NOWHERE))),
            "vote_target",
        ),
        "source of another chain": (line.next(vote(MOKPO, Checkpoint(height=4, hash=NOWHERE), second)), "vote_source"),
        "source is no checkpoint": (line.next(vote(MOKPO, line.at(3), second)), "vote_source"),
        "vote of a voter for a height again": (line.next(vote(HAENAM, first, second)), "vote_twice"),
        "vote of a voter for a height again, from elsewhere": (line.next(vote(HAENAM, start, second)), "vote_twice"),
        "vote of somebody who is no member": (line.next(vote(OUTSIDER, first, second)), "vote_not_voter"),
        "vote of another network": (line.next(_foreign(line)), "wrong_network"),
        "vote signed by another member": (line.next(_forged(line)), "bad_signature"),
        "votes out of order": (line.next(*line.votes(4, 8, (MOKPO, KIM)), keep_order=True), "block_vote_order"),
        "a vote twice in a block": (line.next(*line.votes(4, 8, (MOKPO, MOKPO))), "block_vote_order"),
    }
    good = line.next(*line.votes(4, 8, (MOKPO, KIM)))
    stripped = assemble_block(good.header, good.signature, good.transactions, good.votes[:1])
    faults["votes exchanged on the way"] = (stripped, "block_votes_root")
    histories = {
        f"refused: {name}": [*taken(line.blocks), Step(block, "refused", code), Step(good, "connected")]
        for name, (block, code) in faults.items()
    }
    return histories | _refused_as_final()


def _refused_as_final() -> Histories:
    line = Line().grow_to(4)
    line.add(*line.votes(0, 4, TWO), *line.votes(0, 4, (KIM,)))
    line.grow_to(8).add(*line.votes(4, 8))
    line.grow_to(12)
    further = line.fork(12)
    further.add(*further.votes(8, 12))
    further.grow_to(16)
    early = Line().grow_to(8)
    unproved = early.next(*early.votes(4, 8))
    return {
        "refused: vote for what is final": [
            *taken(line.blocks),
            Step(line.next(vote(MOKPO, line.at(0), line.at(4))), "refused", "vote_target"),
        ],
        "refused: vote from below what is final": [
            *taken(line.blocks),
            Step(line.next(vote(MOKPO, line.at(0), line.at(12))), "refused", "vote_source"),
        ],
        "refused: vote from the final checkpoint before the last": [
            *taken(further.blocks),
            Step(further.next(vote(MOKPO, further.at(4), further.at(16))), "refused", "vote_source"),
        ],
        "refused: vote from a checkpoint that is not justified": [
            *taken(early.blocks),
            Step(unproved, "refused", "vote_source"),
        ],
    }


def _joining() -> Line:
    """A fourth member joins in block 6; 8 becomes final with it, and 4 without it is the one before."""
    line = Line().grow_to(4)
    line.add(*line.votes(0, 4))
    line.add(transactions=(admit(OUTSIDER),))
    line.grow_to(8).add(*line.votes(4, 8))
    line.grow_to(12)
    return line


def _rosters() -> Histories:
    line = _joining()
    newcomer = line.next(vote(OUTSIDER, line.at(8), line.at(12)))
    line.add(*line.votes(8, 12))
    line.grow_to(14)
    gone = line.fork(14, TWO)
    gone.add(transactions=(REVOCATION,))
    gone.grow_to(16).add(*gone.votes(12, 16, (MOKPO, HAENAM)))
    gone.add(*gone.votes(12, 16, (OUTSIDER,)))
    late = line.next(transactions=(revoke(OUTSIDER, "late"),))
    line.grow_to(16).add(*line.votes(12, 16, (MOKPO, HAENAM, OUTSIDER)))
    line.add(*line.votes(12, 16, (KIM,)))

    lonely = Line(TWO)
    lonely.add(transactions=(REVOCATION,))
    lonely.grow_to(4).add(*lonely.votes(0, 4, TWO))
    lonely.add(transactions=(admit(OUTSIDER),))
    lonely.grow_to(8).add(*lonely.votes(0, 8, (*TWO, OUTSIDER)))

    founders = Line().grow_to(2)
    founders.add(transactions=(admit(OUTSIDER),))
    founders.grow_to(4).add(*founders.votes(0, 4, TWO))
    founders.add(*founders.votes(0, 4, (OUTSIDER,)))
    return {
        "a newcomer votes from genesis on": taken(founders.blocks),
        "all of two are too few to found anything, three are enough": taken(lonely.blocks),
        "refused: vote of a newcomer before its checkpoint is final": [
            *taken(_joining().blocks),
            Step(newcomer, "refused", "vote_not_voter"),
        ],
        "both sets of voters are needed": taken(line.blocks),
        "a revoked voter leaves both sets": taken(gone.blocks),
        "a revocation beside a chain changes nothing on it": [
            *taken(line.blocks[:14]),
            Step(late, "connected"),
            *side(line.blocks[14:15]),
            *taken(line.blocks[15:]),
        ],
    }


def _forks() -> Histories:
    ours = Line().grow_to(10)
    theirs = Line().fork(1, later_ms=1).grow_to(4)
    proof = theirs.next(*theirs.votes(0, 4))
    few = theirs.next(*theirs.votes(0, 4, TWO))

    longer = Line().fork(1, later_ms=2).grow_to(9)
    final = Line().grow_to(4)
    final.add(*final.votes(0, 4))
    final.grow_to(8).add(*final.votes(4, 8))
    beside = Line().fork(2, later_ms=3)
    known = beside.add()
    late = beside.next()

    upon = theirs.fork(4, later_ms=1).grow_to(7)
    return {
        "less work with a justified checkpoint wins": [
            *taken(ours.blocks),
            *side(theirs.blocks[1:]),
            Step(proof, "connected"),
        ],
        "less work with too few votes does not": [
            *taken(ours.blocks),
            *side(theirs.blocks[1:]),
            Step(few, "side_branch"),
        ],
        "the best chain with the justified checkpoint wins": [
            *taken(ours.blocks),
            *side(upon.blocks[1:]),
            Step(proof, "side_branch"),
        ],
        "more work without the justified checkpoint does not win": [
            *taken(final.blocks[:5]),
            *side(longer.blocks[1:]),
        ],
        "nothing beside the final checkpoint is taken any more": [
            *taken(final.blocks[:3]),
            *side([known]),
            *taken(final.blocks[3:]),
            Step(late, "refused", "block_before_final"),
            Step(late, "refused", "block_before_final"),
        ],
    }
