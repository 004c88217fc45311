"""Blocks handed to a node in some order, and what becomes of each: the rules that need the chain."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from minervas_core.blocks import Block, assemble_block
from minervas_core.chain import Chain
from minervas_core.state import BlockUndo
from tools.vectors.chain_blocks import admit_keys, revoke, signed, upon
from tools.vectors.chain_faults import content_faults, header_faults, miner_faults
from tools.vectors.fixtures import (
    BLOCK_1,
    BLOCK_2,
    GENESIS,
    HAENAM,
    INTERVAL_MS,
    KIM,
    MOKPO,
    OUTSIDER,
    PARAMETERS,
    REVOCATION,
    START_MS,
    admit,
)
from tools.vectors.format import Case, Plain

NOW_MS = START_MS + 3_600_000
"""The checking node's clock, unless a step says otherwise."""


@dataclass(frozen=True)
class Step:
    """A block is delivered; what must become of it."""

    block: Block
    status: str
    code: str | None = None
    now_ms: int = NOW_MS


@dataclass
class Blocks:
    """The file's blocks by label, each written once."""

    labels: dict[str, str] = field(default_factory=dict)
    """Label by raw bytes in hex."""

    def label(self, block: Block) -> str:
        """The label of a block, made from its hash; copies with other content get a number."""
        raw = block.raw.hex()
        if raw not in self.labels:
            base = f"{block.header.height}-{block.hash[:8]}"
            copies = sum(1 for label in self.labels.values() if label.startswith(base))
            self.labels[raw] = f"{base}-copy-{copies}" if copies else base
        return self.labels[raw]


def histories() -> dict[str, list[Step]]:
    """Every history by name."""
    faults = {
        f"refused: {name}": [Step(BLOCK_1, "connected"), Step(block, "refused", code), Step(BLOCK_2, "connected")]
        for name, (block, code) in {**header_faults(), **content_faults(), **miner_faults()}.items()
    }
    return {**_growing(), **faults, **_first_blocks(), **_waiting(), **_exchanged(), **_branches()}


def _growing() -> dict[str, list[Step]]:
    revoking = upon(BLOCK_2, MOKPO, REVOCATION)
    grown = [Step(block, "connected") for block in (BLOCK_1, BLOCK_2, revoking)]
    return {
        "three blocks": [*grown, Step(revoking, "known")],
        "the last block's miner, ten intervals later": [
            Step(BLOCK_1, "connected"),
            Step(_mokpo_again(PARAMETERS.idle_intervals * INTERVAL_MS), "connected"),
        ],
        "the last block's miner, one ms too early": [
            Step(BLOCK_1, "connected"),
            Step(_mokpo_again(PARAMETERS.idle_intervals * INTERVAL_MS - 1), "refused", "block_miner_too_soon"),
        ],
        "revoked twice": [
            *grown,
            Step(upon(revoking, HAENAM, revoke(KIM, "again")), "refused", "member_revoked"),
        ],
        "a revoked member comes back": [
            *grown,
            Step(upon(revoking, HAENAM, admit_keys(KIM.member, OUTSIDER.public, "again")), "refused", "member_exists"),
        ],
        "a revoked member mines": [
            *grown,
            Step(upon(revoking, KIM), "refused", "block_miner_unknown"),
        ],
        "a transaction stands in the chain already": [
            *grown,
            Step(upon(revoking, HAENAM, REVOCATION), "refused", "tx_duplicate"),
        ],
    }


def _mokpo_again(later_ms: int) -> Block:
    return upon(BLOCK_1, MOKPO, time_ms=BLOCK_1.header.time_ms + later_ms)


def _first_blocks() -> dict[str, list[Step]]:
    genesis_block = _genesis_as_block()
    return {
        "block 1 does not admit its miner": [
            Step(upon(genesis_block, KIM, admit(MOKPO)), "refused", "block_miner_unknown")
        ],
        "block 1 at the time of the genesis": [
            Step(upon(genesis_block, MOKPO, admit(MOKPO), time_ms=START_MS), "refused", "block_time_too_old")
        ],
        "block 1 of another genesis": [
            Step(upon(genesis_block, MOKPO, admit(MOKPO), prev="00" * 32), "orphan", "block_unknown_parent")
        ],
    }


def _genesis_as_block() -> Block:
    """A stand-in with the genesis' hash, height 0 and time, to build upon."""
    header = msgspec.structs.replace(BLOCK_1.header, height=0, time_ms=START_MS)
    return Block(GENESIS.hash, header, "", (), (), b"")


def _waiting() -> dict[str, list[Step]]:
    third = upon(BLOCK_2, KIM)
    limit = PARAMETERS.max_ahead_intervals * INTERVAL_MS
    due = BLOCK_2.header.time_ms
    return {
        "a block before its predecessor": [
            Step(BLOCK_1, "connected"),
            Step(third, "orphan", "block_unknown_parent"),
            Step(BLOCK_2, "connected"),
            Step(third, "known"),
        ],
        "a block from the future": [
            Step(BLOCK_1, "connected"),
            Step(BLOCK_2, "postponed", "block_time_too_new", due - limit - 1),
            Step(BLOCK_2, "connected", None, due - limit),
        ],
    }


def _exchanged() -> dict[str, list[Step]]:
    """Whoever relays a block can exchange what its hash does not cover: that must not spoil the block."""
    good = upon(BLOCK_1, HAENAM, REVOCATION)
    other_signature = signed(good.header, good.transactions, KIM.block)
    stripped = assemble_block(good.header, good.signature, ())
    return {
        "a copy with another signature comes first": [
            Step(BLOCK_1, "connected"),
            Step(other_signature, "refused", "block_signature"),
            Step(good, "connected"),
        ],
        "a copy without its transactions comes first": [
            Step(BLOCK_1, "connected"),
            Step(stripped, "refused", "block_tx_root"),
            Step(good, "connected"),
        ],
    }


def _branches() -> dict[str, list[Step]]:
    left = upon(BLOCK_1, HAENAM, REVOCATION)
    right = upon(BLOCK_1, KIM)
    right_3 = upon(right, MOKPO)
    left_3 = upon(left, MOKPO)
    left_4 = upon(left_3, HAENAM)
    bad_3 = upon(right, MOKPO, admit_keys(MOKPO.member, OUTSIDER.public, "again"))
    bad_4 = upon(bad_3, HAENAM)
    return {
        "more work wins, of equal work the first": [
            Step(BLOCK_1, "connected"),
            Step(left, "connected"),
            Step(right, "side_branch"),
            Step(right_3, "connected"),
            Step(left_3, "side_branch"),
            Step(left_4, "connected"),
        ],
        "an invalid block takes its branch out of the running": [
            Step(BLOCK_1, "connected"),
            Step(left, "connected"),
            Step(right, "side_branch"),
            Step(bad_3, "refused", "member_exists"),
            Step(bad_4, "refused", "block_invalid_parent"),
            Step(bad_3, "refused", "block_known_invalid"),
            Step(right_3, "connected"),
        ],
    }


def history_cases() -> tuple[dict[str, Plain], list[Case]]:
    """The blocks by label, and the histories that name them."""
    blocks = Blocks()
    cases = [play(name, steps, blocks) for name, steps in histories().items()]
    return {label: raw for raw, label in blocks.labels.items()}, cases


def play(name: str, steps: list[Step], blocks: Blocks) -> Case:
    """Hand the blocks to a fresh node and write down what becomes of each.

    Raises:
        AssertionError: if that is not what the history is there to show.
    """
    raws: dict[str, bytes] = {}
    undo: dict[str, BlockUndo] = {}
    chain = Chain.fresh(GENESIS, raws.__getitem__, undo.__getitem__)
    told: list[Case] = []
    for step in steps:
        outcome = chain.receive_block(step.block, step.now_ms)
        raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        if outcome.change is not None:
            undo |= {each.block.hash: each.undo for each in outcome.change.connected}
        code = str(outcome.error.code) if outcome.error is not None else None
        if (outcome.status, code) != (step.status, step.code):
            raise AssertionError(f"{name}: {outcome}")
        told.append(
            {
                "block": blocks.label(step.block),
                "now_ms": step.now_ms,
                "status": step.status,
                "code": step.code,
                "height": chain.tip.height,
                "tip": chain.tip.hash,
                "work": chain.tip.work,
                "roster_hash": chain.state.roster.hash(),
            }
        )
    return {"name": name, "steps": told}
