"""What a miner refuses to search for.

A template comes from the member's own ledger, so a bad one is a fault of our own node; but a miner signs what it finds
with the block key, so it looks first. What needs the chain (parent, time, retargeted difficulty) is judged by every
ledger afterwards.
"""

from __future__ import annotations

from minervas_core.blocks import VERSION, Draft
from minervas_core.errors import Code, InvalidBlock
from minervas_core.genesis import Genesis
from minervas_core.node_messages import Template


def check_template(template: Template, genesis: Genesis, member: str) -> None:
    """Check a template as far as genesis alone allows.

    Raises:
        InvalidBlock: ``block_version``, ``wrong_network``, ``block_miner_unknown`` (not our own member),
            ``block_unknown_parent`` (genesis is the parent of block 1 and of no other) or
            ``block_difficulty``; ``wrong_shape`` for a search without time limit or renewal.
    """
    draft = template.draft
    if draft.version != VERSION:
        raise InvalidBlock(Code.BLOCK_VERSION, "Template of another rule version", version=draft.version)
    if draft.network != genesis.network:
        raise InvalidBlock(Code.WRONG_NETWORK, "Template of another network", network=draft.network)
    if draft.miner != member:
        raise InvalidBlock(Code.BLOCK_MINER_UNKNOWN, "Template names another miner", miner=draft.miner)
    if (draft.height == 1) != (draft.prev == genesis.hash):
        raise InvalidBlock(
            Code.BLOCK_UNKNOWN_PARENT,
            "Genesis is the parent of block 1 and of no other",
            height=draft.height,
            prev=draft.prev,
        )
    _check_difficulty(draft, genesis)
    if template.give_up_ms == 0 or template.retime_ms == 0:
        raise InvalidBlock(Code.WRONG_SHAPE, "Template without time limit or renewal of its time")


def _check_difficulty(draft: Draft, genesis: Genesis) -> None:
    """The first blocks have the initial difficulty; later ones never less than the floor."""
    parameters = genesis.parameters
    initial = draft.height <= parameters.lwma_window
    wrong = draft.difficulty != parameters.initial_difficulty if initial else False
    if wrong or (not initial and draft.difficulty < parameters.min_difficulty):
        raise InvalidBlock(
            Code.BLOCK_DIFFICULTY,
            "Template's difficulty cannot be right at its height",
            height=draft.height,
            difficulty=draft.difficulty,
        )
