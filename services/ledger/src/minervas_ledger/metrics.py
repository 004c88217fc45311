"""Prometheus metrics of the ledger (those that every service has are in `minervas_runtime.metrics`)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

HEIGHT = Gauge("minervas_chain_height", "Height of the best chain's tip.")
WORK = Gauge("minervas_chain_work", "Cumulative work of the best chain, in expected tries.")
DIFFICULTY = Gauge("minervas_chain_difficulty", "Difficulty of the next block, in expected tries.")
ACTIVE_MEMBERS = Gauge("minervas_chain_active_members", "Members that are active on the tip.")
SIDE_BRANCHES = Gauge("minervas_chain_side_branches", "Ends of branches beside the best chain.")
BLOCKS_CONNECTED = Counter("minervas_chain_blocks_connected", "Blocks connected to the best chain since start.")
BLOCK_INTERVAL = Histogram(
    "minervas_chain_block_interval_seconds",
    "Time from the predecessor to a block that was connected, by their headers.",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 300, 900, 3_600),
)
REORGANISATIONS = Counter("minervas_chain_reorganisations", "Reorganisations since start.")
REORGANISATION_DEPTH = Histogram(
    "minervas_chain_reorganisation_depth",
    "Blocks taken back by a reorganisation.",
    buckets=(1, 2, 3, 5, 8, 13, 21, 34, 55, 100),
)
COMMIT_SECONDS = Histogram(
    "minervas_database_commit_seconds",
    "Time to write one batch of blocks in one transaction.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
DATABASE_UP = Gauge("minervas_database_up", "1 while the chain is loaded from the database and can be written.")
DATABASE_LOSSES = Counter("minervas_database_losses", "How often the chain was dropped and loaded again.")
JUSTIFIED_HEIGHT = Gauge("minervas_finality_justified_height", "Height of the highest justified checkpoint.")
FINAL_HEIGHT = Gauge("minervas_finality_final_height", "Height of the last final block.")
MISSING_VOTERS = Gauge("minervas_finality_missing_voters", "Members whose votes finality waits for.")
VOTES_CAST = Counter("minervas_finality_votes_cast", "Votes of this node since start.")
VOTES_TAKEN = Counter("minervas_finality_votes_taken", "New votes of all members since start.")
EQUIVOCATIONS = Counter("minervas_finality_equivocations", "Votes that contradict an earlier one of their voter.")
MEMPOOL_TRANSACTIONS = Gauge("minervas_mempool_transactions", "Transactions waiting for a block.")
MEMPOOL_BYTES = Gauge("minervas_mempool_bytes", "Bytes of the transactions waiting for a block.")
MEMPOOL_DROPPED = Counter(
    "minervas_mempool_dropped",
    "Queued transactions that no longer applied, by occasion (expiry, membership, reorganisation, restart) and code.",
    ["occasion", "code"],
)
SYNCING = Gauge("minervas_sync_active", "1 while the node is behind headers that it has verified.")
SYNC_TARGET_HEIGHT = Gauge("minervas_sync_target_height", "Height of the best verified header; the tip's if level.")
SYNC_PEERS = Gauge(
    "minervas_sync_peers",
    "Members whose tip was heard of: ahead of us, level (or behind), or dropped for a while.",
    ["state"],
)
SYNC_BLOCKS = Counter("minervas_sync_blocks", "Blocks that came by sync since start.")
SYNC_DROPS = Counter("minervas_sync_drops", "Peers dropped for a while during sync, by the stable code.", ["code"])
ABANDONED_SEARCHES = Counter("minervas_abandoned_searches", "Abandoned searches stored since start.")
READINGS_QUEUED = Gauge("minervas_readings_queued", "Readings that wait to be stored.")
READINGS_STORED = Counter("minervas_readings_stored", "Readings stored since start; repeated ones do not count.")
READINGS_CONFLICTS = Counter("minervas_readings_conflicts", "Readings that differ from the stored one of their key.")
READINGS_ARCHIVED = Counter("minervas_readings_archived", "Readings that went from the database into archives.")
ARCHIVE_FAILURES = Counter("minervas_archive_failures", "Failed attempts to archive, by the stable code.", ["code"])
STATEMENT_CHECKS = Counter(
    "minervas_statement_checks", "Own final statements compared with the stored readings, by result.", ["result"]
)
DISK_FREE_BYTES = Gauge("minervas_disk_free_bytes", "Free space on the watched disk.")
DISK_REFUSING = Gauge("minervas_disk_refusing", "Refused for want of disk: 0 nothing, 1 readings, 2 blocks, too.")
READINGS_GAP = Gauge(
    "minervas_readings_gap",
    "Readings that are missing below the newest one of a spool, by member; only in the operator's ledger.",
    ["member"],
)
READINGS_PULLED = Counter("minervas_readings_pulled", "Readings that came from the ledgers of other members.")
READINGS_PULL_FAILURES = Counter(
    "minervas_readings_pull_failures", "Rounds with a member's ledger that failed, by the stable code.", ["code"]
)
READINGS_ASIDE = Gauge("minervas_readings_aside", "Readings with impossible times, put aside.")
READINGS_FLUSH_SECONDS = Histogram(
    "minervas_readings_flush_seconds",
    "Time to store one batch of readings in one transaction.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
