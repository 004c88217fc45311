"""What has to hold at the end of the demo: each check says what it saw."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from minervas_devnet.api_client import BlockSummary
from minervas_devnet.consortium import Consortium
from minervas_devnet.node import PROGRAMS, Node
from minervas_devnet.one_tip import at_one_tip
from minervas_devnet.programs import try_program
from minervas_devnet.waiting import POLL_S, stretched

KEYS_S = 30.0
PROOF = "an outsider with the genesis file can check that an order is final"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold."""

    name: str
    holds: bool
    seen: str
    """What was seen, for people."""


def check_chain(consortium: Consortium, *, min_blocks: int) -> list[Check]:
    """One chain with everybody on it."""
    members = list(consortium.nodes)
    rosters = at_one_tip(consortium, lambda node: node.api.members())
    height = rosters[members[0]].height
    hashes = {roster.roster_hash for roster in rosters.values()}
    admitted = [
        sorted(entry.member for entry in roster.members if entry.status == "active" and entry.admitted_height > 0)
        for roster in rosters.values()
    ]
    return [
        Check("all ledgers have the same tip", height > 0, f"height {height}"),
        Check("all ledgers have the same roster", len(hashes) == 1, ", ".join(sorted(each[:16] for each in hashes))),
        Check(
            "every member was admitted by a transaction on the chain",
            all(names == sorted(members) for names in admitted),
            ", ".join(f"{entry.member} in block {entry.admitted_height}" for entry in rosters[members[0]].members),
        ),
        Check(f"the chain has at least {min_blocks} blocks", height >= min_blocks, f"height {height}"),
    ]


def check_keys(nodes: Sequence[Node]) -> Check:
    """Every peer can open what the others send; one that was off may need a moment to get their keys again."""
    deadline = time.monotonic() + stretched(KEYS_S)
    while missing := _missing_keys(nodes):
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return Check("every peer holds the others' sender keys", not missing, "; ".join(missing) or "sealed end to end")


def _missing_keys(nodes: Sequence[Node]) -> list[str]:
    members = {node.member for node in nodes}
    return [
        f"{node.member} lacks {peer.member}'s"
        for node in nodes
        for peer in node.api.status().peers
        if peer.member in members and peer.their_key != "held"
    ]


def check_audits(nodes: Sequence[Node]) -> list[Check]:
    """Every database follows from genesis."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(Node.audit, nodes))
    return [
        Check(f"the audit of {node.member}'s database passes", passed, said.splitlines()[-1] if said else "")
        for node, (passed, said) in zip(nodes, outcomes, strict=True)
    ]


def check_proof(node: Node, transaction_id: str, directory: Path) -> Check:
    """Somebody who has nothing but the genesis file can check that a transaction is final."""
    file, genesis = directory / "proof", node.directory / "issued" / "genesis.json"
    made = try_program(PROGRAMS["ledger"], "prove", "--config", node.settings_file("ledger"), transaction_id, file)
    if made.returncode:
        return Check(PROOF, holds=False, seen=(made.stdout + made.stderr).strip())
    told = try_program("minervas", "check-proof", file, "--genesis", genesis, "--json")
    holds = told.returncode == 0 and transaction_id in told.stdout
    return Check(PROOF, holds, made.stdout.strip() if holds else (told.stdout + told.stderr).strip())


def check_refusal(name: str, said: str, expected: str) -> Check:
    """A node that must not get in said why."""
    return Check(name, expected in said, said)


def blocks_by_miner(blocks: Sequence[BlockSummary]) -> Counter[str]:
    """How many blocks each member mined."""
    return Counter(block.header.miner for block in blocks)
