"""A bill's evidence as lines of a file: the bill, and for each of its lines what stands behind it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.billing.records import MAX_LINES_PER_ANSWER, Bill, BillLine
from minervas_core.encoding import Count, Hash, Record, decode
from minervas_core.errors import Code, InvalidEncoding
from minervas_core.evidence.finality import ShownFinality
from minervas_core.market.records import EnergyWh, Origin, Trade
from minervas_core.metering import Reading

MAX_EVIDENCE_LINE_BYTES = 40_000_000
"""A trade's line with its block, 2,000 headers, and the membership transactions of a large consortium."""
MAX_TRADE_LOTS = 1_000
"""Lots that one trade delivers."""
MAX_READINGS_PER_PART = 1_000
"""Readings in one line of evidence: some 300 kB."""


class ShownBill(Record, frozen=True, kw_only=True, tag_field="part", tag="bill"):
    """First part: the bill."""

    bill: Bill


class ShownLines(Record, frozen=True, kw_only=True, tag_field="part", tag="lines"):
    """Lines of the bill; all of them, in their order, follow it."""

    lines: Annotated[list[BillLine], msgspec.Meta(min_length=1, max_length=MAX_LINES_PER_ANSWER)]


class ShownLot(Record, frozen=True, kw_only=True):
    """A lot that the buyer received."""

    id: Hash
    energy_wh: EnergyWh
    origins: list[Origin]


class ShownTrade(Record, frozen=True, kw_only=True, tag_field="part", tag="trade"):
    """What stands behind one line: the trade, its block, both orders, and the lots."""

    line: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    trade: Trade
    block: msgspec.Raw
    offer: msgspec.Raw
    bid: msgspec.Raw
    lots: Annotated[list[ShownLot], msgspec.Meta(min_length=1, max_length=MAX_TRADE_LOTS)]
    finality: ShownFinality


class ShownStatement(Record, frozen=True, kw_only=True, tag_field="part", tag="statement"):
    """A metering statement behind the trade before it; its readings follow, if they are shown."""

    statement: msgspec.Raw
    readings: Count = 0
    """How many readings follow; 0 if none are shown."""
    reason: str = ""
    """Why none are shown."""


class ShownReadings(Record, frozen=True, kw_only=True, tag_field="part", tag="readings"):
    """Readings of the statement before them, in the order of their numbers."""

    readings: Annotated[list[Reading], msgspec.Meta(min_length=1, max_length=MAX_READINGS_PER_PART)]


EvidencePart = ShownBill | ShownLines | ShownTrade | ShownStatement | ShownReadings
"""Everything that a file of evidence has, by ``part``."""

_KINDS: dict[str, type[EvidencePart]] = {
    str(kind.__struct_config__.tag): kind for kind in (ShownBill, ShownLines, ShownTrade, ShownStatement, ShownReadings)
}


class _KindOnly(msgspec.Struct):
    part: str


def decode_part(raw: bytes) -> EvidencePart:
    """Decode one line of a file.

    Raises:
        InvalidEncoding: if it is no part of evidence.
    """
    try:
        kind = _KINDS[msgspec.json.decode(raw, type=_KindOnly).part]
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEncoding(Code.WRONG_SHAPE, "Not a part of evidence", reason=str(error)[:200]) from error
    return decode(raw, kind, max_bytes=MAX_EVIDENCE_LINE_BYTES)
