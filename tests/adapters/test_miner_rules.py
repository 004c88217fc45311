"""What the miner does with templates, reports and time; the search process and the ledger are stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from minervas_core.blocks import block_signature_is_valid
from minervas_core.errors import Code, InvalidBlock, PeerFault, TransientFault
from minervas_core.node_messages import Abandoned, BlockResult, Found, GetTemplate, SearchProgress, Stored
from minervas_core.proof_of_work import attempt, is_good
from minervas_miner import deliveries
from minervas_miner.miner import ASK_IDLE_MS, ASK_PAUSED_MS, LAST_REPORT_MS, PROGRESS_MS
from minervas_miner.search_protocol import ENDED, Job
from tests.support.miner import BLOCK_KEY, EASY, NOW_MS, MinerBench, make_genesis, make_template
from tests.support.wait import wait_until_async

CONNECTED = BlockResult(status="connected", hash="0" * 64)


def good_nonce(job: Job, difficulty: int = EASY) -> int:
    """Search as the process would."""
    return next(nonce for nonce in range(100_000) if is_good(attempt(job.seal, nonce), difficulty))


@pytest.fixture
async def bench() -> AsyncIterator[MinerBench]:
    made = MinerBench(make_genesis())
    running = asyncio.create_task(made.miner.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_good_hash_is_signed_and_delivered_and_a_template_asked_for(bench: MinerBench) -> None:
    bench.miner.search_for(make_template(bench.genesis))
    bench.link.answers = [CONNECTED]
    await wait_until_async(lambda: bench.link.sent("get_template"))  # asked at start, whatever comes
    nonce = good_nonce(bench.worker.jobs[-1])
    bench.miner.on_report(bench.worker.success(nonce))
    assert bench.worker.resting
    await wait_until_async(lambda: bench.link.asked("found"))
    found = bench.link.asked("found")[0]
    assert isinstance(found, Found)
    assert found.header.nonce == f"{nonce:016x}"
    assert block_signature_is_valid(found.header, found.header.hash(), found.signature, BLOCK_KEY.public)
    await wait_until_async(lambda: len(bench.link.sent("get_template")) == 2)


async def test_claimed_hash_that_is_not_good_is_not_signed(bench: MinerBench) -> None:
    bench.miner.search_for(make_template(bench.genesis))
    seal = bench.worker.jobs[-1].seal
    bad = next(nonce for nonce in range(100) if not is_good(attempt(seal, nonce), EASY))
    bench.miner.on_report(bench.worker.success(bad))
    assert len(bench.worker.jobs) == 2  # searched on, from another random nonce
    assert bench.worker.jobs[1].first_nonce != bench.worker.jobs[0].first_nonce
    assert bench.miner.deliveries.pending() == 0


async def test_found_block_is_delivered_again_until_the_ledger_answers(
    bench: MinerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LONGEST_PAUSE_S", 0.0)
    bench.miner.search_for(make_template(bench.genesis))
    bench.link.answers = [
        TransientFault(Code.BUS_OFFLINE, "away"),
        TransientFault(Code.TIMEOUT, "no answer"),
        CONNECTED,
    ]
    bench.miner.on_report(bench.worker.success(good_nonce(bench.worker.jobs[-1])))
    await wait_until_async(lambda: not bench.miner.deliveries.pending())
    bodies = bench.link.asked("found")
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]


async def test_refused_block_is_not_delivered_again_and_its_template_may_come_again(bench: MinerBench) -> None:
    template = make_template(bench.genesis)
    bench.miner.search_for(template)
    bench.link.answers = [PeerFault(Code.TEMPLATE_STALE, "unknown template")]
    bench.miner.on_report(bench.worker.success(good_nonce(bench.worker.jobs[-1])))
    await wait_until_async(lambda: not bench.miner.deliveries.pending())
    assert len(bench.link.asked("found")) == 1
    bench.miner.search_for(template)
    assert not bench.worker.resting


async def test_template_is_not_searched_again_while_its_block_is_on_the_way(bench: MinerBench) -> None:
    template = make_template(bench.genesis)
    bench.miner.search_for(template)
    bench.miner.on_report(bench.worker.success(good_nonce(bench.worker.jobs[-1])))
    bench.miner.search_for(template)
    assert bench.worker.resting
    asked = len(bench.link.sent("get_template"))
    bench.advance(10 * ASK_IDLE_MS)
    await asyncio.sleep(0)
    assert len(bench.link.sent("get_template")) == asked


async def test_next_template_replaces_the_search_and_its_late_reports_are_ignored(bench: MinerBench) -> None:
    bench.miner.search_for(make_template(bench.genesis, 1))
    late = bench.worker.success(good_nonce(bench.worker.jobs[-1]))
    bench.miner.search_for(make_template(bench.genesis, 2, tx_root="12" * 32))
    bench.miner.on_report(late)
    assert not bench.worker.resting
    assert bench.miner.deliveries.pending() == 0


async def test_repeated_template_does_not_restart_the_search(bench: MinerBench) -> None:
    template = make_template(bench.genesis)
    bench.miner.search_for(template)
    bench.miner.search_for(template)
    assert len(bench.worker.jobs) == 1


async def test_bad_template_is_refused_and_the_search_goes_on(bench: MinerBench) -> None:
    bench.miner.search_for(make_template(bench.genesis, 1))
    with pytest.raises(InvalidBlock):
        bench.miner.search_for(make_template(bench.genesis, 2, network="6" * 32))
    assert len(bench.worker.jobs) == 1
    assert not bench.worker.resting


async def test_time_in_the_header_is_renewed_and_never_goes_back(bench: MinerBench) -> None:
    template = make_template(bench.genesis, time_ms=NOW_MS + 500)
    bench.miner.search_for(template)
    bench.advance(template.retime_ms - 1)
    assert len(bench.worker.jobs) == 1
    bench.advance(1)
    assert len(bench.worker.jobs) == 2
    bench.clock.set(NOW_MS - 60_000)  # the machine's clock was set back
    bench.monotonic.advance(template.retime_ms)
    bench.miner.tick()
    bench.link.answers = [CONNECTED]
    bench.miner.on_report(bench.worker.success(good_nonce(bench.worker.jobs[-1])))
    await wait_until_async(lambda: bench.link.asked("found"))
    found = bench.link.asked("found")[0]
    assert isinstance(found, Found)
    assert found.header.time_ms == NOW_MS + template.retime_ms


async def test_block_found_just_before_a_renewal_still_counts(bench: MinerBench) -> None:
    template = make_template(bench.genesis)
    bench.miner.search_for(template)
    before = bench.worker.success(good_nonce(bench.worker.jobs[-1]))
    bench.advance(template.retime_ms)
    bench.miner.on_report(before)
    await wait_until_async(lambda: bench.link.asked("found"))


async def test_search_at_its_time_limit_is_recorded_with_its_lowest_hash(bench: MinerBench) -> None:
    template = make_template(bench.genesis)
    bench.miner.search_for(template)
    bench.miner.on_report(bench.worker.report(tries=700, lowest=attempt(bench.worker.jobs[-1].seal, 7)))
    bench.advance(template.retime_ms)
    bench.miner.on_report(bench.worker.report(tries=300, lowest=b"\xfe" * 32))
    bench.advance(template.give_up_ms - template.retime_ms)
    assert bench.worker.resting
    bench.link.answers = [Stored()]
    bench.miner.on_report(bench.worker.report(tries=450, stage=ENDED, lowest=b"\xfe" * 32))
    await wait_until_async(lambda: bench.link.asked("abandoned"))
    abandoned = bench.link.asked("abandoned")[0]
    assert isinstance(abandoned, Abandoned)
    assert (abandoned.search.tries, abandoned.search.elapsed_ms) == (1_150, template.give_up_ms)
    assert abandoned.search.header.nonce == f"{7:016x}"
    assert abandoned.search.header.hash() == abandoned.search.lowest_hash


async def test_search_ends_without_its_last_report_when_the_process_is_stuck(bench: MinerBench) -> None:
    template = make_template(bench.genesis)
    bench.miner.search_for(template)
    bench.miner.on_report(bench.worker.report())
    bench.advance(template.give_up_ms)
    bench.advance(LAST_REPORT_MS)
    await wait_until_async(lambda: bench.link.asked("abandoned"))


async def test_pause_ends_the_search_and_is_asked_about_seldom(bench: MinerBench) -> None:
    bench.miner.search_for(make_template(bench.genesis))
    bench.miner.pause("syncing")
    assert bench.worker.resting
    await asyncio.sleep(0)
    before = len(bench.link.sent("get_template"))
    bench.advance(ASK_IDLE_MS)
    await asyncio.sleep(0)
    assert len(bench.link.sent("get_template")) == before
    bench.advance(ASK_PAUSED_MS)
    await wait_until_async(lambda: len(bench.link.sent("get_template")) == before + 1)


async def test_idle_miner_keeps_asking_for_a_template(bench: MinerBench) -> None:
    await wait_until_async(lambda: bench.link.sent("get_template") == [GetTemplate()])
    bench.advance(ASK_IDLE_MS)
    await wait_until_async(lambda: len(bench.link.sent("get_template")) == 2)
    bench.advance(ASK_IDLE_MS)
    await wait_until_async(lambda: len(bench.link.sent("get_template")) == 3)


async def test_new_search_process_gets_the_running_search(bench: MinerBench) -> None:
    bench.miner.search_for(make_template(bench.genesis))
    bench.miner.on_report(bench.worker.report(tries=500))
    bench.miner.on_worker_start()
    assert len(bench.worker.jobs) == 2
    bench.miner.on_report(bench.worker.report(tries=100))
    bench.advance(PROGRESS_MS)
    await wait_until_async(lambda: bench.link.sent("progress"))
    progress = bench.link.sent("progress")[-1]
    assert isinstance(progress, SearchProgress)
    assert progress.tries == 600


async def test_progress_is_told_every_second_with_the_speed_of_that_second(bench: MinerBench) -> None:
    bench.miner.search_for(make_template(bench.genesis))
    bench.advance(PROGRESS_MS)
    bench.miner.on_report(bench.worker.report(tries=3_000))
    bench.advance(PROGRESS_MS)
    await wait_until_async(lambda: bench.link.sent("progress"))
    progress = bench.link.sent("progress")[-1]
    assert isinstance(progress, SearchProgress)
    assert (progress.tries, progress.tries_per_second, progress.height) == (3_000, 3_000, 1)
    assert progress.elapsed_ms == 2 * PROGRESS_MS


async def test_events_do_not_pile_up_while_the_bus_is_away(bench: MinerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    async def stuck(service: str, kind: str, body: object) -> None:
        await gate.wait()

    monkeypatch.setattr(bench.link, "send", stuck)
    bench.miner.search_for(make_template(bench.genesis))
    bench.miner.on_report(bench.worker.report())
    for _ in range(100):
        bench.advance(PROGRESS_MS // 2)
    assert bench.miner._events.qsize() <= 4
