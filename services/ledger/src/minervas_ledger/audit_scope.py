"""What the audit can not check, because it is history of this node and does not follow from the chain.

Everything else in the schema is compared with a replay from genesis. A test takes the tables and columns from the
database's catalogue and tampers with each that is not named here.
"""

from __future__ import annotations

LEFT_ALONE = {
    "votes": "what this node heard; those that count stand in blocks",
    "equivocations": "pairs of votes that this node heard",
    "mempool": "waits for a block; every row goes through all checks again when the ledger starts",
    "readings": "not part of the chain; a statement's readings_root ties them to it",
    "reading_conflicts": "not part of the chain: what gateways sent twice with other content",
    "readings_minute": "made from readings",
    "readings_hour": "made from readings",
    "reading_runs": "which readings were ever stored",
    "reading_batches": "signatures of what gateways sent; whoever gets them checks them",
    "readings_aside": "readings with impossible times, as gateways sent them",
    "reading_archives": "where readings went; each file has its own checksum",
    "statement_checks": "what this node found; the audit compares statements with readings anew",
    "fleet": "what services said of themselves",
    "expected_output": "what a model expects of panels; nothing rests on it",
    "reading_channels": "counts what was ever stored of readings",
}
"""Tables, each with the reason."""

HISTORY_COLUMNS = {
    ("blocks", "first_seen"): "order of arrival; checked only where it would choose another tip",
    ("node_state", "reorganisations"): "how often this node changed its mind",
    ("node_state", "only_row"): "the key of the only row",
    ("abandoned_searches", "elapsed_ms"): "only the miner knows; hash and tries are recomputed",
    ("abandoned_searches", "stored_at_ms"): "our clock when it was stored",
}
"""Columns of tables that are checked otherwise, each with the reason."""

MAY_VANISH = {"abandoned_searches": "nothing else says that there was a search"}
"""Tables of which a missing row is not noticed, each with the reason. Nor is a missing side branch."""
