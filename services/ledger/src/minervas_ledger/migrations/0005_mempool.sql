-- The queue: what was accepted and waits for a block. It does not follow from the chain; at start every row goes through
-- all checks again.

CREATE TABLE mempool (
    id                bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    arrival           bigint GENERATED ALWAYS AS IDENTITY,
    raw               bytea NOT NULL
);

COMMENT ON TABLE mempool IS 'Accepted transactions that no block of the best chain carries yet.';
COMMENT ON COLUMN mempool.arrival IS 'Order in which they came.';
COMMENT ON COLUMN mempool.raw IS 'The canonical bytes as they were received.';
