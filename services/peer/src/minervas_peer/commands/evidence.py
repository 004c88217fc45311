"""Collecting evidence over the API, and reading and writing it as a file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from minervas_core.encoding import encode, encode_untyped
from minervas_core.errors import Code, LocalFault, MinervasError
from minervas_core.evidence.records import (
    MAX_EVIDENCE_LINE_BYTES,
    MAX_READINGS_PER_PART,
    EvidencePart,
    ShownBill,
    ShownLines,
    ShownReadings,
    ShownStatement,
    ShownTrade,
    decode_part,
)
from minervas_core.metering import Reading
from minervas_peer.api_client import ApiClient
from minervas_peer.commands.bills import LINES_PER_PAGE, WholeBill, as_record


def collect(client: ApiClient, found: WholeBill, wanted: Collection[int]) -> Iterator[EvidencePart]:
    """The evidence of a bill's lines, part by part as it is asked for.

    Args:
        client: the node.
        found: the bill.
        wanted: numbers of the lines; all if there are none.
    """
    yield ShownBill(bill=found.bill)
    for start in range(0, len(found.lines), LINES_PER_PAGE):
        yield ShownLines(lines=found.lines[start : start + LINES_PER_PAGE])
    for line in found.lines:
        if wanted and line.line not in wanted:
            continue
        part = client.get(f"/v1/evidence/trades/{line.height}/{line.position}", line=line.line)["part"]
        trade = as_record(part, ShownTrade)
        yield trade
        statements = sorted({origin.statement for lot in trade.lots for origin in lot.origins})
        for statement in statements:
            yield from _statement(client, statement)


def _statement(client: ApiClient, statement: str) -> Iterator[EvidencePart]:
    raw = msgspec.Raw(encode_untyped(client.get(f"/v1/evidence/statements/{statement}")["part"]))
    readings: list[Reading] = []
    reason = ""
    try:
        while True:
            page = client.get(f"/v1/evidence/statements/{statement}/readings", skip=len(readings))
            readings += [as_record(each, Reading) for each in page["readings"]]
            reason = page["reason"]
            if not page["readings"] or len(readings) >= page["total"]:
                break
    except MinervasError as error:
        readings, reason = [], f"the seller's node does not give them now: {error.code}"
    yield ShownStatement(statement=raw, readings=len(readings), reason=reason)
    for start in range(0, len(readings), MAX_READINGS_PER_PART):
        yield ShownReadings(readings=readings[start : start + MAX_READINGS_PER_PART])


def write_evidence(path: Path, parts: Iterator[EvidencePart]) -> int:
    """Write parts as lines; returns how many.

    Raises:
        LocalFault: ``not_found`` if the file cannot be written.
    """
    count = 0
    try:
        with path.open("wb") as file:
            for part in parts:
                file.write(encode(part) + b"\n")
                count += 1
    except OSError as error:
        raise LocalFault(Code.NOT_FOUND, "The file cannot be written", file=str(path), reason=str(error)) from error
    return count


def read_evidence(path: Path) -> Iterator[EvidencePart]:
    """Read the parts of a file.

    Raises:
        LocalFault: ``not_found`` if the file cannot be read.
        InvalidEncoding: a line that is no part of evidence.
    """
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_EVIDENCE_LINE_BYTES + 2):
                yield decode_part(line.removesuffix(b"\n"))
    except OSError as error:
        raise LocalFault(Code.NOT_FOUND, "The file cannot be read", file=str(path), reason=str(error)) from error
