-- Replacing the CA: which CA signed a certificate, and decisions about it.

ALTER TABLE certificates ADD COLUMN issuer text NOT NULL DEFAULT '' CHECK (issuer ~ '^([0-9a-f]{40})?$');

COMMENT ON COLUMN certificates.issuer IS 'Key identifier of the CA that signed it; a revoked one without goes on every list.';

CREATE INDEX certificates_issuer ON certificates (issuer);

-- Kinds of decisions are those that the program knows: a list here would have to be written again with each new one.
ALTER TABLE decisions
    DROP CONSTRAINT decisions_kind_check,
    ADD CONSTRAINT decisions_kind_check CHECK (kind ~ '^[a-z][a-z_]{2,30}$');

COMMENT ON COLUMN decisions.content IS
    'Canonical JSON of what is to be changed, for kind parameters; "force" for a step of a change of CAs that was forced.';
