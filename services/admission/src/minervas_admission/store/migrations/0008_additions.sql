-- Gateways and meters that members add: they wait in the same queue as applications.

ALTER TABLE applications
    ADD COLUMN kind text NOT NULL DEFAULT 'join' CONSTRAINT applications_kind CHECK (kind ~ '^[a-z]{1,16}$');

COMMENT ON COLUMN applications.kind IS 'join: an Application; add: an Addition of a member.';

DROP INDEX applications_member;
CREATE UNIQUE INDEX applications_member ON applications (member) WHERE kind = 'join' AND state <> 'rejected';
CREATE UNIQUE INDEX applications_addition ON applications (member)
    WHERE kind = 'add' AND state IN ('pending', 'approving');

-- Which kinds of decisions there are is known to the program: each has a saga of its own.
ALTER TABLE decisions
    DROP CONSTRAINT decisions_kind_check,
    ADD CONSTRAINT decisions_kind_check CHECK (kind ~ '^[a-z][a-z_]{2,30}$');
