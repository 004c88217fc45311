-- Finality: what the chain's own votes prove, the votes that this node has seen, and who contradicted himself.

CREATE TABLE state_rows (
    name            text NOT NULL,
    key             text NOT NULL,
    record          bytea NOT NULL,
    PRIMARY KEY (name, key)
);

COMMENT ON TABLE state_rows IS 'Rows of the chain state at node_state.tip_hash that have no table of their own, by the name of their state table.';
COMMENT ON COLUMN state_rows.record IS 'Canonical bytes of the record.';

ALTER TABLE node_state
    ADD COLUMN justified_hash bytea CHECK (octet_length(justified_hash) = 32),
    ADD COLUMN justified_height bigint NOT NULL DEFAULT 0 CHECK (justified_height >= 0),
    ADD COLUMN final_hash bytea CHECK (octet_length(final_hash) = 32),
    ADD COLUMN final_height bigint NOT NULL DEFAULT 0 CHECK (final_height >= 0);

UPDATE node_state SET justified_hash = genesis_hash, final_hash = genesis_hash;

ALTER TABLE node_state
    ALTER COLUMN justified_hash SET NOT NULL,
    ALTER COLUMN final_hash SET NOT NULL;

COMMENT ON COLUMN node_state.justified_hash IS 'Highest checkpoint that any chain which this node followed proved justified: its fork choice starts there.';
COMMENT ON COLUMN node_state.final_hash IS 'Highest final checkpoint: neither it nor anything before it is ever undone.';

CREATE TABLE votes (
    id              bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    voter           text NOT NULL,
    source_height   bigint NOT NULL CHECK (source_height >= 0),
    source_hash     bytea NOT NULL CHECK (octet_length(source_hash) = 32),
    target_height   bigint NOT NULL CHECK (target_height > source_height),
    target_hash     bytea NOT NULL CHECK (octet_length(target_hash) = 32),
    own             boolean NOT NULL,
    seen_at_ms      bigint NOT NULL,
    raw             bytea NOT NULL
);

COMMENT ON TABLE votes IS 'Votes that this node has seen by gossip or in blocks, with a right signature; its own are written before they are sent.';
COMMENT ON COLUMN votes.id IS 'SHA-256 of raw.';
COMMENT ON COLUMN votes.own IS 'Cast by this ledger, and written before it was sent.';

CREATE INDEX votes_target ON votes (target_height, voter);
CREATE INDEX votes_voter ON votes (voter, target_height);
CREATE UNIQUE INDEX votes_own ON votes (target_height) WHERE own;

CREATE TABLE equivocations (
    first           bytea NOT NULL REFERENCES votes (id),
    second          bytea NOT NULL REFERENCES votes (id),
    voter           text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('double', 'surround')),
    seen_at_ms      bigint NOT NULL,
    PRIMARY KEY (first, second)
);

COMMENT ON TABLE equivocations IS 'Pairs of votes that no honest voter makes: both signatures together prove it.';
