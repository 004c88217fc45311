-- Suspended votes, leaving, and changes of parameters, decided by the operator.

ALTER TABLE decisions
    DROP CONSTRAINT decisions_kind_check,
    ADD CONSTRAINT decisions_kind_check CHECK (kind IN
        ('approve', 'reject', 'revoke', 'reconcile', 'suspend', 'resume', 'leave', 'parameters')),
    DROP CONSTRAINT decisions_state_check,
    ADD CONSTRAINT decisions_state_check CHECK (state IN ('queued', 'carried_out', 'done', 'superseded', 'refused')),
    ADD COLUMN content text NOT NULL DEFAULT '',
    ADD COLUMN outcome text NOT NULL DEFAULT '';

COMMENT ON COLUMN decisions.state IS
    'queued: the service works on it; carried_out: all but its confirmation on chain; done; superseded by a later one; '
    'refused: when its turn came, the rules no longer allowed it.';
COMMENT ON COLUMN decisions.content IS 'Canonical JSON of what is to be changed; empty but for kind parameters.';
COMMENT ON COLUMN decisions.outcome IS 'Why it was superseded; the error (code: text) for which it was refused.';

ALTER TABLE members RENAME COLUMN revoked_ms TO ended_ms;
ALTER TABLE members RENAME COLUMN revocation_reason TO end_reason;
ALTER TABLE members
    DROP CONSTRAINT members_state_check,
    ADD CONSTRAINT members_state_check CHECK (state IN ('approving', 'active', 'revoked', 'left')),
    DROP CONSTRAINT members_check,
    ADD CONSTRAINT members_ended CHECK ((state IN ('revoked', 'left')) = (ended_ms IS NOT NULL)),
    ADD COLUMN suspended_ms bigint;

COMMENT ON COLUMN members.suspended_ms IS 'When its vote was taken away; NULL while it has it.';

ALTER TABLE applications
    DROP CONSTRAINT applications_state_check,
    ADD CONSTRAINT applications_state_check CHECK (state IN
        ('pending', 'approving', 'approved', 'rejected', 'revoked', 'left'));

ALTER TABLE membership_transactions
    DROP CONSTRAINT membership_transactions_about,
    ADD CONSTRAINT membership_transactions_about CHECK (
        (member IS NULL) = (action IN ('parameters', 'authority')) AND (member IS NULL OR decision IS NOT NULL)),
    ADD CONSTRAINT membership_transactions_decided CHECK (action <> 'parameters' OR decision IS NOT NULL);

CREATE INDEX membership_transactions_decision ON membership_transactions (decision);
