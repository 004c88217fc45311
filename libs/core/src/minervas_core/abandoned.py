"""Check what a miner reports of a search, successful or abandoned (paper, consensus; design section 5)."""

from __future__ import annotations

import msgspec

from minervas_core.blocks import Draft, Header
from minervas_core.errors import Code, PeerFault
from minervas_core.node_messages import AbandonedSearch
from minervas_core.proof_of_work import MAX_HASH, is_good

PLAUSIBLE_EXCESS = 40
"""With n honest tries, the lowest hash lies above `PLAUSIBLE_EXCESS` times its expected value with probability
e^-40: never."""


def is_search_for(header: Header, draft: Draft) -> bool:
    """Whether a header is what a search for `draft` can yield: all its fields, time as given or later."""
    return header.time_ms >= draft.time_ms and header.draft() == msgspec.structs.replace(draft, time_ms=header.time_ms)


def estimated_tries(lowest_hash: str) -> int:
    """How many tries a lowest hash speaks for: its expected number, good to about a factor of three."""
    return MAX_HASH // max(int(lowest_hash, 16), 1)


def check_abandoned(search: AbandonedSearch) -> None:
    """Check an abandoned search by recomputation.

    Fewer claimed tries than the hash speaks for are let pass: they claim less than was done.

    Raises:
        PeerFault: ``abandoned_claim`` if the header does not hash to the lowest hash, if that hash was good (then the
            block was found, not abandoned), or if it is implausibly high for the number of tries.
    """
    header, lowest = search.header, search.lowest_hash
    if header.hash() != lowest:
        raise PeerFault(Code.ABANDONED_CLAIM, "The header has another hash", lowest_hash=lowest, hash=header.hash())
    if is_good(bytes.fromhex(lowest), header.difficulty):
        raise PeerFault(Code.ABANDONED_CLAIM, "This search found its block", lowest_hash=lowest)
    if search.tries < 1 or search.tries > PLAUSIBLE_EXCESS * estimated_tries(lowest):
        raise PeerFault(
            Code.ABANDONED_CLAIM,
            "So many tries do not leave such a high lowest hash",
            tries=search.tries,
            estimated=estimated_tries(lowest),
        )
