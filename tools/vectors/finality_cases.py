"""Vote documents, and blocks with votes: what becomes of each, and what is justified and final then."""

from __future__ import annotations

import json

import msgspec

from minervas_core.chain import Chain
from minervas_core.encoding import encode, encode_untyped
from minervas_core.finality.votes import MAX_VOTE_BYTES, PURPOSE, Vote, check_vote_signature, decode_vote
from minervas_core.keys import signing_bytes
from minervas_core.state import BlockUndo
from tools.vectors.chain_cases import NOW_MS, Blocks, Step
from tools.vectors.document_cases import changed, drop, put
from tools.vectors.finality_histories import finality_histories
from tools.vectors.fixtures import GENESIS, HAENAM, KIM, MOKPO, NETWORK, OTHER_NETWORK, MemberKeys
from tools.vectors.format import Case, Plain, refused
from tools.vectors.vote_samples import SURROUNDED, SURROUNDING, VOTES

SAMPLE, SIGNER = VOTES[0], HAENAM
"""The vote that the refused ones are made from, and its voter."""


def vote_cases() -> list[Case]:
    """Votes with their signed bytes."""
    voters = {who.member: who for who in (HAENAM, KIM, MOKPO)}
    return [
        _vote_case(f"{vote.body.voter} for {vote.body.target.height}", vote, voters[vote.body.voter])
        for vote in (*VOTES, SURROUNDED, SURROUNDING)
    ]


def _vote_case(name: str, vote: Vote, who: MemberKeys) -> Case:
    return {
        "name": name,
        "value": json.loads(vote.raw),
        "canonical_hex": vote.raw.hex(),
        "vote_key": who.vote.public,
        "signed_bytes_hex": signing_bytes(PURPOSE, NETWORK, encode(vote.body)).hex(),
    }


def judge_vote(data: bytes) -> Vote:
    """What everybody checks of `SIGNER`'s vote, whatever the chain.

    Raises:
        MinervasError: it is refused.
    """
    vote = decode_vote(data)
    check_vote_signature(vote, NETWORK, SIGNER.vote.public)
    return vote


def refused_vote_cases() -> list[Case]:
    """Bytes that are no vote of `SIGNER`."""
    raw = SAMPLE.raw
    faults = {
        "target changed after signing": changed(raw, put("body", "target", "height", value=8)),
        "signature of another member": changed(raw, put("signature", value=VOTES[1].signature)),
        "made for another network": changed(raw, put("body", "network", value=OTHER_NETWORK)),
        "target is genesis": changed(raw, put("body", "target", "height", value=0)),
        "source as high as the target": changed(raw, put("body", "source", "height", value=4)),
        "source above the target": changed(raw, put("body", "source", "height", value=8)),
        "source is negative": changed(raw, put("body", "source", "height", value=-1)),
        "target height is 2^53": changed(raw, put("body", "target", "height", value=2**53)),
        "hash in upper case": changed(raw, put("body", "target", "hash", value="AB" * 32)),
        "hash too short": changed(raw, put("body", "source", "hash", value="ab" * 31)),
        "voter in upper case": changed(raw, put("body", "voter", value="Haenam")),
        "unknown field": changed(raw, put("body", "weight", value=2)),
        "source missing": changed(raw, drop("body", "source")),
        "signature missing": changed(raw, drop("signature")),
        "keys not sorted": msgspec.json.encode(dict(reversed(json.loads(raw).items()))),
        "blank before": b" " + raw,
        "larger than a vote may be": raw + b" " * MAX_VOTE_BYTES,
        "a list": encode_untyped([]),
        "no bytes": b"",
    }
    return refused(faults, judge_vote)


def history_cases() -> tuple[dict[str, Plain], list[Case]]:
    """The blocks by label, and the histories that name them."""
    blocks = Blocks()
    cases = [play(name, steps, blocks) for name, steps in finality_histories().items()]
    return {label: raw for raw, label in blocks.labels.items()}, cases


class FinalityNode:
    """A chain with what it stores."""

    def __init__(self) -> None:
        raws: dict[str, bytes] = {}
        undo: dict[str, BlockUndo] = {}
        self._raws, self._undo = raws, undo
        self.chain = Chain.fresh(GENESIS, raws.__getitem__, undo.__getitem__)

    def receive(self, step: Step) -> Case:
        """Hand a block in; returns what became of it, the tip, and what the tip's chain proves."""
        outcome = self.chain.receive_block(step.block, step.now_ms)
        self._raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        joined = outcome.change.connected if outcome.change is not None else ()
        self._undo |= {each.block.hash: each.undo for each in joined}
        head = self.chain.state.finality.head(GENESIS.hash)
        return {
            "status": outcome.status,
            "code": str(outcome.error.code) if outcome.error is not None else None,
            "height": self.chain.tip.height,
            "tip": self.chain.tip.hash,
            "justified": {"height": head.justified.height, "hash": head.justified.hash},
            "final": {"height": head.final.height, "hash": head.final.hash},
        }


def play(name: str, steps: list[Step], blocks: Blocks) -> Case:
    """Hand the blocks to a fresh node and write down what becomes of each.

    Raises:
        AssertionError: if that is not what the history is there to show.
    """
    node = FinalityNode()
    told: list[Case] = []
    for step in steps:
        became = node.receive(step)
        if (became["status"], became["code"]) != (step.status, step.code):
            raise AssertionError(f"{name}: block {step.block.header.height}: {became}")
        told.append({"block": blocks.label(step.block), "now_ms": NOW_MS, **became})
    return {"name": name, "steps": told}
