-- What is needed so that others than the ledger may read here: Grafana, as a role of each member. Who sees what stands in
-- store/reader_rights.py and is set up by `migrate` after the migrations, in databases that have readers (schema access,
-- infra/postgres/readers.sql). Everywhere else this changes nothing.

-- Whose readings the session may see: NULL, which no row equals, for all but a member's open role. By the login role: a
-- setting could be changed by anybody who may send SQL, and Grafana's sessions are shared.
CREATE FUNCTION current_member() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regnamespace('access') IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT member FROM access.reader_roles WHERE role = session_user AND reach = 'own' AND closed_ms IS NULL
    );
END
$$;

REVOKE ALL ON FUNCTION current_member() FROM PUBLIC;

-- Days have row-level security of their own, and no right of anybody: they are reached through their parent, whose
-- policies count then. Their owner sees rows when the session may write readings, as the ledger's does.
CREATE FUNCTION protect_readings_day(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp
AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY,'
        ' ALTER power_mw SET STATISTICS 0, ALTER voltage_mv SET STATISTICS 0, ALTER current_ma SET STATISTICS 0,'
        ' ALTER energy_mwh SET STATISTICS 0, ALTER request SET STATISTICS 0, ALTER reply SET STATISTICS 0',
        name
    );
    EXECUTE format(
        'CREATE POLICY owner_rows ON %I TO CURRENT_USER'
        ' USING ((SELECT has_table_privilege(session_user, ''public.readings'', ''INSERT'')))',
        name
    );
END
$$;

REVOKE ALL ON FUNCTION protect_readings_day(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION make_readings_day(day integer) RETURNS void
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
    PERFORM protect_readings_day(name);
    EXECUTE format(
        'ALTER TABLE readings ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
        name, day::bigint * 86400000, (day::bigint + 1) * 86400000
    );
    IF session_user <> current_user THEN -- whatever default privileges gave: days are reached through their parent
        EXECUTE format('REVOKE ALL ON %I FROM %I', name, session_user);
    END IF;
END
$$;

DO $$
BEGIN
    PERFORM protect_readings_day(relname) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'readings'::regclass;
END
$$;

-- The planner's statistics are of all members' rows together, and EXPLAIN shows what it makes of them: none of what was
-- measured. Times, members and channels keep theirs; no index is chosen by these columns.
ALTER TABLE readings
    ALTER power_mw SET STATISTICS 0, ALTER voltage_mv SET STATISTICS 0, ALTER current_ma SET STATISTICS 0,
    ALTER energy_mwh SET STATISTICS 0, ALTER request SET STATISTICS 0, ALTER reply SET STATISTICS 0;
ALTER TABLE readings_minute
    ALTER power_min_mw SET STATISTICS 0, ALTER power_max_mw SET STATISTICS 0, ALTER power_avg_mw SET STATISTICS 0,
    ALTER power_sum_mw SET STATISTICS 0, ALTER first_mwh SET STATISTICS 0, ALTER last_mwh SET STATISTICS 0;
ALTER TABLE readings_hour
    ALTER power_min_mw SET STATISTICS 0, ALTER power_max_mw SET STATISTICS 0, ALTER power_avg_mw SET STATISTICS 0,
    ALTER power_sum_mw SET STATISTICS 0, ALTER first_mwh SET STATISTICS 0, ALTER last_mwh SET STATISTICS 0;
ALTER TABLE reading_conflicts ALTER reading SET STATISTICS 0, ALTER digest SET STATISTICS 0;
ALTER TABLE expected_output ALTER power_mw SET STATISTICS 0, ALTER rated_w SET STATISTICS 0;
