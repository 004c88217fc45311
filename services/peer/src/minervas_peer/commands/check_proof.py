"""`minervas check-proof`: judge a proof with nothing but the genesis file. Needs no node and no membership."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from minervas_core.encoding import Record, decode
from minervas_core.errors import Code, InvalidProof, LocalFault
from minervas_core.genesis import Genesis, load_genesis
from minervas_core.proof import MAX_LINE_BYTES, ProofBlock, ProofCheck, ProofHead, ProofSubject, Proven
from minervas_peer.commands.output import Output
from minervas_runtime.clock import monotonic_ms

PROGRESS_EVERY_MS = 2_000

Line = TypeVar("Line", bound=Record)


def show_proof(proof: Path, genesis_file: Path, output: Output) -> None:
    """Check a proof and show what it proves.

    Raises:
        LocalFault: ``bad_genesis`` or ``not_found`` for files that cannot be read.
        PeerFault: why it proves nothing.
    """
    genesis = _genesis(genesis_file)
    try:
        with proof.open("rb") as file:
            proven = _check(file, genesis)
    except OSError as error:
        raise LocalFault(Code.NOT_FOUND, "The proof cannot be read", file=str(proof), reason=str(error)) from error
    if output.as_json:
        output.json(_as_json(proven))
        return
    output.facts(f"Proven: transaction {proven.transaction.id}", _facts(genesis, proven))
    output.say("Compare the final block and the members with what the operator or another member tells you.")


def _check(file: BinaryIO, genesis: Genesis) -> Proven:
    head = _line(file, ProofHead)
    check = ProofCheck(genesis, head)
    said_ms = monotonic_ms()
    for number in range(head.blocks):
        check.add(_line(file, ProofBlock))
        if monotonic_ms() - said_ms >= PROGRESS_EVERY_MS:
            said_ms = monotonic_ms()
            sys.stderr.write(f"block {number + 1:,} of {head.blocks:,}\n")
    proven = check.conclude(_line(file, ProofSubject))
    if file.read(1):
        raise InvalidProof(Code.PROOF_INCOMPLETE, "There is something behind the end of the proof")
    return proven


def _line(file: BinaryIO, kind: type[Line]) -> Line:
    raw = file.readline(MAX_LINE_BYTES + 1)
    if not raw.endswith(b"\n"):
        raise InvalidProof(
            Code.PROOF_INCOMPLETE, "The proof ends too early, or a line is too long", expected=kind.__name__
        )
    return decode(raw[:-1], kind, max_bytes=MAX_LINE_BYTES)


def _genesis(path: Path) -> Genesis:
    try:
        return load_genesis(path.read_bytes())
    except OSError as error:
        raise LocalFault(
            Code.BAD_GENESIS, "The genesis file cannot be read", file=str(path), reason=str(error)
        ) from error


def _facts(genesis: Genesis, proven: Proven) -> list[tuple[str, object]]:
    return [
        ("consortium", f"{genesis.body.name}, genesis {genesis.hash}"),
        ("type", proven.transaction.kind),
        ("in block", f"{proven.height:,}  {proven.block}"),
        ("final block", f"{proven.final_height:,}  {proven.final_block}"),
        ("work behind it", f"{proven.work:,} expected tries"),
        ("members", ", ".join(proven.members)),
    ]


def _as_json(proven: Proven) -> dict[str, object]:
    transaction = proven.transaction
    return {
        "transaction": {
            "id": transaction.id,
            "type": transaction.kind,
            "body": msgspec.to_builtins(transaction.body),
            "signature": transaction.signature,
        },
        "height": proven.height,
        "block": proven.block,
        "final": {"height": proven.final_height, "hash": proven.final_block},
        "work": f"{proven.work:x}",
        "members": list(proven.members),
    }
