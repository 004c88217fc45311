"""Statements on their way to the chain: never twice, never lost, whoever was away or forgot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from minervas_core.meter_maps.decoding import Values
from minervas_core.metering import RegisterPoint
from minervas_meter_gateway.block_read import BlockRead
from minervas_meter_gateway.channel_readings import Judged
from minervas_meter_gateway.clock_check import ClockCheck
from minervas_meter_gateway.ledger_link import HOPELESS
from minervas_meter_gateway.spool import Spool
from minervas_meter_gateway.spool_thread import SpoolThread
from minervas_meter_gateway.statement_book import StatementBook
from minervas_meter_gateway.statement_sender import (
    ACTIVE_PAUSE_MS,
    EXPIRY_BLOCKS,
    REPEAT_MS,
    SLOT_GRACE_MS,
    StatementSender,
)
from minervas_runtime.clock import ManualClock
from tests.support.gateway import GATEWAY_KEY, MEMBER, NETWORK, NOW_MS, SLOT_MS, ChainLedger, FakeChain

KEY = ("pv1", "dc")
START_WH = 5_000
STEP_S = 2


class StatementBench:
    """A gateway's statements between a meter that the test plays and a pretended chain; time passes when told so."""

    def __init__(self, directory: Path) -> None:
        self.chain = FakeChain(registered={KEY})
        self.clock = ManualClock(NOW_MS)
        self.monotonic = ManualClock(1_000)
        self.energy_mwh = START_WH * 1_000
        self.kernel_synchronised = True
        self._directory = directory
        self.spool: SpoolThread
        self.book: StatementBook
        self.sender: StatementSender

    async def start(self) -> None:
        """Start the gateway's side, on whatever its spool knows."""
        file = self._directory / "spool.db"
        self.spool = SpoolThread(
            lambda: Spool(file, network=NETWORK, member=MEMBER, max_bytes=10**8, max_age_ms=10**12)
        )
        self.book = await StatementBook.open(self.spool, [KEY])
        self.sender = StatementSender(
            book=self.book,
            ledger=ChainLedger(self.chain),
            key=lambda: GATEWAY_KEY,
            network=NETWORK,
            member=MEMBER,
            clock=self.clock,
            clock_check=ClockCheck(self.clock, self.monotonic.now_ms, lambda: self.kernel_synchronised),
            monotonic_ms=self.monotonic.now_ms,
            tolerated_ms=30_000,
            max_expiry_blocks=5_760,
        )
        await self.sender.step()

    def stop(self) -> None:
        self.spool.close()

    async def restart(self) -> None:
        """A crash and a new start: only the spool is left."""
        self.stop()
        await self.start()

    async def lose_everything(self) -> None:
        """A new start without the spool."""
        self.stop()
        for file in self._directory.glob("spool.db*"):
            file.unlink()
        await self.start()

    async def sample(self, rise_mwh: int | None, *, new_baseline: bool = False) -> None:
        """Take one sample; none if the meter does not answer."""
        values = None
        if rise_mwh is not None:
            self.energy_mwh += rise_mwh
            values = Values(power_mw=1_000, energy_mwh=self.energy_mwh)
        block = BlockRead(b"\x01", b"", None if values else "timeout")
        judged = Judged(*KEY, self.clock.now_ms(), block, values, block.fault, new_baseline)
        await self.book.record([judged], usable=self.sender.look_at_clock())

    def pass_time(self, by_ms: int) -> None:
        """Let time pass on both clocks."""
        self.clock.advance(by_ms)
        self.monotonic.advance(by_ms)

    async def run(self, seconds: int, *, rise_mwh: int | None = 250) -> None:
        """Sample (with a rise each) and work for some seconds."""
        for _ in range(0, seconds, STEP_S):
            await self.sample(rise_mwh)
            self.pass_time(1_000 * STEP_S)
            await self.sender.step()

    async def settle(self) -> None:
        """Let everything that is stated reach the chain."""
        await self.run((SLOT_MS + SLOT_GRACE_MS) // 1_000 + 4, rise_mwh=0)
        for _ in range(5):
            self.chain.mine()
            self.pass_time(ACTIVE_PAUSE_MS)
            await self.sender.step()

    @property
    def risen_wh(self) -> int:
        """What the register rose since the start, rounded down at both ends."""
        return self.energy_mwh // 1_000 - START_WH


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[StatementBench]:
    """A registered channel with its baseline sampled."""
    made = StatementBench(tmp_path)
    await made.start()
    await made.sample(0)
    made.pass_time(1_000)
    yield made
    made.stop()


def is_chained(chain: FakeChain) -> bool:
    """Whether each statement starts where the one before ended."""
    return all(later.start == earlier.end for earlier, later in zip(chain.blocks, chain.blocks[1:], strict=False))


async def test_every_slot_is_stated_once_and_the_chain_has_what_the_register_rose(bench: StatementBench) -> None:
    await bench.run(5 * SLOT_MS // 1_000, rise_mwh=333)
    await bench.settle()
    assert len(bench.chain.blocks) in {5, 6}
    assert is_chained(bench.chain)
    assert bench.chain.minted_wh(KEY) == bench.risen_wh == 50 * 333 // 1_000
    assert all(each.end.time_ms // SLOT_MS - each.start.time_ms // SLOT_MS <= 1 for each in bench.chain.blocks)


async def test_nothing_before_registration_is_minted(bench: StatementBench) -> None:
    bench.chain.registered.clear()
    await bench.lose_everything()
    await bench.run(60, rise_mwh=1_000)
    assert bench.chain.submitted == []
    before_mwh = bench.energy_mwh
    bench.chain.registered.add(KEY)
    await bench.run(60, rise_mwh=1_000)
    await bench.settle()
    assert 0 < bench.chain.minted_wh(KEY) <= (bench.energy_mwh - before_mwh) // 1_000


async def test_a_ledger_that_was_away_gets_every_slot_afterwards(bench: StatementBench) -> None:
    await bench.run(30)
    bench.chain.away = True
    await bench.run(5 * SLOT_MS // 1_000, rise_mwh=1_000)
    assert bench.book.pending_count() >= 4
    bench.chain.away = False
    await bench.settle()
    assert is_chained(bench.chain)
    assert bench.chain.minted_wh(KEY) == bench.risen_wh
    assert bench.book.pending_count() == 0


async def test_statements_that_wait_for_a_block_survive_a_restart_unchanged(bench: StatementBench) -> None:
    bench.chain.mines = False
    await bench.run(50, rise_mwh=500)
    submitted = set(bench.chain.submitted)
    assert submitted
    await bench.restart()
    await bench.run(2)
    assert set(bench.chain.submitted) == submitted
    bench.chain.mines = True
    await bench.settle()
    assert bench.chain.minted_wh(KEY) == bench.risen_wh
    assert is_chained(bench.chain)


async def test_a_restart_in_the_middle_of_a_slot_loses_no_energy(bench: StatementBench) -> None:
    for _ in range(6):
        await bench.run(7, rise_mwh=900)
        await bench.restart()
    await bench.settle()
    assert bench.chain.minted_wh(KEY) == bench.risen_wh
    assert is_chained(bench.chain)


async def test_a_lost_spool_never_mints_twice_and_goes_on_from_the_chain(bench: StatementBench) -> None:
    await bench.run(50, rise_mwh=1_000)
    stated_wh = bench.chain.minted_wh(KEY)
    assert stated_wh > 0
    await bench.lose_everything()
    await bench.run(50, rise_mwh=1_000)
    await bench.settle()
    assert bench.chain.minted_wh(KEY) == bench.risen_wh
    assert is_chained(bench.chain)


async def test_a_lost_spool_while_statements_wait_in_the_queue_mints_nothing_twice(bench: StatementBench) -> None:
    bench.chain.mines = False
    await bench.run(50, rise_mwh=1_000)
    assert bench.chain.queue
    await bench.lose_everything()
    await bench.run(10, rise_mwh=1_000)
    bench.chain.mine()
    bench.chain.mines = True
    await bench.run(50, rise_mwh=1_000)
    await bench.settle()
    assert bench.chain.minted_wh(KEY) <= bench.risen_wh
    assert is_chained(bench.chain)


async def test_a_reorganisation_that_forgets_statements_gets_them_again(bench: StatementBench) -> None:
    await bench.run(5 * SLOT_MS // 1_000, rise_mwh=1_000)
    assert len(bench.chain.blocks) >= 3
    bench.chain.undo(2)
    await bench.run(40, rise_mwh=1_000)
    await bench.settle()
    assert is_chained(bench.chain)
    assert bench.chain.minted_wh(KEY) == bench.risen_wh


async def test_a_reset_is_declared_and_nothing_before_its_baseline_is_minted(bench: StatementBench) -> None:
    await bench.run(30, rise_mwh=1_000)
    before_wh = bench.risen_wh
    bench.energy_mwh = 0
    await bench.sample(2_000, new_baseline=True)
    await bench.run(30, rise_mwh=1_000)
    await bench.settle()
    (reset,) = [each for each in bench.chain.blocks if each.reset]
    assert reset.start.register_wh == 2
    assert bench.chain.minted_wh(KEY) == before_wh + 30 // STEP_S


async def test_a_restart_after_a_reset_still_declares_it(bench: StatementBench) -> None:
    await bench.run(30, rise_mwh=1_000)
    bench.energy_mwh = 0
    await bench.sample(2_000, new_baseline=True)
    await bench.restart()
    await bench.run(30, rise_mwh=1_000)
    await bench.settle()
    assert [each.reset for each in bench.chain.blocks].count(True) == 1


async def test_an_unsynchronised_clock_stops_statements_and_not_sampling(bench: StatementBench) -> None:
    await bench.run(10, rise_mwh=1_000)
    bench.kernel_synchronised = False
    await bench.run(3 * SLOT_MS // 1_000, rise_mwh=1_000)
    assert bench.chain.submitted == []
    assert bench.spool.file.next_sequence == 1 + 70 // STEP_S
    assert "kernel" in bench.sender.clock_problem
    bench.kernel_synchronised = True
    await bench.run(30, rise_mwh=1_000)
    await bench.settle()
    assert bench.chain.minted_wh(KEY) == bench.risen_wh


async def test_a_clock_behind_the_chain_stops_statements(bench: StatementBench) -> None:
    bench.chain.tip_time_ms = NOW_MS + 3_600_000
    await bench.run(60, rise_mwh=1_000)
    assert bench.chain.submitted == []
    assert "behind the newest block" in bench.sender.clock_problem


async def test_an_expired_statement_is_signed_again_with_the_same_content(bench: StatementBench) -> None:
    bench.chain.mines = False
    await bench.run(30, rise_mwh=1_000)
    (first,) = set(bench.chain.submitted)
    bench.chain.queue.clear()
    bench.chain.height += EXPIRY_BLOCKS
    await bench.run(5, rise_mwh=0)
    second = bench.chain.submitted[-1]
    assert second != first
    bench.chain.mines = True
    await bench.settle()
    assert bench.chain.minted_wh(KEY) == bench.risen_wh


async def test_a_statement_that_a_reading_completes_is_handed_in_at_once(bench: StatementBench) -> None:
    await bench.run(30, rise_mwh=1_000)
    await bench.run(SLOT_MS // 1_000 - 8, rise_mwh=1_000)
    last = bench.chain.blocks[-1]
    assert bench.clock.now_ms() - last.end.time_ms <= SLOT_GRACE_MS + 1_000 * STEP_S


async def test_an_accepted_statement_is_not_handed_in_again_at_once(bench: StatementBench) -> None:
    bench.chain.mines = False
    await bench.run(30, rise_mwh=1_000)
    count = len(bench.chain.submitted)
    assert count == 1
    await bench.run(10, rise_mwh=0)
    assert len(bench.chain.submitted) == count
    bench.pass_time(REPEAT_MS)
    await bench.sender.step()
    assert bench.chain.submitted.count(bench.chain.submitted[0]) == 2


async def test_after_a_refusal_the_later_ones_wait(bench: StatementBench) -> None:
    bench.chain.away = True
    await bench.run(3 * SLOT_MS // 1_000, rise_mwh=1_000)
    bench.chain.away = False
    bench.chain.refusals = ["pool_full"]
    bench.pass_time(ACTIVE_PAUSE_MS)
    await bench.sender.step()
    assert len(bench.chain.submitted) == 1
    await bench.settle()
    assert bench.chain.minted_wh(KEY) == bench.risen_wh


async def test_energy_that_the_chain_will_never_take_is_given_up_by_a_declared_baseline(bench: StatementBench) -> None:
    await bench.run(30, rise_mwh=1_000)
    bench.chain.refusals = [next(iter(HOPELESS))]
    await bench.run(3 * SLOT_MS // 1_000, rise_mwh=1_000)
    await bench.settle()
    assert [each.reset for each in bench.chain.blocks].count(True) == 1
    assert bench.chain.minted_wh(KEY) < bench.risen_wh
    assert bench.book.pending_count() == 0


async def test_two_gateways_of_one_key_can_not_mint_twice(bench: StatementBench) -> None:
    await bench.run(30, rise_mwh=1_000)
    bench.chain.registers[KEY] = RegisterPoint(
        time_ms=bench.clock.now_ms(), register_wh=bench.energy_mwh // 1_000
    )  # the other one was faster
    stated_wh = bench.chain.minted_wh(KEY)
    before_wh = bench.risen_wh
    await bench.run(30, rise_mwh=1_000)
    await bench.settle()
    assert bench.chain.minted_wh(KEY) - stated_wh == bench.risen_wh - before_wh
