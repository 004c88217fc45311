"""The audit of abandoned searches: each is checked by recomputation."""

from __future__ import annotations

from minervas_core.abandoned import check_abandoned
from minervas_core.blocks import decode_header
from minervas_core.errors import PeerFault
from minervas_core.genesis import Genesis
from minervas_core.node_messages import AbandonedSearch
from minervas_ledger.audit_compare import mismatch
from minervas_ledger.store.audit_rows import SearchRow


def check_search_row(row: SearchRow, genesis: Genesis) -> None:
    """Check one row.

    Raises:
        LocalFault: ``audit_mismatch``.
    """
    name = f"lowest hash {row.lowest_hash}"
    try:
        header = decode_header(row.header)
        search = AbandonedSearch(
            header=header,
            tries=row.tries,
            elapsed_ms=row.elapsed_ms,
            lowest_hash=row.lowest_hash,
            stored_at_ms=row.stored_at_ms,
        )
        check_abandoned(search)
    except PeerFault as error:
        raise mismatch("abandoned_searches", name, str(error)) from error
    if (header.height, header.difficulty, header.network) != (row.height, row.difficulty, genesis.network):
        raise mismatch("abandoned_searches", name, "height, difficulty or network are not those of its header")
