-- Admission: applications, members, certificates, membership transactions, the operator's decisions and what became
-- of them, and the audit log. Hashes and keys are lower-case hex, times milliseconds since the epoch, UTC.

CREATE TABLE applications (
    id              text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
    member          text NOT NULL,
    name            text NOT NULL,
    contact         text NOT NULL,
    content         bytea NOT NULL,
    fingerprint     text NOT NULL,
    token_hash      text NOT NULL,
    remote_address  text NOT NULL,
    received_ms     bigint NOT NULL,
    state           text NOT NULL CHECK (state IN ('pending', 'approving', 'approved', 'rejected', 'revoked')),
    reason          text NOT NULL DEFAULT '',
    decided_ms      bigint
);

COMMENT ON COLUMN applications.content IS 'The canonical bytes as they were received.';
COMMENT ON COLUMN applications.token_hash IS 'SHA-256 of the secret with which the applicant asks for the state.';

-- A member id is taken as soon as somebody applies for it and never used again; only a rejection frees it.
CREATE UNIQUE INDEX applications_member ON applications (member) WHERE state <> 'rejected';

-- Every public key that is or ever was in use, whatever for; a rejection frees the keys of its application.
CREATE TABLE claimed_keys (
    key_id          text PRIMARY KEY CHECK (key_id ~ '^[0-9a-f]{64}$'),
    member          text NOT NULL,
    purpose         text NOT NULL,
    application     text REFERENCES applications (id)
);

CREATE INDEX claimed_keys_application ON claimed_keys (application);

CREATE TABLE members (
    member              text PRIMARY KEY,
    application         text NOT NULL REFERENCES applications (id),
    state               text NOT NULL CHECK (state IN ('approving', 'active', 'revoked')),
    approved_ms         bigint NOT NULL,
    revoked_ms          bigint,
    revocation_reason   text NOT NULL DEFAULT '',
    CHECK ((state = 'revoked') = (revoked_ms IS NOT NULL))
);

CREATE TABLE certificates (
    serial          text PRIMARY KEY CHECK (serial ~ '^[0-9a-f]{1,40}$'),
    principal       text NOT NULL,
    member          text NOT NULL,
    purpose         text NOT NULL CHECK (purpose IN ('client', 'server')),
    key_id          text NOT NULL,
    not_before_ms   bigint NOT NULL,
    not_after_ms    bigint NOT NULL,
    pem             text NOT NULL,
    revoked_ms      bigint
);

CREATE INDEX certificates_member ON certificates (member);

CREATE TABLE decisions (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('approve', 'reject', 'revoke', 'reconcile')),
    member          text,
    application     text REFERENCES applications (id),
    reason          text NOT NULL DEFAULT '',
    who             text NOT NULL,
    made_ms         bigint NOT NULL,
    state           text NOT NULL CHECK (state IN ('queued', 'carried_out', 'done', 'superseded')),
    finished_ms     bigint
);

COMMENT ON COLUMN decisions.state IS
    'queued: the service works on it; carried_out: all but its confirmation on chain; done; superseded by a later one.';

CREATE INDEX decisions_open ON decisions (id) WHERE state = 'queued';

CREATE TABLE saga_steps (
    entry           bigint GENERATED ALWAYS AS IDENTITY,
    decision        bigint NOT NULL REFERENCES decisions (id),
    step            text NOT NULL,
    state           text NOT NULL CHECK (state IN ('failing', 'done')),
    attempts        integer NOT NULL CHECK (attempts > 0),
    started_ms      bigint NOT NULL,
    finished_ms     bigint NOT NULL,
    took_us         bigint NOT NULL,
    detail          text NOT NULL,
    PRIMARY KEY (decision, step)
);

COMMENT ON COLUMN saga_steps.entry IS 'Rises in the order in which the steps of a decision were first recorded.';
COMMENT ON COLUMN saga_steps.started_ms IS 'When the first attempt began.';
COMMENT ON COLUMN saga_steps.took_us IS 'Duration of the last attempt in microseconds, on a monotonic clock.';
COMMENT ON COLUMN saga_steps.detail IS 'What was done, or why the last attempt failed.';

CREATE TABLE membership_transactions (
    number          bigint PRIMARY KEY CHECK (number >= 0),
    id              text NOT NULL UNIQUE CHECK (id ~ '^[0-9a-f]{64}$'),
    member          text NOT NULL REFERENCES members (member),
    action          text NOT NULL CHECK (action IN ('admit', 'revoke', 'register_meter')),
    decision        bigint NOT NULL REFERENCES decisions (id),
    raw             bytea NOT NULL,
    expires_height  bigint NOT NULL,
    signed_ms       bigint NOT NULL,
    state           text NOT NULL CHECK (state IN ('open', 'settled', 'expired', 'moot')),
    height          bigint NOT NULL DEFAULT 0,
    depth           bigint NOT NULL DEFAULT 0
);

COMMENT ON COLUMN membership_transactions.number IS 'Order of signing, from 0, without gaps.';
COMMENT ON COLUMN membership_transactions.state IS
    'open: published until the operator''s peer reports it deep enough; expired: no block can carry it any more; '
    'moot: a revocation of a member whose admission expired.';
COMMENT ON COLUMN membership_transactions.height IS 'Block that carries it as last reported; 0 if none does.';

CREATE INDEX membership_transactions_open ON membership_transactions (number) WHERE state = 'open';
CREATE INDEX membership_transactions_member ON membership_transactions (member);

-- The chain as the operator member's peer last reported it; expiry heights of new transactions start from it.
CREATE TABLE operator_tip (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    height          bigint NOT NULL,
    reported_ms     bigint NOT NULL
);

INSERT INTO operator_tip (height, reported_ms) VALUES (0, 0);

-- Who did what and when. Each entry's hash covers the entry and the hash of the one before it.
CREATE TABLE audit_log (
    number          bigint PRIMARY KEY CHECK (number > 0),
    time_ms         bigint NOT NULL,
    who             text NOT NULL,
    action          text NOT NULL,
    subject         text NOT NULL,
    details         text NOT NULL,
    hash            text NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$')
);

COMMENT ON COLUMN audit_log.details IS 'Canonical JSON object of strings.';

-- Number and hash of the newest entry, so that a missing end shows too.
CREATE TABLE audit_head (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number          bigint NOT NULL,
    hash            text NOT NULL
);

INSERT INTO audit_head (number, hash) VALUES (0, repeat('0', 64));

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
