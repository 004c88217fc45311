-- Operators who log in with a browser, and their sessions.

CREATE TABLE operators (
    name            text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,31}$'),
    password_hash   text NOT NULL,
    must_change     boolean NOT NULL,
    created_ms      bigint NOT NULL,
    changed_ms      bigint NOT NULL,
    last_login_ms   bigint,
    disabled_ms     bigint
);

COMMENT ON COLUMN operators.password_hash IS 'Argon2id with its parameters and salt, in the encoded form.';
COMMENT ON COLUMN operators.must_change IS 'The password was generated; nothing else can be done before it is changed.';
COMMENT ON COLUMN operators.changed_ms IS 'When the password was last set.';
COMMENT ON COLUMN operators.disabled_ms IS 'Since when nobody can log in; NULL if they can.';

CREATE TABLE operator_sessions (
    token_hash      text PRIMARY KEY CHECK (token_hash ~ '^[0-9a-f]{64}$'),
    operator        text NOT NULL REFERENCES operators (name),
    created_ms      bigint NOT NULL,
    seen_ms         bigint NOT NULL
);

COMMENT ON COLUMN operator_sessions.token_hash IS 'SHA-256 of the secret in the cookie.';
COMMENT ON COLUMN operator_sessions.seen_ms IS 'When the operator last did something.';

CREATE INDEX operator_sessions_operator ON operator_sessions (operator);
