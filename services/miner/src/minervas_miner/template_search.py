"""One search for one template: its seals over time, its tries, its lowest hash. Pure; times are arguments."""

from __future__ import annotations

import msgspec

from minervas_core.blocks import Draft, Header
from minervas_core.node_messages import AbandonedSearch, SearchProgress, Template
from minervas_core.proof_of_work import attempt, is_good, target
from minervas_miner.nonce_search import NO_HASH
from minervas_miner.search_protocol import Job, Report


class TemplateSearch:
    """The search from a template's arrival to a block, to the next template, or to the time limit.

    The time in the header is renewed now and then, so that a block found late carries about the time of its finding;
    each renewal is a new seal and thus a new job for the search process.

    Args:
        template: what to search for.
        began_ms: monotonic time of its arrival.
    """

    def __init__(self, template: Template, began_ms: int) -> None:
        self.template = template
        self._began_ms = began_ms
        self._renewed_ms = began_ms
        self._drafts: dict[int, Draft] = {}
        self._tries: dict[int, int] = {}
        self._lowest = NO_HASH
        self._lowest_job = 0
        self._lowest_nonce = 0

    @property
    def tries(self) -> int:
        """Hashes made so far, as far as reported."""
        return sum(self._tries.values())

    def next_job(self, number: int, *, first_nonce: int, now_ms: int, wall_ms: int) -> Job:
        """Make a seal with the present time (never earlier than the template's) and the job to search under it.

        Args:
            number: number of the job, not used before.
            first_nonce: where it begins; random.
            now_ms: monotonic time.
            wall_ms: time of day.
        """
        newest = self._drafts[max(self._drafts)] if self._drafts else self.template.draft
        draft = msgspec.structs.replace(newest, time_ms=max(newest.time_ms, wall_ms))
        self._drafts[number] = draft
        self._tries[number] = 0
        self._renewed_ms = now_ms
        limit = target(draft.difficulty).to_bytes(32, "big")
        return Job(number=number, seal=draft.seal(), target=limit, first_nonce=first_nonce)

    def must_renew(self, now_ms: int) -> bool:
        """Whether the header's time is due to be renewed."""
        return now_ms - self._renewed_ms >= self.template.retime_ms

    def must_end(self, now_ms: int) -> bool:
        """Whether the time limit is reached."""
        return now_ms - self._began_ms >= self.template.give_up_ms

    def covers(self, report: Report) -> bool:
        """Whether a report belongs to this search."""
        return report.job in self._drafts

    def take(self, report: Report) -> Header | None:
        """Take a report in; returns the complete header if it holds a good hash, after checking that it does."""
        self._tries[report.job] = max(self._tries[report.job], report.tries)
        if report.tries and report.lowest < self._lowest:
            self._lowest, self._lowest_job, self._lowest_nonce = report.lowest, report.job, report.lowest_nonce
        draft = self._drafts[report.job]
        if report.found and is_good(attempt(draft.seal(), report.lowest_nonce), draft.difficulty):
            return draft.with_nonce(report.lowest_nonce)
        return None

    def progress(self, now_ms: int, tries_per_second: int) -> SearchProgress | None:
        """What to tell the ledger; None before the first report."""
        if not self.tries:
            return None
        draft = self._drafts[self._lowest_job]
        return SearchProgress(
            height=draft.height,
            difficulty=draft.difficulty,
            tries=self.tries,
            elapsed_ms=now_ms - self._began_ms,
            tries_per_second=tries_per_second,
            lowest_hash=self._lowest.hex(),
            nonce=f"{self._lowest_nonce:016x}",
        )

    def abandoned(self, now_ms: int) -> AbandonedSearch | None:
        """The record of a search without success; None if nothing was tried."""
        if not self.tries:
            return None
        header = self._drafts[self._lowest_job].with_nonce(self._lowest_nonce)
        return AbandonedSearch(
            header=header, tries=self.tries, elapsed_ms=now_ms - self._began_ms, lowest_hash=header.hash()
        )
