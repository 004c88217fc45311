"""What the miner's tests share: a genesis, templates, and stand-ins for the ledger and the search process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from minervas_core.blocks import VERSION, Draft
from minervas_core.encoding import Record
from minervas_core.genesis import Genesis, GenesisBody, Parameters, sign_genesis
from minervas_core.keys import SigningKey
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.node_messages import Template
from minervas_miner.miner import Miner
from minervas_miner.search_protocol import ENDED, RUNNING, Job, Report
from minervas_runtime.clock import ManualClock

MEMBER = "mokpo-univ"
NETWORK = "5" * 32
NOW_MS = 1_800_000_000_000
BLOCK_KEY = SigningKey(b"block key of mokpo-univ".ljust(32, b"\0"))
EASY = 64
"""A difficulty that takes no time."""
IMPOSSIBLE = 2**52
"""A difficulty that is never met in a test."""

Answer = TypeVar("Answer", bound=Record)


def make_genesis(difficulty: int = EASY) -> Genesis:
    """A genesis whose first blocks have this difficulty."""
    authority = SigningKey(b"authority".ljust(32, b"\0"))
    body = GenesisBody(
        format=1,
        network=NETWORK,
        name="Test",
        authority=authority.public,
        currency="KRW",
        time_zone="Asia/Seoul",
        created_ms=NOW_MS,
        parameters=Parameters(initial_difficulty=difficulty, min_difficulty=1),
    )
    return sign_genesis(body, authority)


def make_template(genesis: Genesis, number: int = 1, **draft: Any) -> Template:
    """A template for block 1, with a changed draft if asked for."""
    fields: dict[str, Any] = {
        "version": VERSION,
        "network": NETWORK,
        "height": 1,
        "prev": genesis.hash,
        "tx_root": EMPTY_ROOT,
        "votes_root": EMPTY_ROOT,
        "time_ms": NOW_MS,
        "difficulty": genesis.parameters.initial_difficulty,
        "miner": MEMBER,
        **draft,
    }
    return Template(
        template_id=f"{number:032x}",
        draft=Draft(**fields),
        block_key=BLOCK_KEY.public,
        give_up_ms=60_000,
        retime_ms=1_000,
    )


class FakeWorker:
    """Takes jobs like the search process, and searches nothing."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.resting = True

    def give(self, job: Job) -> None:
        self.jobs.append(job)
        self.resting = False

    def rest(self) -> None:
        self.resting = True

    def report(self, *, tries: int = 1_000, stage: int = RUNNING, lowest: bytes = b"\x7f" * 32) -> Report:
        """A report of the newest job without a good hash."""
        return Report(self.jobs[-1].number, stage, found=False, tries=tries, lowest=lowest, lowest_nonce=7)

    def success(self, nonce: int, tries: int = 1_000) -> Report:
        """A report that claims a good hash at `nonce`; the hash itself is never believed."""
        return Report(self.jobs[-1].number, ENDED, found=True, tries=tries, lowest=b"\0" * 32, lowest_nonce=nonce)


class FakeLink:
    """The ledger's side of a node link: remembers what it gets and answers as told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Record]] = []
        self.requests: list[tuple[str, Record]] = []
        self.answers: list[Record | Exception] = []
        """What the next requests are answered with; nothing more: no answer comes."""

    async def send(self, service: str, kind: str, body: Record) -> None:
        assert service == "ledger"
        self.events.append((kind, body))

    async def request(
        self, service: str, kind: str, body: Record, reply_type: type[Answer], timeout_s: float
    ) -> Answer:
        assert service == "ledger"
        assert timeout_s > 0
        self.requests.append((kind, body))
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, reply_type)
        return answer

    def sent(self, kind: str) -> list[Record]:
        """Bodies of the events of one kind."""
        return [body for each, body in self.events if each == kind]

    def asked(self, kind: str) -> list[Record]:
        """Bodies of the requests of one kind."""
        return [body for each, body in self.requests if each == kind]


class MinerBench:
    """A miner between stand-ins, with clocks that the test moves."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.clock = ManualClock(NOW_MS)
        self.monotonic = ManualClock(1_000)
        self.worker = FakeWorker()
        self.link = FakeLink()
        self.nonces = iter(range(1_000_000, 2_000_000))
        first_nonce: Callable[[], int] = self.nonces.__next__
        self.miner = Miner(
            member=MEMBER,
            genesis=genesis,
            find_key=lambda public: BLOCK_KEY if public == BLOCK_KEY.public else None,
            link=self.link,
            worker=self.worker,
            clock=self.clock,
            monotonic_ms=self.monotonic.now_ms,
            first_nonce=first_nonce,
            status={},
        )

    def advance(self, by_ms: int) -> None:
        """Let time pass and the miner notice."""
        self.clock.advance(by_ms)
        self.monotonic.advance(by_ms)
        self.miner.tick()
