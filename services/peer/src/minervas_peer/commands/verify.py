"""`minervas verify`: a bill down to the wire, or a certificate of origin; from a node, or from files without any."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from minervas_core.billing.records import Bill
from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidProof, LocalFault
from minervas_core.evidence.certificate import MAX_CERTIFICATE_BYTES, Certificate, CertificateCheck
from minervas_core.evidence.records import EvidencePart
from minervas_core.evidence.replay import replay_for_bill
from minervas_core.evidence.steps import Step
from minervas_core.evidence.trades import ReplayedMarket
from minervas_core.evidence.verification import BillVerification
from minervas_core.genesis import Genesis, load_genesis
from minervas_peer.api_client import ApiClient
from minervas_peer.commands.bills import find_bill, genesis_of, whole_bill
from minervas_peer.commands.evidence import collect, read_evidence
from minervas_peer.commands.output import Output
from minervas_runtime.chain_file import ChainFileReader
from minervas_runtime.clock import monotonic_ms
from minervas_runtime.meter_map_files import load_meter_maps

PROGRESS_EVERY_MS = 2_000
MARKS = {"ok": "ok     ", "failed": "FAILED ", "not_checked": "not checked"}


@dataclass(frozen=True)
class Order:
    """What to verify, and with what."""

    target: str
    genesis: Path | None
    chain: Path | None
    maps: Path | None
    lines: frozenset[int]


def run_verify(order: Order, client: ApiClient, output: Output) -> None:
    """Verify, and show every step.

    Raises:
        InvalidProof: the code of the step that failed.
        LocalFault: for files that cannot be used.
        TransientFault: if the node does not answer.
    """
    steps = list(_told(_steps(order, client), output))
    if output.as_json:
        output.json({"steps": [msgspec.to_builtins(step) for step in steps]})
    failed = [step for step in steps if step.status == "failed"]
    if failed:
        step = failed[0]
        raise InvalidProof(Code(step.code), f"{step.about}: {step.name}: {step.text}", **step.values)
    left = sum(step.status == "not_checked" for step in steps)
    if not output.as_json:
        rest = f"; {left} steps could not be checked, see above" if left else ""
        output.say(f"Everything that was checked holds{rest}.")


def _told(steps: Iterator[Step], output: Output) -> Iterator[Step]:
    about = ""
    for step in steps:
        if not output.as_json:
            if step.about != about:
                about = step.about
                output.say(f"{about}:")
            output.say(f"  {MARKS[step.status]} {step.name}: {step.text}")
        yield step


def _steps(order: Order, client: ApiClient) -> Iterator[Step]:
    path = Path(order.target)
    if not path.is_file():
        genesis = _genesis(order.genesis) if order.genesis else genesis_of(client)
        parts = collect(client, whole_bill(client, find_bill(client, order.target)), order.lines)
        return _bill_steps(order, genesis, parts)
    if order.genesis is None:
        raise LocalFault(
            Code.BAD_GENESIS, "A file is checked with the consortium's genesis.json: name it with --genesis"
        )
    genesis = _genesis(order.genesis)
    if _begins_with(path, b'{"part":') or _begins_with(path, b'{"bill":'):
        return _bill_steps(order, genesis, read_evidence(path))
    return iter(CertificateCheck(genesis, _certificate(path)).run())


def _bill_steps(order: Order, genesis: Genesis, parts: Iterator[EvidencePart]) -> Iterator[Step]:
    replay = _replay(genesis, order.chain) if order.chain else None
    return BillVerification(genesis, parts, load_meter_maps(order.maps), replay).run()


def _replay(genesis: Genesis, path: Path) -> Callable[[Bill], ReplayedMarket]:
    def play(bill: Bill) -> ReplayedMarket:
        with _chain(path) as reader:
            if reader.genesis_hash != genesis.hash:
                raise InvalidProof(Code.WRONG_NETWORK, "The chain's file is of another consortium", file=str(path))
            return replay_for_bill(genesis, reader.blocks(), bill, _progress())

    return play


def _progress() -> Callable[[int], None]:
    said_ms = monotonic_ms()

    def tell(height: int) -> None:
        nonlocal said_ms
        if monotonic_ms() - said_ms >= PROGRESS_EVERY_MS:
            said_ms = monotonic_ms()
            sys.stderr.write(f"block {height:,}\n")

    return tell


@contextmanager
def _chain(path: Path) -> Iterator[ChainFileReader]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if packed:
                with gzip.open(file, "rb") as unpacked:
                    yield ChainFileReader(unpacked, str(path))
            else:
                yield ChainFileReader(file, str(path))
    except OSError as error:
        raise LocalFault(Code.BAD_CHAIN_FILE, "The chain's file cannot be read", file=str(path)) from error


def _certificate(path: Path) -> Certificate:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LocalFault(Code.NOT_FOUND, "The file cannot be read", file=str(path), reason=str(error)) from error
    return decode(raw.removesuffix(b"\n"), Certificate, max_bytes=MAX_CERTIFICATE_BYTES)


def _genesis(path: Path) -> Genesis:
    try:
        return load_genesis(path.read_bytes())
    except OSError as error:
        raise LocalFault(
            Code.BAD_GENESIS, "The genesis file cannot be read", file=str(path), reason=str(error)
        ) from error


def _begins_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError as error:
        raise LocalFault(Code.NOT_FOUND, "The file cannot be read", file=str(path), reason=str(error)) from error
