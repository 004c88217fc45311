"""What ledgers of different members say to each other: the operator's ledger asks for readings that it missed.

Plain, like the readings themselves. Nothing in an answer is believed: every batch is signed by the gateway's key, and
is checked as if it came from the gateway. Who may ask, the broker says (`rights`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import Count, Record, Salt

MAX_RUNS_PER_ANSWER = 500
"""An unbroken spool has one; more are on the next page."""

MAX_BATCHES_ANSWER_BYTES = 1_000_000
"""The last batch of an answer may begin below this; with it and its envelope an answer fits into a packet."""

MAX_LEDGER_ANSWER_BYTES = 1_500_000
"""An answer with the batches that pass the limit above at its end."""

MAX_BATCHES_PER_ANSWER = 1_000
"""Batches of a single sample are small."""


class ReadingRun(Record, frozen=True, kw_only=True):
    """A run of sequence numbers of one spool without gaps."""

    spool: Salt
    first: Count
    last: Count


class GetReadingRuns(Record, frozen=True, kw_only=True):
    """Request: which readings of its own member a ledger has, by spool and first number."""

    after_spool: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{32})?\Z")] = ""
    """Only runs after this place: that of the last of the page before."""
    after_first: Count = 0


class ReadingRuns(Record, frozen=True, kw_only=True):
    """Answer to `GetReadingRuns`, in order."""

    runs: Annotated[list[ReadingRun], msgspec.Meta(max_length=MAX_RUNS_PER_ANSWER)]
    more: bool
    """Whether there are more after these."""


class GetReadingBatches(Record, frozen=True, kw_only=True):
    """Request: the batches that readings of one spool came in, as their gateway signed them."""

    spool: Salt
    first: Count
    last: Count


class ReadingBatches(Record, frozen=True, kw_only=True):
    """Answer to `GetReadingBatches`."""

    batches: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_BATCHES_PER_ANSWER)]
    up_to: Count
    """The answer has what the ledger can show of the readings from `first` up to this number; at `last` it is all."""


LEDGER_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "reading_runs": (GetReadingRuns, ReadingRuns),
    "reading_batches": (GetReadingBatches, ReadingBatches),
}
"""Request and answer between ledgers, by kind."""
