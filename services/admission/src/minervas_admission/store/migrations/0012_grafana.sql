-- Who has access to Grafana, and the one-time links with which members set their passwords there.

CREATE TABLE grafana_access (
    member            text PRIMARY KEY,
    org_name          text NOT NULL UNIQUE,
    org_id            bigint,
    user_id           bigint,
    reader_role       text NOT NULL DEFAULT '',
    source_hash       text NOT NULL DEFAULT '',
    dashboards        text[] NOT NULL DEFAULT '{}',
    dashboards_hash   text NOT NULL DEFAULT '',
    language          text NOT NULL DEFAULT '' CHECK (language IN ('', 'ko', 'en')),
    state             text NOT NULL DEFAULT 'opening' CHECK (state IN ('opening', 'open', 'closing', 'closed')),
    opened_ms         bigint,
    checked_ms        bigint,
    password_ms       bigint,
    reader_closed_ms  bigint,
    closed_ms         bigint,
    sessions_ended    integer NOT NULL DEFAULT 0,
    problem           text NOT NULL DEFAULT ''
);

COMMENT ON TABLE grafana_access IS 'Access of members to Grafana; consortium is the operator''s organisation.';
COMMENT ON COLUMN grafana_access.org_name IS 'Random, but for the operator''s: members see the names of organisations nowhere else.';
COMMENT ON COLUMN grafana_access.user_id IS 'Grafana''s; NULL for the operator''s organisation, whose users Grafana''s admin makes.';
COMMENT ON COLUMN grafana_access.source_hash IS 'Of the data source as it was given; empty while Grafana may not have the role''s password.';
COMMENT ON COLUMN grafana_access.dashboards IS 'Uids of the dashboards that Grafana was given.';
COMMENT ON COLUMN grafana_access.language IS 'That the member chose; empty: the consortium''s.';
COMMENT ON COLUMN grafana_access.checked_ms IS 'When a query through Grafana last showed exactly this member.';
COMMENT ON COLUMN grafana_access.password_ms IS 'When the member last set its password, which is nowhere here.';
COMMENT ON COLUMN grafana_access.problem IS 'Why the last attempt failed; empty after a good one.';

CREATE TABLE grafana_links (
    token_hash        text PRIMARY KEY,
    member            text NOT NULL REFERENCES grafana_access (member),
    made_ms           bigint NOT NULL,
    expires_ms        bigint NOT NULL,
    used_ms           bigint
);

COMMENT ON TABLE grafana_links IS 'One-time links; the token itself is only in the link.';

-- A new link ends those before.
CREATE UNIQUE INDEX grafana_links_one ON grafana_links (member) WHERE used_ms IS NULL;
