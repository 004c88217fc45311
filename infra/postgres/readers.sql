-- Readers of the operator's ledger database: Grafana's roles, one for each member, and who may open and close them.
--
-- A superuser runs this once in the operator's ledger database, before `minervas-ledger migrate`, and again whenever it
-- changes: it may be repeated. Other members' databases do without it; there, nobody but the ledger reads.
--
--     psql --set ON_ERROR_STOP=1 --command "SET minervas.writer = 'ledger'; SET minervas.access = 'admission_access'" \
--          --file readers.sql DATABASE        # both roles exist; the first works as the ledger, the second is admission's
--
-- member_readers   sees its own readings and everybody's chain (services/ledger, store/reader_rights.py says what)
-- fleet_readers    sees everybody's, for the operator
-- reader_keeper    makes the login roles. Nobody logs in as it or is a member of it; it only owns the functions below,
--                  which make roles of this one kind. On PostgreSQL 15 CREATEROLE is a right over all roles: this is why
--                  neither admission nor the ledger's owner has it.

SET client_min_messages = warning;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['member_readers', 'fleet_readers', 'reader_keeper'] LOOP
        IF to_regrole(wanted) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    ALTER ROLE reader_keeper NOLOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS;
    ALTER ROLE member_readers NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    ALTER ROLE fleet_readers NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    GRANT member_readers, fleet_readers TO reader_keeper WITH ADMIN OPTION;
END
$$;

CREATE SCHEMA IF NOT EXISTS access;
ALTER SCHEMA access OWNER TO reader_keeper;

CREATE TABLE IF NOT EXISTS access.reader_roles (
    role              text PRIMARY KEY CHECK (role ~ '^gm_[0-9a-f]{16}$'),
    member            text NOT NULL UNIQUE,
    reach             text NOT NULL CHECK (reach IN ('own', 'all')),
    opened_ms         bigint NOT NULL,
    closed_ms         bigint
);
ALTER TABLE access.reader_roles OWNER TO reader_keeper;
COMMENT ON TABLE access.reader_roles IS 'Login roles of readers. Their names are random: every role can read all names.';
COMMENT ON COLUMN access.reader_roles.member IS 'Whose readings it sees; consortium for the operator''s.';
COMMENT ON COLUMN access.reader_roles.closed_ms IS 'When it was closed: it sees nothing of its own since. NULL while open.';

-- Opens the reader of a member, or of the operator (consortium): a new role, or the one that there is with a new
-- password. The password comes as its SCRAM verifier, so that it stands in no log of the server.
CREATE OR REPLACE FUNCTION access.open_reader(for_member text, verifier text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_fleet constant boolean := for_member = 'consortium';
    name text;
    place name;
    setting text;
BEGIN
    IF for_member !~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$' THEN
        RAISE EXCEPTION 'not a member id' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF verifier !~ '^SCRAM-SHA-256\$[0-9]{4,7}:[A-Za-z0-9+/=]{16,64}\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}$' THEN
        RAISE EXCEPTION 'not a SCRAM-SHA-256 verifier' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE access.reader_roles IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO access.reader_roles (role, member, reach, opened_ms) VALUES (
        'gm_' || left(encode(sha256(convert_to(gen_random_uuid()::text, 'UTF8')), 'hex'), 16),
        for_member,
        CASE WHEN is_fleet THEN 'all' ELSE 'own' END,
        extract(epoch FROM clock_timestamp()) * 1000
    )
    ON CONFLICT (member) DO UPDATE SET closed_ms = NULL
    RETURNING role INTO name;
    IF to_regrole(name) IS NULL THEN -- new, or a restored database on a new server
        EXECUTE format(
            'CREATE ROLE %I NOLOGIN INHERIT CONNECTION LIMIT 6 IN ROLE %I ROLE reader_keeper',
            name, CASE WHEN is_fleet THEN 'fleet_readers' ELSE 'member_readers' END
        );
    END IF;
    -- Each time: every role may change its own settings and password, and a member may send any SQL. One by one, because
    -- some can not be reset here, such as `role`; they change nothing of what the session user sees.
    FOR place, setting IN
        SELECT datname, split_part(unnest(setconfig), '=', 1)
            FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase
            WHERE setrole = to_regrole(name) AND setrole <> 0
    LOOP
        BEGIN
            EXECUTE format('ALTER ROLE %I ', name)
                || CASE WHEN place IS NULL THEN '' ELSE format('IN DATABASE %I ', place) END || format('RESET %I', setting);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
    EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = on', name);
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', name, '20s');
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', name, '10s');
    EXECUTE format('ALTER ROLE %I SET timezone = %L', name, 'UTC');
    -- Compiling a query over many days takes seconds, and running it milliseconds.
    EXECUTE format('ALTER ROLE %I SET jit = off', name);
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', name, verifier);
    RETURN name;
END
$$;

-- Closes the reader of a member: it sees nothing of its own from the moment this is committed, and no new session starts.
-- Returns whether there is one. Sessions are ended by a call of their own, after the commit: before it, they would come
-- again.
CREATE OR REPLACE FUNCTION access.close_reader(for_member text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text;
BEGIN
    UPDATE access.reader_roles
        SET closed_ms = coalesce(closed_ms, extract(epoch FROM clock_timestamp()) * 1000)
        WHERE member = for_member RETURNING role INTO name;
    IF name IS NULL THEN
        RETURN false;
    END IF;
    IF to_regrole(name) IS NOT NULL THEN
        EXECUTE format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name);
    END IF;
    RETURN true;
END
$$;

-- Ends the sessions of a closed reader; returns how many there were.
CREATE OR REPLACE FUNCTION access.end_sessions(for_member text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended integer;
BEGIN
    SELECT count(*) FILTER (WHERE pg_terminate_backend(activity.pid)) INTO ended
        FROM pg_stat_activity AS activity JOIN access.reader_roles AS reader ON reader.role = activity.usename
        WHERE reader.member = for_member AND reader.closed_ms IS NOT NULL;
    RETURN ended;
END
$$;

-- All readers, and whether each can log in.
CREATE OR REPLACE FUNCTION access.list_readers()
    RETURNS TABLE (role text, member text, reach text, open boolean, sessions bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT reader.role, reader.member, reader.reach,
        reader.closed_ms IS NULL AND coalesce((SELECT rolcanlogin FROM pg_roles WHERE rolname = reader.role), false),
        (SELECT count(*) FROM pg_stat_activity WHERE usename = reader.role)
    FROM access.reader_roles AS reader
$$;

DO $$
DECLARE
    owner name := (SELECT rolname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = current_database());
    writer constant text := current_setting('minervas.writer');
    admission constant text := current_setting('minervas.access');
    signature regprocedure;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO member_readers, fleet_readers, %I', current_database(), admission
    );
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), writer);
    -- A reader's sort must not fill the ledger's disk. Readers can not change this one; the ledger's own roles are free.
    EXECUTE format('ALTER DATABASE %I SET temp_file_limit = %L', current_database(), '512MB');
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET temp_file_limit = -1', owner, current_database());
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET temp_file_limit = -1', writer, current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO member_readers, fleet_readers;
    EXECUTE format('GRANT USAGE ON SCHEMA access TO %I, %I', owner, admission);
    REVOKE ALL ON access.reader_roles FROM PUBLIC;
    EXECUTE format('GRANT SELECT ON access.reader_roles TO %I', owner); -- for current_member(), which is the owner's
    FOR signature IN SELECT oid FROM pg_proc WHERE pronamespace = 'access'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO reader_keeper', signature);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', signature, admission);
    END LOOP;
    -- What everybody may call by default, and a reader of tables has no business with: large objects and logical
    -- messages fill the disk, and with advisory locks somebody could hold up the ledger.
    FOR signature IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (proname ~ '^(lo_.*|lowrite|loread)$' OR proname ~ 'advisory' OR proname = 'pg_logical_emit_message')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
        IF signature::text ~ 'advisory' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I, %I', signature, owner, writer);
        END IF;
    END LOOP;
END
$$;
