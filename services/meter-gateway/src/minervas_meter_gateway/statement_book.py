"""Every channel's state and statements, on disk before anything else happens with them.

Readings and statements change a channel's state together, so all changes go through one lock: compute from the values
in memory, commit, then take the new values over. A commit that fails changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from minervas_core.encoding import encode
from minervas_core.metering import Reading
from minervas_meter_gateway.chain_follow import follow_chain
from minervas_meter_gateway.channel_readings import Judged
from minervas_meter_gateway.channel_state import (
    ChannelState,
    Draft,
    Point,
    advance,
    close_if_over,
    with_new_baseline,
)
from minervas_meter_gateway.spool import ChannelKey, Spool, Statement
from minervas_meter_gateway.spool_thread import SpoolThread

log = logging.getLogger(__name__)


class StatementBook:
    """The channels of one gateway. Belongs to the event loop.

    Args:
        spool: where everything is kept.
        channels: those of the settings; others that the spool still knows are left alone.
        states: as the spool has them.
        statements: as the spool has them, oldest first.
    """

    def __init__(
        self,
        spool: SpoolThread,
        channels: Iterable[ChannelKey],
        states: dict[ChannelKey, ChannelState],
        statements: Sequence[Statement],
    ) -> None:
        self.channels = tuple(channels)
        self.slot_ms = 0
        """Length of a slot; 0 until the ledger has told it."""
        self.has_new = False
        """Whether a statement was completed since somebody looked and set it back."""
        self._spool = spool
        self._states = {key: states.get(key, ChannelState()) for key in self.channels}
        self._statements: dict[ChannelKey, list[Statement]] = {key: [] for key in self.channels}
        for statement in statements:
            self._statements.setdefault(statement.key, []).append(statement)
        self._lock = asyncio.Lock()

    @staticmethod
    async def open(spool: SpoolThread, channels: Iterable[ChannelKey]) -> StatementBook:
        """Read what the spool knows."""
        return StatementBook(spool, channels, await spool.run(Spool.states), await spool.run(Spool.statements))

    def state(self, key: ChannelKey) -> ChannelState:
        """State of a channel."""
        return self._states[key]

    def pending(self, key: ChannelKey) -> list[Statement]:
        """Statements of a channel that are in no block, oldest first."""
        return [each for each in self._statements[key] if not each.in_block]

    def pending_count(self) -> int:
        """Statements of all channels that are in no block."""
        return sum(len(self.pending(key)) for key in self.channels)

    async def record(self, samples: Sequence[Judged], *, usable: bool) -> list[Reading]:
        """Number and store samples, and let their channels' states follow.

        Args:
            samples: in the order in which they were taken.
            usable: whether the clock is synchronised, so that they may begin or end a statement.

        Raises:
            SpoolFull, SpoolTrouble: nothing was stored, no number was used.
        """
        async with self._lock:
            first = self._spool.file.next_sequence
            readings = [sample.reading(number) for number, sample in enumerate(samples, start=first)]
            states: dict[ChannelKey, ChannelState] = {}
            drafts: list[Statement] = []
            for sample, reading in zip(samples, readings, strict=True):
                key = sample.meter, sample.channel
                states[key], complete = advance(
                    states.get(key, self._states[key]),
                    reading,
                    usable=usable,
                    new_baseline=sample.new_baseline,
                    slot_ms=self.slot_ms,
                )
                drafts += _as_statements(key, complete)
            bodies = [encode(reading) for reading in readings]
            self._take_over(states, await self._spool.run(lambda spool: spool.append(bodies, states, drafts)))
            return readings

    async def close_slots(self, now_ms: int) -> None:
        """Complete the statements whose slot is over.

        Raises:
            SpoolTrouble: nothing was changed.
        """
        async with self._lock:
            states: dict[ChannelKey, ChannelState] = {}
            drafts: list[Statement] = []
            for key in self.channels:
                state, complete = close_if_over(self._states[key], now_ms=now_ms, slot_ms=self.slot_ms)
                if complete:
                    states[key] = state
                    drafts += _as_statements(key, complete)
            if drafts:
                self._take_over(states, await self._spool.run(lambda spool: spool.save(states=states, drafts=drafts)))

    async def follow(self, key: ChannelKey, chain: Point | None, tip_time_ms: int) -> None:
        """Let a registered channel follow what the chain has of it, as of a tip of this time.

        Raises:
            SpoolTrouble: nothing was changed.
        """
        async with self._lock:
            before = self._states[key]
            followed = follow_chain(before, self._statements[key], chain, tip_time_ms)
            if followed.restarted:
                fields = {"meter": key[0], "channel": key[1], "statements_given_up": len(followed.removed)}
                log.warning("channel_continued_from_chain", extra={"fields": fields})
            if followed.state != before or followed.changed or followed.removed:
                await self._replace(key, followed.state, followed.changed, followed.removed)

    async def store_signed(self, statement: Statement) -> None:
        """Keep a statement's signed form before it is sent, so that it is the same after a crash.

        Raises:
            SpoolTrouble: nothing was changed.
        """
        async with self._lock:
            await self._replace(statement.key, self._states[statement.key], (statement,), ())

    async def begin_anew(self, key: ChannelKey) -> None:
        """Give up a channel's pending statements and declare a new baseline: the chain will never take them.

        Raises:
            SpoolTrouble: nothing was changed.
        """
        async with self._lock:
            await self._replace(key, with_new_baseline(self._states[key]), (), tuple(self.pending(key)))

    async def _replace(
        self, key: ChannelKey, state: ChannelState, changed: Sequence[Statement], removed: Sequence[Statement]
    ) -> None:
        await self._spool.run(lambda spool: spool.save(states={key: state}, changed=changed, removed=removed))
        self._states[key] = state
        gone = {each.id for each in removed}
        newer = {each.id: each for each in changed}
        kept = [each for each in self._statements[key] if each.id not in gone]
        self._statements[key] = [newer.get(each.id, each) for each in kept]

    def _take_over(self, states: dict[ChannelKey, ChannelState], stored: Sequence[Statement]) -> None:
        self._states.update(states)
        self.has_new = self.has_new or bool(stored)
        for statement in stored:
            self._statements[statement.key].append(statement)
            draft = statement.draft
            fields = {
                "meter": statement.meter,
                "channel": statement.channel,
                "energy_wh": draft.energy_wh,
                "start_ms": draft.start.time_ms,
                "end_ms": draft.end.time_ms,
                "reset": draft.reset,
            }
            log.info("statement_drafted", extra={"fields": fields})


def _as_statements(key: ChannelKey, drafts: Sequence[Draft]) -> list[Statement]:
    """Drafts before they have an id."""
    return [Statement(0, *key, draft) for draft in drafts]
