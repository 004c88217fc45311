-- Lots that were joined from several, and lots that were claimed as used.
--
-- A chain stored before cannot be carried over: the undo data in blocks have the old form of a lot. On a database with
-- lots this fails, by NOT NULL, before it changes anything.

ALTER TABLE lots
    DROP COLUMN origin,
    ADD COLUMN origins bytea[] NOT NULL,
    ADD COLUMN origin_wh bigint[] NOT NULL,
    ADD COLUMN joined bytea[] NOT NULL,
    ADD CHECK (cardinality(origins) = cardinality(origin_wh) AND cardinality(origins) > 0);

COMMENT ON COLUMN lots.parent IS
    'Lot from which it was split off; or its own id, that of the statement or merge that made it.';
COMMENT ON COLUMN lots.origins IS 'Statements at the root, by id: meter, channel and time.';
COMMENT ON COLUMN lots.origin_wh IS 'Energy from each of origins.';
COMMENT ON COLUMN lots.joined IS 'Lots that a merge joined into this one, in its order; empty for any other.';
COMMENT ON COLUMN lots.spent_height IS 'Block in which it was sold, split, merged or retired; NULL while it exists.';

CREATE TABLE retirements (
    height            bigint NOT NULL CHECK (height > 0),
    position          integer NOT NULL CHECK (position >= 0),
    transaction       bytea NOT NULL CHECK (octet_length(transaction) = 32),
    owner             text NOT NULL,
    lot               bytea NOT NULL CHECK (octet_length(lot) = 32),
    energy_wh         bigint NOT NULL CHECK (energy_wh > 0),
    origins           bytea[] NOT NULL,
    origin_wh         bigint[] NOT NULL,
    PRIMARY KEY (height, position),
    CHECK (cardinality(origins) = cardinality(origin_wh) AND cardinality(origins) > 0)
);

COMMENT ON TABLE retirements IS 'Lots that their owners claimed as used, on the best chain.';
COMMENT ON COLUMN retirements.position IS 'Number of the retired lot within its block, from 0.';
COMMENT ON COLUMN retirements.origins IS 'Statements that its energy came from, by id.';
COMMENT ON COLUMN retirements.origin_wh IS 'Energy from each of origins.';

CREATE UNIQUE INDEX retirements_lot ON retirements (lot);
CREATE INDEX retirements_owner ON retirements (owner, height, position);
