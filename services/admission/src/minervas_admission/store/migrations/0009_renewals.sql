-- Renewals of members' certificates: which request led to which certificates.

CREATE TABLE renewals (
    id              text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{64}$'),
    member          text NOT NULL REFERENCES members (member),
    received_ms     bigint NOT NULL
);

COMMENT ON COLUMN renewals.id IS 'SHA-256 of the canonical bytes as they were received.';

CREATE INDEX renewals_member ON renewals (member, received_ms);

-- A certificate that was made for one renewal is given again to a later one of the same key.
CREATE TABLE renewed_certificates (
    renewal         text NOT NULL REFERENCES renewals (id),
    serial          text NOT NULL REFERENCES certificates (serial),
    PRIMARY KEY (renewal, serial)
);

-- Which principals' last certificates end, and which certificates have a successor.
CREATE INDEX certificates_principal ON certificates (principal, not_after_ms);
