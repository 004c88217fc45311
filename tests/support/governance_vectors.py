"""The check of spec/vectors/governance.json."""

from __future__ import annotations

from minervas_core.blocks import decode_block
from minervas_core.chain import Chain
from minervas_core.genesis import load_genesis
from minervas_core.state import BlockUndo
from tests.support.vector_files import FILES, Case
from tools.vectors.governance_cases import governance_of


def governance_history(case: Case) -> None:
    """What becomes of the blocks of a history, and what the tip's state says then."""
    raws: dict[str, bytes] = {}
    undo: dict[str, BlockUndo] = {}
    file = FILES["governance"]
    chain = Chain.fresh(load_genesis(bytes.fromhex(file["genesis_hex"])), raws.__getitem__, undo.__getitem__)
    for step in case["steps"]:
        outcome = chain.receive_block(decode_block(bytes.fromhex(file["blocks"][step["block"]])), step["now_ms"])
        raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        undo |= {each.block.hash: each.undo for each in (outcome.change.connected if outcome.change else ())}
        assert (outcome.status, outcome.error and outcome.error.code) == (step["status"], step["code"])
        assert (chain.tip.hash, governance_of(chain)) == (step["tip"], step["governance"])
