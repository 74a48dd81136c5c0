-- How an installation changes what is there already, while others use it.

CREATE SCHEMA IF NOT EXISTS @threadline@;

-- What was there before: the privileges on it were given on purpose, those on what is new by default.
SELECT set_config('threadline.installed_before', COALESCE((
    SELECT string_agg(there.oid::text, ' ') FROM (
        SELECT class.oid FROM pg_class AS class
        WHERE class.relnamespace = '@threadline@'::regnamespace AND class.relkind IN ('r', 'p', 'v', 'S')
        UNION ALL
        SELECT function.oid FROM pg_proc AS function
        WHERE function.pronamespace = '@threadline@'::regnamespace
    ) AS there
), ''), true);

-- Locks tables, all or none, without ever making a writer a victim. False if they stay too busy.
--
-- Who waits for one table while it holds another can deadlock with a writer that took them the other
-- way round, and after deadlock_timeout PostgreSQL ends one of the two. So this waits for a fraction of
-- that in all, lets everything go, and tries again.
CREATE OR REPLACE FUNCTION @threadline@.lock_patiently(tables text[], lock_mode text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $lock$
DECLARE
    one text;
    patience CONSTANT text := current_setting('lock_timeout');
    at_most CONSTANT interval := LEAST(interval '250 milliseconds', current_setting('deadlock_timeout')::interval / 2);
    give_up_at timestamptz;
BEGIN
    FOR attempt IN 1 .. 100 LOOP
        BEGIN
            give_up_at := clock_timestamp() + at_most;
            FOREACH one IN ARRAY tables LOOP
                PERFORM set_config('lock_timeout', GREATEST(
                    EXTRACT(EPOCH FROM give_up_at - clock_timestamp()) * 1000, 1
                )::integer || 'ms', true);
                EXECUTE format('LOCK TABLE ONLY %s IN %s MODE', one, lock_mode);
            END LOOP;
            PERFORM set_config('lock_timeout', patience, true);
            RETURN true;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.05 + random() * 0.1);
        END;
    END LOOP;
    RETURN false;
END
$lock$;

-- Stops the installation unless it holds a lock with which it may change a table. It locks the table
-- first then, and begins again. What it made itself it holds.
CREATE OR REPLACE FUNCTION @threadline@.may_change(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $may$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_locks AS held
        WHERE held.pid = pg_backend_pid() AND held.locktype = 'relation' AND held.granted
            AND held.relation = may_change.relation
            AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND held.mode IN ('ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    ) THEN
        RAISE EXCEPTION 'table % has to be locked first', relation
            USING ERRCODE = 'TL090', TABLE = relation::text;
    END IF;
END
$may$;

-- Makes an index of the trail, unless it is there. CREATE INDEX IF NOT EXISTS locks writers out before
-- it looks.
CREATE OR REPLACE FUNCTION @threadline@.ensure_index(statement text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $ensure$
DECLARE
    parts CONSTANT text[] := regexp_match(statement, 'INDEX (\w+)\s+ON (\w+\.\w+)');
BEGIN
    IF to_regclass('@threadline@.' || parts[1]) IS NULL THEN
        PERFORM @threadline@.may_change(parts[2]::regclass);
        EXECUTE statement;
    END IF;
END
$ensure$;

-- Makes a trigger of the trail, unless it and what partitions have of it is there and fires. The
-- statement is written as PostgreSQL shows it, to be compared.
CREATE OR REPLACE FUNCTION @threadline@.ensure_guard(statement text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $ensure$
DECLARE
    wanted CONSTANT text := btrim(regexp_replace(statement, '\s+', ' ', 'g'));
    parts CONSTANT text[] := regexp_match(wanted, 'TRIGGER (\w+) .* ON (\w+\.\w+) ');
    guarded CONSTANT regclass := parts[2];
    by_row CONSTANT boolean := wanted LIKE '% FOR EACH ROW %';
BEGIN
    IF EXISTS (
        SELECT FROM pg_trigger AS trigger
        WHERE trigger.tgrelid = guarded AND trigger.tgname = parts[1] AND trigger.tgenabled IN ('O', 'A')
            AND pg_get_triggerdef(trigger.oid) = wanted
            AND NOT (by_row AND EXISTS (
                SELECT FROM pg_inherits AS inherits
                LEFT JOIN pg_trigger AS part
                    ON part.tgrelid = inherits.inhrelid AND part.tgparentid = trigger.oid
                WHERE inherits.inhparent = guarded
                    AND (part.tgenabled IN ('O', 'A') AND part.tgfoid = trigger.tgfoid) IS NOT TRUE
            ))
    ) THEN
        RETURN;
    END IF;
    PERFORM @threadline@.may_change(guarded);
    IF wanted LIKE 'CREATE CONSTRAINT TRIGGER %' THEN
        EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', parts[1], guarded);
        EXECUTE wanted;
    ELSE
        EXECUTE regexp_replace(wanted, '^CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER');
    END IF;
END
$ensure$;

-- Makes a view of the trail, unless it is there and as wanted: replacing one waits for its readers.
CREATE OR REPLACE FUNCTION @threadline@.ensure_view(name text, query text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $ensure$
DECLARE
    is_same boolean;
BEGIN
    IF to_regclass(format('@threadline@.%I', name)) IS NOT NULL THEN
        EXECUTE format('CREATE VIEW @threadline@.%I AS %s', 'wanted_' || name, query);
        is_same := pg_get_viewdef(format('@threadline@.%I', name)::regclass)
            = pg_get_viewdef(format('@threadline@.%I', 'wanted_' || name)::regclass);
        EXECUTE format('DROP VIEW @threadline@.%I', 'wanted_' || name);
        IF is_same THEN
            RETURN;
        END IF;
    END IF;
    EXECUTE format('CREATE OR REPLACE VIEW @threadline@.%I AS %s', name, query);
END
$ensure$;

-- Takes every privilege on a relation or routine of the trail from a role other than its owner.
CREATE OR REPLACE FUNCTION @threadline@.take_back(kind text, object text, grantee oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $back$
BEGIN
    EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', kind, object,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(grantee)) END);
END
$back$;

-- Lets those read a new table of the trail who may read another, and gives nobody else a right on it,
-- whatever the default privileges of who makes it say.
CREATE OR REPLACE FUNCTION @threadline@.readable_as(relation regclass, model regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $readable$
DECLARE
    found oid;
BEGIN
    FOR found IN
        SELECT DISTINCT given.grantee FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS given
        WHERE class.oid = relation AND given.grantee <> class.relowner
    LOOP
        PERFORM @threadline@.take_back('TABLE', relation::text, found);
    END LOOP;
    FOR found IN
        SELECT DISTINCT given.grantee FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS given
        WHERE class.oid = model AND given.grantee NOT IN (class.relowner, 0) AND given.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON TABLE %s TO %I', relation, pg_get_userbyid(found));
    END LOOP;
END
$readable$;
