-- Readings for good: roll-ups of minutes and hours that only ever grow by what is new, what of which spool was stored,
-- the batches that gateways signed, readings with impossible times, days that were moved into archives, and who is there.

ALTER TABLE readings DROP CONSTRAINT readings_quality_check;
ALTER TABLE readings DROP CONSTRAINT readings_check;
ALTER TABLE readings ADD CHECK (quality IN ('measured', 'substituted', 'missing'));
ALTER TABLE readings ADD CHECK ((quality = 'measured') = (fault IS NULL));

COMMENT ON COLUMN readings.quality IS 'A substituted one has values that stand for those that could not be measured.';

DROP TABLE readings_minute;

CREATE TABLE readings_minute (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    minute_ms         bigint NOT NULL CHECK (minute_ms % 60000 = 0),
    measured          integer NOT NULL,
    substituted       integer NOT NULL,
    missing           integer NOT NULL,
    power_min_mw      bigint,
    power_max_mw      bigint,
    power_avg_mw      bigint GENERATED ALWAYS AS (round(power_sum_mw / nullif(powers, 0))::bigint) STORED,
    powers            integer NOT NULL,
    power_sum_mw      numeric NOT NULL,
    first_ms          bigint,
    first_mwh         bigint,
    last_ms           bigint,
    last_mwh          bigint,
    PRIMARY KEY (member, meter, channel, minute_ms)
);

COMMENT ON TABLE readings_minute IS 'Roll-up of readings, kept at write. It stays when its readings go into an archive.';
COMMENT ON COLUMN readings_minute.powers IS 'Readings with a power; power_sum_mw is the sum of these.';
COMMENT ON COLUMN readings_minute.power_avg_mw IS 'Mean of the samples with a power, rounded.';
COMMENT ON COLUMN readings_minute.first_ms IS 'First sample of the minute with an energy register; first_mwh is that register.';
COMMENT ON COLUMN readings_minute.last_mwh IS 'Energy of any span is the difference of two registers.';

CREATE TABLE readings_hour (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    hour_ms           bigint NOT NULL CHECK (hour_ms % 3600000 = 0),
    measured          integer NOT NULL,
    substituted       integer NOT NULL,
    missing           integer NOT NULL,
    power_min_mw      bigint,
    power_max_mw      bigint,
    power_avg_mw      bigint GENERATED ALWAYS AS (round(power_sum_mw / nullif(powers, 0))::bigint) STORED,
    powers            integer NOT NULL,
    power_sum_mw      numeric NOT NULL,
    first_ms          bigint,
    first_mwh         bigint,
    last_ms           bigint,
    last_mwh          bigint,
    PRIMARY KEY (member, meter, channel, hour_ms)
);

COMMENT ON TABLE readings_hour IS 'As readings_minute, by hours of UTC.';

INSERT INTO readings_minute (
    member, meter, channel, minute_ms, measured, substituted, missing, power_min_mw, power_max_mw, powers, power_sum_mw,
    first_ms, first_mwh, last_ms, last_mwh
)
SELECT member, meter, channel, time_ms - time_ms % 60000,
    count(*) FILTER (WHERE quality = 'measured'), 0, count(*) FILTER (WHERE quality = 'missing'),
    min(power_mw), max(power_mw), count(power_mw), coalesce(sum(power_mw), 0),
    (min(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[1],
    (min(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[2],
    (max(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[1],
    (max(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[2]
FROM readings GROUP BY 1, 2, 3, 4;

INSERT INTO readings_hour (
    member, meter, channel, hour_ms, measured, substituted, missing, power_min_mw, power_max_mw, powers, power_sum_mw,
    first_ms, first_mwh, last_ms, last_mwh
)
SELECT member, meter, channel, time_ms - time_ms % 3600000,
    count(*) FILTER (WHERE quality = 'measured'), 0, count(*) FILTER (WHERE quality = 'missing'),
    min(power_mw), max(power_mw), count(power_mw), coalesce(sum(power_mw), 0),
    (min(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[1],
    (min(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[2],
    (max(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[1],
    (max(ARRAY[time_ms, energy_mwh]) FILTER (WHERE energy_mwh IS NOT NULL))[2]
FROM readings GROUP BY 1, 2, 3, 4;

CREATE TABLE reading_runs (
    member            text NOT NULL,
    spool             bytea NOT NULL CHECK (octet_length(spool) = 16),
    first             bigint NOT NULL CHECK (first >= 0),
    last              bigint NOT NULL CHECK (last >= first),
    PRIMARY KEY (member, spool, first)
);

COMMENT ON TABLE reading_runs IS 'Which readings of each spool were ever stored: runs of numbers without gaps.';

CREATE TABLE reading_batches (
    member            text NOT NULL,
    spool             bytea NOT NULL CHECK (octet_length(spool) = 16),
    first             bigint NOT NULL,
    last              bigint NOT NULL CHECK (last >= first),
    sequences         bigint[] NOT NULL,
    first_ms          bigint NOT NULL,
    last_ms           bigint NOT NULL,
    gateway           bytea NOT NULL CHECK (octet_length(gateway) = 32),
    signature         bytea NOT NULL CHECK (octet_length(signature) = 64),
    whole             bytea,
    PRIMARY KEY (member, spool, last, signature)
);

COMMENT ON TABLE reading_batches IS 'What our gateways signed, so that the operator''s ledger can check what it missed.';
COMMENT ON COLUMN reading_batches.sequences IS 'Numbers of its readings, in its order; the readings themselves are in readings.';
COMMENT ON COLUMN reading_batches.whole IS 'The batch itself, if readings does not have all of it: conflicts, or impossible times.';

CREATE INDEX reading_batches_time ON reading_batches (last_ms);

CREATE TABLE readings_aside (
    member            text NOT NULL,
    spool             bytea NOT NULL CHECK (octet_length(spool) = 16),
    sequence          bigint NOT NULL,
    digest            bytea NOT NULL CHECK (octet_length(digest) = 32),
    time_ms           bigint NOT NULL,
    reading           bytea NOT NULL,
    gateway           bytea NOT NULL CHECK (octet_length(gateway) = 32),
    stored_ms         bigint NOT NULL,
    PRIMARY KEY (member, spool, sequence, digest)
);

COMMENT ON TABLE readings_aside IS 'Readings from before the consortium or far in the future, put aside until their time comes.';
COMMENT ON COLUMN readings_aside.reading IS 'Canonical bytes; digest is their SHA-256.';

CREATE INDEX readings_aside_time ON readings_aside (time_ms);

CREATE TABLE reading_archives (
    day               integer NOT NULL,
    part              integer NOT NULL CHECK (part >= 1),
    file              text NOT NULL UNIQUE,
    readings          bigint NOT NULL CHECK (readings > 0),
    bytes             bigint NOT NULL CHECK (bytes > 0),
    sha256            bytea NOT NULL CHECK (octet_length(sha256) = 32),
    archived_ms       bigint NOT NULL,
    PRIMARY KEY (day, part)
);

COMMENT ON TABLE reading_archives IS 'Days whose readings are in files, and no longer here. Parts: readings that came later.';
COMMENT ON COLUMN reading_archives.day IS 'Days since the epoch, UTC.';
COMMENT ON COLUMN reading_archives.sha256 IS 'Of the file.';

CREATE TABLE statement_checks (
    statement         bytea PRIMARY KEY CHECK (octet_length(statement) = 32),
    result            text NOT NULL CHECK (result IN ('match', 'mismatch', 'incomplete')),
    readings          bigint NOT NULL,
    checked_ms        bigint NOT NULL
);

COMMENT ON TABLE statement_checks IS 'Final statements of our own gateways, compared with the stored readings.';
COMMENT ON COLUMN statement_checks.result IS 'incomplete: not as many readings are stored as the statement counts.';

CREATE TABLE fleet (
    member                  text NOT NULL,
    service                 text NOT NULL,
    state                   text NOT NULL CHECK (state IN ('online', 'offline')),
    version                 text NOT NULL,
    last_seen_ms            bigint,
    changed_ms              bigint NOT NULL,
    certificate_expires_ms  bigint,
    tip_height              bigint,
    tip_hash                bytea,
    disk_use_per_mille     integer,
    spool_use_per_mille    integer,
    clock_offset_ms         bigint,
    low_disk                text,
    PRIMARY KEY (member, service)
);

COMMENT ON TABLE fleet IS 'What every service last said of itself; only in the operator''s ledger. Hints, not proofs.';
COMMENT ON COLUMN fleet.last_seen_ms IS 'Our clock when it last said that it is there; NULL if it never did while we listened.';
COMMENT ON COLUMN fleet.changed_ms IS 'Our clock when the state last changed.';
COMMENT ON COLUMN fleet.clock_offset_ms IS 'Its clock less ours when a message came: includes the time on the way.';

-- Dropping a day is done by the owner for the writer, and only if the day has exactly as many readings as were archived:
-- readings are never changed, so these are the same. Batches and the day go together.
CREATE FUNCTION drop_readings_day(
    for_day integer, for_part integer, with_file text, with_readings bigint, with_bytes bigint, with_sha256 bytea,
    at_ms bigint
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s'
AS $$
DECLARE
    name text := 'readings_' || to_char(to_timestamp(for_day::bigint * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD');
    found bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('make_readings_day'));
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', name);
    EXECUTE format('SELECT count(*) FROM %I', name) INTO found;
    IF found <> with_readings THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', name);
    DELETE FROM reading_batches
        WHERE last_ms >= for_day::bigint * 86400000 AND last_ms < (for_day::bigint + 1) * 86400000;
    INSERT INTO reading_archives (day, part, file, readings, bytes, sha256, archived_ms)
        VALUES (for_day, for_part, with_file, with_readings, with_bytes, with_sha256, at_ms);
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION drop_readings_day(integer, integer, text, bigint, bigint, bytea, bigint) FROM PUBLIC;
