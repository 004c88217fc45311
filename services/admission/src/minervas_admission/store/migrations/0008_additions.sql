-- Gateways and meters that members add: they wait in the same queue as applications.

ALTER TABLE applications
    ADD COLUMN kind text NOT NULL DEFAULT 'join' CHECK (kind IN ('join', 'add'));

COMMENT ON COLUMN applications.kind IS 'join: an Application; add: an Addition of a member.';

DROP INDEX applications_member;
CREATE UNIQUE INDEX applications_member ON applications (member) WHERE kind = 'join' AND state <> 'rejected';
CREATE UNIQUE INDEX applications_addition ON applications (member)
    WHERE kind = 'add' AND state IN ('pending', 'approving');

ALTER TABLE decisions
    DROP CONSTRAINT decisions_kind_check,
    ADD CONSTRAINT decisions_kind_check CHECK (kind IN
        ('approve', 'add', 'reject', 'revoke', 'reconcile', 'suspend', 'resume', 'leave', 'parameters'));
