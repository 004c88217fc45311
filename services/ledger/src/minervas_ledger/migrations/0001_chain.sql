-- The chain of one member's node. Hashes and keys are raw bytes, times milliseconds since the epoch, UTC.
--
-- Whatever a row says can be computed again from the genesis file and blocks.raw; `minervas-ledger audit` does that
-- and names the first row that does not follow. Exceptions are abandoned_searches and node_state.reorganisations:
-- they are history of this node, not of the chain.

CREATE TABLE blocks (
    hash            bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    prev            bytea NOT NULL CHECK (octet_length(prev) = 32),
    height          bigint NOT NULL CHECK (height > 0),
    miner           text NOT NULL,
    time_ms         bigint NOT NULL,
    difficulty      bigint NOT NULL CHECK (difficulty > 0),
    transactions    integer NOT NULL CHECK (transactions >= 0),
    work            numeric(78, 0) NOT NULL CHECK (work > 0),
    first_seen      bigint NOT NULL UNIQUE,
    best_chain      boolean NOT NULL,
    invalid         boolean NOT NULL DEFAULT false,
    header          bytea NOT NULL,
    raw             bytea NOT NULL,
    undo            bytea,
    CHECK (NOT (best_chain AND invalid)),
    CHECK (best_chain = (undo IS NOT NULL))
);

COMMENT ON COLUMN blocks.transactions IS 'How many transactions the block carries.';
COMMENT ON COLUMN blocks.work IS 'Sum of the difficulties from block 1 up to this one.';
COMMENT ON COLUMN blocks.first_seen IS 'Order of arrival on this node; of equal chains the first seen is the best.';
COMMENT ON COLUMN blocks.invalid IS 'A rule that only shows in context is broken; kept so that it is not fetched again.';
COMMENT ON COLUMN blocks.raw IS 'The canonical bytes as they were received.';
COMMENT ON COLUMN blocks.undo IS 'What this block changed in the state, to take it back exactly; only on the best chain.';

-- One block for each height of the best chain.
CREATE UNIQUE INDEX blocks_best_height ON blocks (height) WHERE best_chain;
CREATE INDEX blocks_prev ON blocks (prev);

CREATE TABLE transactions (
    id              bytea NOT NULL CHECK (octet_length(id) = 32),
    block           bytea NOT NULL REFERENCES blocks (hash),
    position        integer NOT NULL CHECK (position >= 0),
    kind            text NOT NULL,
    raw             bytea NOT NULL,
    PRIMARY KEY (id, block),
    UNIQUE (block, position)
);

COMMENT ON TABLE transactions IS 'One row for each time a transaction stands in a block: it may recur on side branches.';
COMMENT ON COLUMN transactions.position IS 'Place in the block, from 0.';

CREATE TABLE roster (
    member          text PRIMARY KEY,
    status          text NOT NULL CHECK (status IN ('active', 'revoked')),
    admitted_height bigint NOT NULL CHECK (admitted_height > 0),
    revoked_height  bigint NOT NULL DEFAULT 0 CHECK (revoked_height >= 0),
    admitted_by     bytea NOT NULL CHECK (octet_length(admitted_by) = 32),
    wallet_key      bytea NOT NULL CHECK (octet_length(wallet_key) = 32),
    box_key         bytea NOT NULL,
    block_key       bytea NOT NULL CHECK (octet_length(block_key) = 32),
    vote_key        bytea NOT NULL CHECK (octet_length(vote_key) = 32),
    CHECK ((status = 'revoked') = (revoked_height > 0))
);

COMMENT ON TABLE roster IS 'Members as of node_state.tip_hash.';
COMMENT ON COLUMN roster.admitted_by IS 'Id of the transaction that admitted the member.';
COMMENT ON COLUMN roster.revoked_height IS '0 while active.';

CREATE TABLE abandoned_searches (
    lowest_hash     bytea PRIMARY KEY CHECK (octet_length(lowest_hash) = 32),
    height          bigint NOT NULL CHECK (height > 0),
    difficulty      bigint NOT NULL CHECK (difficulty > 0),
    tries           bigint NOT NULL CHECK (tries > 0),
    elapsed_ms      bigint NOT NULL CHECK (elapsed_ms >= 0),
    stored_at_ms    bigint NOT NULL,
    header          bytea NOT NULL
);

COMMENT ON TABLE abandoned_searches IS 'Searches of this node that found nothing in time; the header hashes to lowest_hash.';

CREATE INDEX abandoned_searches_newest ON abandoned_searches (stored_at_ms DESC, lowest_hash);

CREATE TABLE node_state (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    genesis_hash    bytea NOT NULL CHECK (octet_length(genesis_hash) = 32),
    tip_hash        bytea NOT NULL CHECK (octet_length(tip_hash) = 32),
    tip_height      bigint NOT NULL CHECK (tip_height >= 0),
    reorganisations bigint NOT NULL DEFAULT 0 CHECK (reorganisations >= 0)
);

COMMENT ON TABLE node_state IS 'The committed tip: every other table is as of this block. Written in the transaction that connects a block.';
