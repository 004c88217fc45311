-- Forms that were filled in on the web page and wait for the application that brings their one-time token.

CREATE TABLE application_forms (
    token_hash      text PRIMARY KEY CHECK (token_hash ~ '^[0-9a-f]{64}$'),
    member          text NOT NULL,
    content         bytea,
    remote_address  text NOT NULL,
    made_ms         bigint NOT NULL,
    expires_ms      bigint NOT NULL,
    application     text REFERENCES applications (id),
    CHECK (content IS NULL OR application IS NULL)
);

COMMENT ON COLUMN application_forms.token_hash IS 'SHA-256 of the one-time token.';
COMMENT ON COLUMN application_forms.content IS 'Canonical ApplicationForm; NULL once an application has it, or the token has expired.';
COMMENT ON COLUMN application_forms.application IS 'The application that brought the token; NULL while it can be used.';

CREATE INDEX application_forms_expiry ON application_forms (expires_ms);
