"""A bill's evidence, part by part, from the bill down to the bytes on the wire.

Parts come as a stream: a month's readings need not fit into memory. The first step that fails ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from minervas_core.billing.bills import bill_hash, check_bill
from minervas_core.billing.records import Bill, BillLine
from minervas_core.errors import Code, InvalidProof
from minervas_core.evidence.frames import FrameCheck
from minervas_core.evidence.readings import check_readings
from minervas_core.evidence.records import (
    EvidencePart,
    ShownBill,
    ShownLines,
    ShownReadings,
    ShownStatement,
    ShownTrade,
)
from minervas_core.evidence.replay import check_complete
from minervas_core.evidence.statements import check_stated, statement_of
from minervas_core.evidence.steps import NotChecked, Step, run_step, run_steps
from minervas_core.evidence.trades import ReplayedMarket, TradeCheck
from minervas_core.genesis import Genesis
from minervas_core.meter_maps.meter_map import MapFile
from minervas_core.metering import Generation, Reading

P = TypeVar("P")

Replay = Callable[[Bill], ReplayedMarket]
"""Plays the whole chain again, for a bill."""

MAX_STATEMENT_READINGS = 200_000
"""Readings of one statement that are held at once: two days of one channel, sampled every second."""


class BillVerification:
    """Verifies a bill's evidence.

    Args:
        genesis: the consortium's genesis.
        parts: of the evidence, in order.
        maps: the meter maps, by model.
        replay: plays the chain again; None without one.
    """

    def __init__(
        self,
        genesis: Genesis,
        parts: Iterator[EvidencePart],
        maps: Mapping[str, MapFile],
        replay: Replay | None = None,
    ) -> None:
        self._genesis = genesis
        self._parts = parts
        self._maps = maps
        self._replay = replay
        self._waiting: EvidencePart | None = None
        self._lines: list[BillLine] = []
        self._replayed: ReplayedMarket | None = None

    def run(self) -> Iterator[Step]:
        """All steps up to the first that fails."""
        for step in self._steps():
            yield step
            if step.status == "failed":
                return

    def _steps(self) -> Iterator[Step]:
        shown = self._take(ShownBill)
        if shown is None:
            yield _incomplete("bill", "The evidence begins with no bill")
            return
        bill = shown.bill
        while (page := self._take(ShownLines)) is not None:
            self._lines += page.lines
        yield run_step("bill", "bill", lambda: self._check_bill(bill))
        yield run_step("bill", "chain", lambda: self._play_again(bill))
        checked = 0
        while (trade := self._take(ShownTrade)) is not None:
            checked += 1
            yield from self._line(bill, trade)
        if self._next() is not None:
            yield _incomplete("bill", "A part of the evidence is out of place")
        elif not checked:
            yield _incomplete("bill", "No line is shown")

    def _check_bill(self, bill: Bill) -> str:
        check_bill(self._genesis, bill, self._lines)
        name = bill.number or "preview"
        return f"{name}, {len(self._lines)} lines, {bill.total_micro} micro {bill.currency}, hash {bill_hash(bill)}"

    def _play_again(self, bill: Bill) -> str:
        if self._replay is None:
            raise NotChecked("that no trade is missing, the whole chain shows: give it, too")
        self._replayed = self._replay(bill)
        return check_complete(bill, [(line.height, line.position) for line in self._lines], self._replayed)

    def _line(self, bill: Bill, shown: ShownTrade) -> Iterator[Step]:
        about = f"line {shown.line}"
        if not 1 <= shown.line <= len(self._lines):
            yield _incomplete(about, "The bill has no such line")
            return
        check = TradeCheck(self._genesis, bill, self._lines[shown.line - 1], shown, self._replayed)
        for step in run_steps(about, check.checks()):
            yield step
            if step.status == "failed":
                return
        left = set(check.origins)
        while (statement := self._take(ShownStatement)) is not None:
            yield from self._statement(about, statement, check, left)
        if left:
            yield _incomplete(about, "A statement that the lots come from is not shown")

    def _statement(self, about: str, shown: ShownStatement, check: TradeCheck, left: set[str]) -> Iterator[Step]:
        found: list[Generation] = []

        def stated() -> str:
            statement_id, _ = statement_of(bytes(shown.statement))
            if statement_id not in left or check.keys is None:
                raise InvalidProof(Code.STATEMENT_WRONG, "No lot comes from this statement", statement=statement_id)
            left.discard(statement_id)
            content = check_stated(self._genesis, bytes(shown.statement), check.origins[statement_id], check.keys)
            found.append(content)
            count = content.measured + content.substituted + content.missing
            return (
                f"{content.member}/{content.meter}/{content.channel}, {content.start.register_wh} to "
                f"{content.end.register_wh} Wh, {content.missing} of {count} readings "
                f"missing, signed by its gateway ({statement_id})"
            )

        yield run_step(about, "statement", stated)
        if not found:
            return
        readings: list[Reading] = []
        yield run_step(about, "readings", lambda: self._readings(shown, found[0], readings))
        yield run_step(about, "frames", lambda: self._frames(found[0], readings, check))

    def _readings(self, shown: ShownStatement, content: Generation, readings: list[Reading]) -> str:
        if not shown.readings:
            raise NotChecked(shown.reason or "the seller's node did not show them")
        if shown.readings > MAX_STATEMENT_READINGS:
            raise InvalidProof(Code.TOO_LARGE, "Too many readings in one statement", readings=shown.readings)
        while len(readings) < shown.readings and (part := self._take(ShownReadings)) is not None:
            readings += part.readings
        check_readings(content, readings)
        return f"{len(readings)} readings under the statement's root, {content.substituted} substituted"

    def _frames(self, content: Generation, readings: list[Reading], check: TradeCheck) -> str:
        if not readings:
            raise NotChecked("there are no readings to look into")
        model = check.keys.meters[content.member, content.meter].declaration.model if check.keys else ""
        if model not in self._maps:
            raise NotChecked(f"there is no map {model} here; name a folder that has it")
        frames = FrameCheck(self._maps[model])
        for reading in readings:
            frames.add(reading)
        return (
            f"{frames.measured} frames with good checksums have these values by map {model}, input "
            f"{' or '.join(frames.inputs)}; {frames.silent} samples without values, {frames.by_hand} read by hand"
        )

    def _next(self) -> EvidencePart | None:
        if self._waiting is None:
            self._waiting = next(self._parts, None)
        return self._waiting

    def _take(self, kind: type[P]) -> P | None:
        """The next part, if it is of this kind."""
        part = self._next()
        if not isinstance(part, kind):
            return None
        self._waiting = None
        return part


def _incomplete(about: str, text: str) -> Step:
    return Step(about=about, name="evidence", status="failed", text=text, code=Code.PROOF_INCOMPLETE.value)
