"""Blocks that change memberships, what becomes of each, and the roster and what waits after it."""

from __future__ import annotations

import json

from msgspec import UnsetType

from minervas_core.blocks import Block
from minervas_core.chain import Chain
from minervas_core.encoding import encode
from minervas_core.keys import signing_bytes
from minervas_core.roster import MemberRecord
from minervas_core.state import BlockUndo, ChainState
from minervas_core.transactions import CONSENT_PURPOSE, ServiceKeys, sign_consent
from tools.vectors.chain_cases import NOW_MS, Blocks, Step
from tools.vectors.fixtures import GENESIS, KIM, NETWORK
from tools.vectors.format import Case, Plain
from tools.vectors.membership_fixtures import KIM_2, consent_body
from tools.vectors.membership_histories import membership_histories

TABLES = ("recoveries", "used_keys")


def membership_history_cases() -> tuple[dict[str, Plain], list[Case]]:
    """The blocks by label, and the histories that name them."""
    blocks = Blocks()
    cases = [_play(name, steps, blocks) for name, steps in membership_histories().items()]
    return {label: raw for raw, label in blocks.labels.items()}, cases


class MembershipNode:
    """A chain with what it stores."""

    def __init__(self) -> None:
        raws: dict[str, bytes] = {}
        undo: dict[str, BlockUndo] = {}
        self._raws, self._undo = raws, undo
        self.chain = Chain.fresh(GENESIS, raws.__getitem__, undo.__getitem__)

    def receive(self, block: Block, now_ms: int = NOW_MS) -> tuple[str, str | None]:
        """Hand a block in; returns what became of it and the code of a refusal."""
        outcome = self.chain.receive_block(block, now_ms)
        self._raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        if outcome.change is not None:
            self._undo |= {each.block.hash: each.undo for each in outcome.change.connected}
        return outcome.status, str(outcome.error.code) if outcome.error is not None else None

    def told(self) -> Case:
        """Where the node stands."""
        return told_state(self.chain.state)


def told_state(state: ChainState) -> Case:
    """Tip, roster, and the rows of governance that concern members."""
    tables: dict[str, dict[str, Plain]] = {name: {} for name in TABLES}
    for row in state.governance.rows():
        if row.table in tables and not isinstance(row.row, UnsetType):
            tables[row.table][row.key] = json.loads(bytes(row.row))
    return {
        "height": state.height,
        "tip": state.tip_hash,
        "roster_hash": state.roster.hash(),
        "roster": [_told_member(record) for record in state.roster.members()],
        **tables,
    }


def _told_member(record: MemberRecord) -> Plain:
    """A record with its keys cut short: box keys are long, and the roster hash covers all of it."""
    return {
        "member": record.member,
        "status": record.status,
        "ended_height": record.ended_height,
        "suspended_height": record.suspended_height,
        "keys": {name: getattr(record.keys, name)[:16] for name in ServiceKeys.__struct_fields__},
    }


def _play(name: str, steps: list[Step], blocks: Blocks) -> Case:
    """Hand the blocks to a fresh node and write down what becomes of each.

    Raises:
        AssertionError: if that is not what the history is there to show.
    """
    node = MembershipNode()
    told: list[Case] = []
    for step in steps:
        found = node.receive(step.block, step.now_ms)
        if found != (step.status, step.code):
            raise AssertionError(f"{name}: {found} instead of {step.status} {step.code}")
        what: Case = {"block": blocks.label(step.block), "now_ms": step.now_ms, "status": step.status}
        told.append({**what, "code": step.code, **node.told()})
    return {"name": name, "steps": told}


def consent_cases() -> list[Case]:
    """What an old wallet signs, and its signature."""
    body = consent_body(KIM, KIM_2)
    return [
        {
            "name": "a new wallet",
            "value": json.loads(encode(body)),
            "network": NETWORK,
            "signed_bytes_hex": signing_bytes(CONSENT_PURPOSE, NETWORK, encode(body)).hex(),
            "wallet": KIM.wallet.public,
            "signature": sign_consent(body, NETWORK, KIM.wallet),
        }
    ]
