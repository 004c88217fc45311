-- The newest presence of every member's processes, and applications whose personal data was deleted.

CREATE TABLE presence (
    principal               text PRIMARY KEY,
    member                  text NOT NULL REFERENCES members (member),
    state                   text NOT NULL CHECK (state IN ('online', 'offline')),
    since_ms                bigint NOT NULL,
    seen_ms                 bigint NOT NULL,
    sent_at_ms              bigint NOT NULL,
    version                 text NOT NULL CHECK (length(version) <= 64),
    certificate_expires_ms  bigint,
    tip_height              bigint,
    tip_hash                text,
    disk_use_per_mille      integer,
    spool_use_per_mille     integer,
    spool_readings          bigint,
    clock_synchronised      boolean,
    clock_offset_ms         bigint
);

COMMENT ON TABLE presence IS
    'Hints, not proofs: what members'' processes say of themselves. One row for each process that has a certificate.';
COMMENT ON COLUMN presence.since_ms IS 'When we noticed that it went online or offline.';
COMMENT ON COLUMN presence.seen_ms IS 'When we last heard of it.';
COMMENT ON COLUMN presence.tip_height IS 'NULL if it never told; the same holds for the columns below.';
COMMENT ON COLUMN presence.clock_offset_ms IS 'Its clock less ours when a message of it arrived.';

CREATE INDEX presence_member ON presence (member);

ALTER TABLE applications
    ADD COLUMN forgotten_ms bigint,
    ADD CONSTRAINT applications_forgotten CHECK (
        forgotten_ms IS NULL OR (name = '' AND contact = '' AND remote_address = '' AND content = ''));

COMMENT ON COLUMN applications.forgotten_ms IS 'When its personal data was deleted; NULL while it is there.';

CREATE INDEX applications_rejected ON applications (decided_ms) WHERE state = 'rejected' AND forgotten_ms IS NULL;
