"""Checks of the vectors about votes and finality, each of one case."""

from __future__ import annotations

from collections.abc import Callable

from minervas_core.blocks import decode_block
from minervas_core.encoding import encode
from minervas_core.finality.votes import PURPOSE, check_vote_signature, decode_vote
from minervas_core.keys import signing_bytes
from tests.support.vector_files import FILES, Case, bytes_of, code_of
from tools.vectors.chain_cases import Step
from tools.vectors.finality_cases import FinalityNode, judge_vote
from tools.vectors.fixtures import NETWORK


def accepted_vote(case: Case) -> None:
    vote = decode_vote(bytes.fromhex(case["canonical_hex"]))
    check_vote_signature(vote, NETWORK, case["vote_key"])
    assert signing_bytes(PURPOSE, NETWORK, encode(vote.body)).hex() == case["signed_bytes_hex"]
    assert vote.signature == case["value"]["signature"]


def refused_vote(case: Case) -> None:
    assert code_of(lambda: judge_vote(bytes_of(case))) == case["code"]


def finality_history(case: Case) -> None:
    node = FinalityNode()
    for step in case["steps"]:
        block = decode_block(bytes.fromhex(FILES["finality"]["blocks"][step["block"]]))
        became = node.receive(Step(block, step["status"], step["code"], step["now_ms"]))
        assert {"block": step["block"], "now_ms": step["now_ms"]} | became == step


CHECKS: dict[str, Callable[[Case], None]] = {
    "accepted": accepted_vote,
    "refused": refused_vote,
    "histories": finality_history,
}
"""Check of a case by section."""
