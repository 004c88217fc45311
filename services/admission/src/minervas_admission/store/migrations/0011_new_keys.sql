-- New keys of members: replacements of lost nodes, and rotations.

ALTER TABLE applications ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT 'join';

COMMENT ON COLUMN applications.kind IS 'join: a new membership; replace: new keys of a member whose node was lost; rotate: of one that has its keys.';

-- A member id is taken once; while it is a member's, one request for new keys at a time may wait or be under way.
DROP INDEX IF EXISTS applications_member;
CREATE UNIQUE INDEX applications_member ON applications (member) WHERE kind = 'join' AND state <> 'rejected';
CREATE UNIQUE INDEX applications_new_keys ON applications (member)
    WHERE kind IN ('replace', 'rotate') AND state IN ('pending', 'approving');

-- Which kinds there are, the program knows: each has a saga of its own or is done with its row.
ALTER TABLE decisions DROP CONSTRAINT decisions_kind_check;
ALTER TABLE decisions ADD CONSTRAINT decisions_kind_check CHECK (kind ~ '^[a-z_]{1,32}$');

COMMENT ON COLUMN decisions.content IS 'Canonical JSON of what is to be changed; empty but for parameters and rotations.';
