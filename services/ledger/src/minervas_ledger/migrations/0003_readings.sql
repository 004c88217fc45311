-- Readings as the gateways sent them, and their roll-up. Not part of the chain: a statement's readings_root ties them
-- to it. Times in milliseconds since the epoch, UTC.

CREATE TABLE readings (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    time_ms           bigint NOT NULL,
    spool             bytea NOT NULL CHECK (octet_length(spool) = 16),
    sequence          bigint NOT NULL,
    quality           text NOT NULL CHECK (quality IN ('measured', 'missing')),
    power_mw          bigint,
    voltage_mv        bigint,
    current_ma        bigint,
    energy_mwh        bigint,
    fault             text,
    request           bytea NOT NULL,
    reply             bytea NOT NULL,
    stored_ms         bigint NOT NULL,
    PRIMARY KEY (member, meter, channel, time_ms, spool, sequence),
    CHECK ((quality = 'missing') = (fault IS NOT NULL))
) PARTITION BY RANGE (time_ms);

COMMENT ON TABLE readings IS 'One row for each sample of a channel; a partition for each day, UTC.';
COMMENT ON COLUMN readings.spool IS 'Random id of the gateway''s spool file; sequence counts within it.';
COMMENT ON COLUMN readings.power_mw IS 'NULL when nothing was measured, like all values.';
COMMENT ON COLUMN readings.request IS 'The Modbus request as it went over the wire.';
COMMENT ON COLUMN readings.stored_ms IS 'Clock of the ledger when it wrote the row.';

CREATE TABLE reading_conflicts (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    time_ms           bigint NOT NULL,
    spool             bytea NOT NULL,
    sequence          bigint NOT NULL,
    digest            bytea NOT NULL CHECK (octet_length(digest) = 32),
    reading           bytea NOT NULL,
    gateway           bytea NOT NULL,
    stored_ms         bigint NOT NULL,
    PRIMARY KEY (member, meter, channel, time_ms, spool, sequence, digest)
);

COMMENT ON TABLE reading_conflicts IS 'Readings that came with other content than the stored one of the same key.';
COMMENT ON COLUMN reading_conflicts.reading IS 'Canonical bytes; digest is their SHA-256.';
COMMENT ON COLUMN reading_conflicts.gateway IS 'Key that signed it.';

CREATE TABLE readings_minute (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    minute_ms         bigint NOT NULL CHECK (minute_ms % 60000 = 0),
    measured          integer NOT NULL,
    missing           integer NOT NULL,
    power_min_mw      bigint,
    power_max_mw      bigint,
    power_avg_mw      bigint,
    first_ms          bigint,
    first_mwh         bigint,
    last_ms           bigint,
    last_mwh          bigint,
    PRIMARY KEY (member, meter, channel, minute_ms)
);

COMMENT ON TABLE readings_minute IS 'Roll-up of readings, kept at write.';
COMMENT ON COLUMN readings_minute.power_avg_mw IS 'Mean of the measured samples, rounded.';
COMMENT ON COLUMN readings_minute.first_ms IS 'First sample of the minute with an energy register; first_mwh is that register.';
COMMENT ON COLUMN readings_minute.last_mwh IS 'Energy of any span is the difference of two registers.';

CREATE TABLE reading_channels (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    stored            bigint NOT NULL,
    conflicts         bigint NOT NULL,
    newest_ms         bigint NOT NULL,
    PRIMARY KEY (member, meter, channel)
);

COMMENT ON TABLE reading_channels IS 'How many readings of each channel were ever stored, and the time of the newest.';

-- The writer has no right to make tables, but days come by themselves: it may make exactly this kind. Attaching locks
-- out neither readers nor writers of the other days.
CREATE FUNCTION make_readings_day(day integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    name text := 'readings_' || to_char(to_timestamp(day::bigint * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('make_readings_day'));
    IF to_regclass(format('public.%I', name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE readings INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)', name);
    EXECUTE format(
        'ALTER TABLE readings ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
        name, day::bigint * 86400000, (day::bigint + 1) * 86400000
    );
    IF session_user <> current_user THEN -- whatever default privileges gave: days are reached through their parent
        EXECUTE format('REVOKE ALL ON %I FROM %I', name, session_user);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION make_readings_day(integer) FROM PUBLIC;
