"""Proofs for outsiders, as lines: one that holds, and what is refused (spec/proofs.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import PeerFault
from minervas_core.proof import (
    FORMAT,
    MAX_LINE_BYTES,
    ProofBlock,
    ProofCheck,
    ProofHead,
    ProofSubject,
    Proven,
    block_part,
    subject_part,
)
from tools.vectors.finality_blocks import Line
from tools.vectors.fixtures import ADMISSIONS, GENESIS, NETWORK, OTHER_NETWORK, OUTSIDER, admit
from tools.vectors.format import Case


@dataclass(frozen=True)
class Proof:
    """A proof in parts."""

    head: ProofHead
    blocks: tuple[ProofBlock, ...]
    subject: ProofSubject

    def lines(self) -> list[str]:
        """The file's lines, in hex and without their ends."""
        parts: tuple[Record, ...] = (self.head, *self.blocks, self.subject)
        return [encode(part).hex() for part in parts]


def proof_samples() -> dict[str, Record]:
    """The parts of a proof, by name of the sample."""
    proof = _proof(_line(), 1)
    return {"ProofHead": proof.head, "ProofBlock": proof.blocks[0], "ProofSubject": proof.subject}


def proof_cases() -> list[Case]:
    """Proofs that hold, with what they show."""
    proof = _proof(_line(), 1)
    proven = judge_proof(proof.lines())
    return [
        {
            "name": "an admission of the first block",
            "lines_hex": proof.lines(),
            "id": proven.transaction.id,
            "height": proven.height,
            "block": proven.block,
            "final": {"height": proven.final_height, "hash": proven.final_block},
            "work": proven.work,
            "members": list(proven.members),
        }
    ]


def refused_proof_cases() -> list[Case]:
    """Proofs that show nothing, with the code."""
    proof = _proof(_line(), 1)
    with_votes = next(number for number, block in enumerate(proof.blocks) if block.votes)
    first = proof.blocks[0]
    spoilt = {
        "of another network": replace(proof, head=msgspec.structs.replace(proof.head, network=OTHER_NETWORK)),
        "fewer blocks than announced": replace(
            proof, head=msgspec.structs.replace(proof.head, blocks=len(proof.blocks) + 1)
        ),
        "a block left out": replace(proof, blocks=proof.blocks[:1] + proof.blocks[2:]),
        "a vote left out": _with_block(proof, with_votes, votes=proof.blocks[with_votes].votes[1:]),
        "the miner's admission left out": _with_block(proof, 0, members=[]),
        "an admission in another block": _with_block(proof, 2, members=[first.members[0]]),
        "a signature of nobody": _with_block(proof, 1, signature="00" * 64),
        "the subject in another block": replace(proof, subject=msgspec.structs.replace(proof.subject, height=2)),
        "not final yet": _proof(_late(), 6),
    }
    return [{"name": name, "lines_hex": each.lines(), "code": _code(each)} for name, each in spoilt.items()]


def judge_proof(lines: list[str]) -> Proven:
    """Check lines in hex as a reader does.

    Raises:
        PeerFault: why it proves nothing.
    """
    head, *blocks, subject = (bytes.fromhex(line) for line in lines)
    check = ProofCheck(GENESIS, decode(head, ProofHead, max_bytes=MAX_LINE_BYTES))
    for block in blocks:
        check.add(decode(block, ProofBlock, max_bytes=MAX_LINE_BYTES))
    return check.conclude(decode(subject, ProofSubject, max_bytes=MAX_LINE_BYTES))


def _line() -> Line:
    """Block 4 becomes final with the votes in block 9."""
    line = Line().grow_to(4)
    line.add(*line.votes(0, 4))
    line.grow_to(8).add(*line.votes(4, 8))
    return line


def _late() -> Line:
    """A fourth member joins in block 6, which is not final."""
    line = Line().grow_to(4)
    line.add(*line.votes(0, 4))
    line.add(transactions=(admit(OUTSIDER),))
    return line.grow_to(9)


def _proof(line: Line, height: int) -> Proof:
    """The proof of the first transaction of a block."""
    block = line.blocks[height - 1]
    return Proof(
        ProofHead(format=FORMAT, network=NETWORK, genesis=GENESIS.hash, blocks=line.height),
        tuple(block_part(each) for each in line.blocks),
        subject_part(block, block.transactions[0].id if height > 1 else ADMISSIONS[0].id),
    )


def _with_block(proof: Proof, number: int, **fields: object) -> Proof:
    changed = msgspec.structs.replace(proof.blocks[number], **fields)
    return replace(proof, blocks=(*proof.blocks[:number], changed, *proof.blocks[number + 1 :]))


def _code(proof: Proof) -> str:
    try:
        judge_proof(proof.lines())
    except PeerFault as error:
        return str(error.code)
    raise AssertionError("a proof that should be refused holds")
