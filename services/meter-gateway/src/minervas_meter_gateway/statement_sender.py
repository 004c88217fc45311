"""Statements to the chain: asks where each channel stands, signs what is due, hands it in until it is in a block.

Theory of operation. Every pass begins with the chain's registers (`chain_follow`), so after any loss, on whichever
side, the next statement starts where the chain is. Then the pending statements of each channel are handed in, oldest
first; a refusal ends the pass for that channel, because the later ones build on it. One that was accepted and has not
reached a block after a while is handed in again: the ledger knows it already, or has lost it. Its bytes stay the same
until they expire; then it is signed again under a new expiry. Under an unsynchronised clock the registers are followed,
but nothing is stated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.keys import SigningKey
from minervas_core.market.records import Register
from minervas_core.metering import Generation, RegisterPoint
from minervas_core.node_market_messages import ChannelRegisters
from minervas_core.node_messages import SubmitResult
from minervas_core.transactions import decode_transaction, sign_transaction
from minervas_meter_gateway.channel_state import Point
from minervas_meter_gateway.clock_check import ClockCheck
from minervas_meter_gateway.ledger_link import HOPELESS
from minervas_meter_gateway.metrics import CLOCK_SYNCHRONISED, STATEMENTS
from minervas_meter_gateway.spool import ChannelKey, Statement
from minervas_meter_gateway.statement_book import StatementBook
from minervas_runtime.clock import Clock
from minervas_runtime.randomness import new_salt

log = logging.getLogger(__name__)

SLOT_GRACE_MS = 2_000
"""A slot is closed this long after its end, when its last samples are in."""
LOOK_S = 0.5
"""How often the end of a slot is looked for."""
ACTIVE_PAUSE_MS = 3_000
"""Between two passes while something is pending or a channel is not registered."""
IDLE_PAUSE_MS = 30_000
REPEAT_MS = 30_000
"""An accepted statement that is in no block is handed in again after this time."""
MAX_PER_PASS = 50
"""Statements of one channel handed in at once, after a long outage."""
EXPIRY_BLOCKS = 240
"""An hour of 15 s blocks."""


class Ledger(Protocol):
    """What the sender needs of `ledger_link.LedgerLink`."""

    async def registers(self) -> ChannelRegisters:
        """Ask what the chain knows of our channels."""
        ...

    async def submit(self, transaction: bytes) -> SubmitResult:
        """Hand a statement in."""
        ...


class StatementSender:
    """Takes one gateway's statements to its ledger.

    Args:
        book: the channels.
        ledger: the member's own.
        key: the gateway's, at the moment.
        network: network id.
        member: whose energy it is.
        clock: time of day.
        clock_check: whether it can be trusted.
        monotonic_ms: for pauses.
        tolerated_ms: how far the newest block may be ahead of a right clock.
        max_expiry_blocks: the chain's limit.
    """

    def __init__(
        self,
        *,
        book: StatementBook,
        ledger: Ledger,
        key: Callable[[], SigningKey],
        network: str,
        member: str,
        clock: Clock,
        clock_check: ClockCheck,
        monotonic_ms: Callable[[], int],
        tolerated_ms: int,
        max_expiry_blocks: int,
    ) -> None:
        self.registered: set[ChannelKey] = set()
        """Channels that the chain knows, as of the last pass."""
        self.clock_problem = ""
        """Why nothing may be stated; empty if it may."""
        self._book = book
        self._ledger = ledger
        self._key = key
        self._network = network
        self._member = member
        self._clock = clock
        self._clock_check = clock_check
        self._monotonic_ms = monotonic_ms
        self._tolerated_ms = tolerated_ms
        self._expiry_blocks = min(EXPIRY_BLOCKS, max_expiry_blocks)
        self._accepted_ms: dict[int, int] = {}
        self._due_ms = 0

    def wake(self) -> None:
        """Make a pass at the next step, for example because the ledger is back."""
        self._due_ms = 0

    def look_at_clock(self) -> bool:
        """Whether samples taken now may begin or end a statement."""
        problem = self._clock_check.problem()
        if problem != self.clock_problem:
            event = "clock_untrusted" if problem else "clock_trusted"
            log.warning(event, extra={"fields": {"reason": problem}})
        self.clock_problem = problem
        CLOCK_SYNCHRONISED.set(0 if problem else 1)
        return not problem

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(LOOK_S)

    async def step(self) -> None:
        """Do what is due by now: close slots, make a pass. Trouble that may end by itself ends the step."""
        try:
            if self.look_at_clock():
                await self._book.close_slots(self._clock.now_ms() - SLOT_GRACE_MS)
            if self._book.has_new:
                self._book.has_new = False
                self.wake()
            if self._monotonic_ms() >= self._due_ms:
                await self._pass()
        except MinervasError as error:
            log.info("statements_wait", extra={"fields": {"code": error.code, "reason": str(error)}})
            self._due_ms = self._monotonic_ms() + ACTIVE_PAUSE_MS

    async def _pass(self) -> None:
        registers = await self._ledger.registers()
        self._clock_check.note_tip(registers.tip_time_ms, self._tolerated_ms)
        self._book.slot_ms = registers.slot_ms
        known = {(each.meter, each.channel): each.last for each in registers.channels}
        self.registered = set(self._book.channels) & set(known)
        for key in sorted(self.registered):
            await self._book.follow(key, _as_point(known[key]), registers.tip_time_ms)
            if self.look_at_clock():
                await self._hand_in(key, registers)
        pending = {each.id for key in self._book.channels for each in self._book.pending(key)}
        self._accepted_ms = {number: at_ms for number, at_ms in self._accepted_ms.items() if number in pending}
        all_quiet = not pending and len(self.registered) == len(self._book.channels)
        self._due_ms = self._monotonic_ms() + (IDLE_PAUSE_MS if all_quiet else ACTIVE_PAUSE_MS)

    async def _hand_in(self, key: ChannelKey, registers: ChannelRegisters) -> None:
        """Hand in the pending statements of one channel, until one is refused."""
        for pending in self._book.pending(key)[:MAX_PER_PASS]:
            statement = pending
            if self._must_sign(statement, registers.tip_height):
                statement = self._signed(pending, registers.tip_height + self._expiry_blocks)
                await self._book.store_signed(statement)
                self._accepted_ms.pop(statement.id, None)
            accepted_ms = self._accepted_ms.get(statement.id)
            if accepted_ms is not None and self._monotonic_ms() < accepted_ms + REPEAT_MS:
                continue
            result = await self._ledger.submit(statement.signed)
            STATEMENTS.labels(result.status).inc()
            if result.status == "refused":
                await self._refused(statement, result)
                return
            self._accepted_ms[statement.id] = self._monotonic_ms()

    def _must_sign(self, statement: Statement, tip_height: int) -> bool:
        """Whether a statement has no signature that a block could still carry: it expires, and so does a key."""
        if not statement.signed or statement.expires_height <= tip_height:
            return True
        return decode_transaction(statement.signed).body.sender != self._key().public

    async def _refused(self, statement: Statement, result: SubmitResult) -> None:
        fields = {
            "meter": statement.meter,
            "channel": statement.channel,
            "energy_wh": statement.draft.energy_wh,
            "code": result.code,
            "reason": result.message,
        }
        log.warning("statement_refused", extra={"fields": fields})
        if result.code in HOPELESS:
            log.error("energy_given_up", extra={"fields": fields})
            await self._book.begin_anew(statement.key)

    def _signed(self, statement: Statement, expires_height: int) -> Statement:
        draft, key = statement.draft, self._key()
        body = Generation(
            network=self._network,
            sender=key.public,
            salt=new_salt(),
            expires_height=expires_height,
            member=self._member,
            meter=statement.meter,
            channel=statement.channel,
            start=_as_register(draft.start),
            end=_as_register(draft.end),
            measured=draft.measured,
            substituted=draft.substituted,
            missing=draft.missing,
            reset=draft.reset,
            readings_root=draft.root,
        )
        return replace(statement, signed=sign_transaction(body, key).raw, expires_height=expires_height)


def _as_point(register: Register | msgspec.UnsetType) -> Point | None:
    if isinstance(register, msgspec.UnsetType):
        return None
    return Point(register.time_ms, register.register_wh)


def _as_register(point: Point) -> RegisterPoint:
    return RegisterPoint(time_ms=point.time_ms, register_wh=point.register_wh)
