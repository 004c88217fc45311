-- Members can leave and be suspended.

ALTER TABLE roster RENAME COLUMN revoked_height TO ended_height;
ALTER TABLE roster DROP CONSTRAINT roster_status_check;
ALTER TABLE roster DROP CONSTRAINT roster_check;
ALTER TABLE roster
    ADD COLUMN suspended_height bigint NOT NULL DEFAULT 0 CHECK (suspended_height >= 0),
    ADD CONSTRAINT roster_status_check CHECK (status IN ('active', 'revoked', 'left')),
    ADD CONSTRAINT roster_check CHECK ((status = 'active') = (ended_height = 0));

COMMENT ON COLUMN roster.ended_height IS 'Block that revoked the member or with which it left; 0 while active.';
COMMENT ON COLUMN roster.suspended_height IS 'Block that took the vote away; 0 while the member has it.';
