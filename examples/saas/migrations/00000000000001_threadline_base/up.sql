-- The audit trail, made by Threadline: its tables, functions and views. Applied again, it brings an
-- older trail up to date and changes nothing else.
--
-- This is one statement, so it is done as a whole or not at all, whether or not whoever runs it
-- begins a transaction. What is in it is run step by step under a search path of its own, while no
-- other installation is at it.
--
-- Writers are not made to wait. A trail that is up to date is brought so without a lock that they would
-- meet. Where something has to change that takes such locks, the tables are locked first, all of them
-- or none within a fraction of the time after which PostgreSQL would end one of two who wait for each
-- other.

DO $threadline_install$
DECLARE
    path CONSTANT text := pg_catalog.current_setting('search_path');
    patience CONSTANT text := pg_catalog.current_setting('lock_timeout');
    loudness CONSTANT text := pg_catalog.current_setting('client_min_messages');
    is_done boolean := false;
    to_change text[] := '{}';
    state text;
    message text;
    explanation text;
    advice text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('threadline install', 0));
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- That something is there already is no news.
    PERFORM set_config('client_min_messages', 'warning', true);
    EXECUTE $threadline_beginning$
-- How an installation changes what is there already, while others use it.

CREATE SCHEMA IF NOT EXISTS threadline;

-- What was there before: the privileges on it were given on purpose, those on what is new by default.
SELECT set_config('threadline.installed_before', COALESCE((
    SELECT string_agg(there.oid::text, ' ') FROM (
        SELECT class.oid FROM pg_class AS class
        WHERE class.relnamespace = 'threadline'::regnamespace AND class.relkind IN ('r', 'p', 'v', 'S')
        UNION ALL
        SELECT function.oid FROM pg_proc AS function
        WHERE function.pronamespace = 'threadline'::regnamespace
    ) AS there
), ''), true);

-- Locks tables, all or none, without ever making a writer a victim. False if they stay too busy.
--
-- Who waits for one table while it holds another can deadlock with a writer that took them the other
-- way round, and after deadlock_timeout PostgreSQL ends one of the two. So this waits for a fraction of
-- that in all, lets everything go, and tries again.
CREATE OR REPLACE FUNCTION threadline.lock_patiently(tables text[], lock_mode text) RETURNS boolean
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
CREATE OR REPLACE FUNCTION threadline.may_change(relation regclass) RETURNS void
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
CREATE OR REPLACE FUNCTION threadline.ensure_index(statement text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $ensure$
DECLARE
    parts CONSTANT text[] := regexp_match(statement, 'INDEX (\w+)\s+ON (\w+\.\w+)');
BEGIN
    IF to_regclass('threadline.' || parts[1]) IS NULL THEN
        PERFORM threadline.may_change(parts[2]::regclass);
        EXECUTE statement;
    END IF;
END
$ensure$;

-- Makes a trigger of the trail, unless it and what partitions have of it is there and fires. The
-- statement is written as PostgreSQL shows it, to be compared.
CREATE OR REPLACE FUNCTION threadline.ensure_guard(statement text) RETURNS void
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
    PERFORM threadline.may_change(guarded);
    IF wanted LIKE 'CREATE CONSTRAINT TRIGGER %' THEN
        EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', parts[1], guarded);
        EXECUTE wanted;
    ELSE
        EXECUTE regexp_replace(wanted, '^CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER');
    END IF;
END
$ensure$;

-- Makes a view of the trail, unless it is there and as wanted: replacing one waits for its readers.
CREATE OR REPLACE FUNCTION threadline.ensure_view(name text, query text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $ensure$
DECLARE
    is_same boolean;
BEGIN
    IF to_regclass(format('threadline.%I', name)) IS NOT NULL THEN
        EXECUTE format('CREATE VIEW threadline.%I AS %s', 'wanted_' || name, query);
        is_same := pg_get_viewdef(format('threadline.%I', name)::regclass)
            = pg_get_viewdef(format('threadline.%I', 'wanted_' || name)::regclass);
        EXECUTE format('DROP VIEW threadline.%I', 'wanted_' || name);
        IF is_same THEN
            RETURN;
        END IF;
    END IF;
    EXECUTE format('CREATE OR REPLACE VIEW threadline.%I AS %s', name, query);
END
$ensure$;

-- Takes every privilege on a relation or routine of the trail from a role other than its owner.
CREATE OR REPLACE FUNCTION threadline.take_back(kind text, object text, grantee oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $back$
BEGIN
    EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', kind, object,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(grantee)) END);
END
$back$;

-- Lets those read a new table of the trail who may read another, and gives nobody else a right on it,
-- whatever the default privileges of who makes it say.
CREATE OR REPLACE FUNCTION threadline.readable_as(relation regclass, model regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $readable$
DECLARE
    found oid;
BEGIN
    FOR found IN
        SELECT DISTINCT given.grantee FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS given
        WHERE class.oid = relation AND given.grantee <> class.relowner
    LOOP
        PERFORM threadline.take_back('TABLE', relation::text, found);
    END LOOP;
    FOR found IN
        SELECT DISTINCT given.grantee FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS given
        WHERE class.oid = model AND given.grantee NOT IN (class.relowner, 0) AND given.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON TABLE %s TO %I', relation, pg_get_userbyid(found));
    END LOOP;
END
$readable$;
$threadline_beginning$;
    FOR attempt IN 1 .. 100 LOOP
        BEGIN
            IF NOT threadline.lock_patiently(to_change, 'SHARE ROW EXCLUSIVE') THEN
                EXIT;
            END IF;
            PERFORM set_config('lock_timeout', '250ms', true);
            EXECUTE $threadline_trail$
-- The trail: three tables, partitioned by month, and the two sequences behind them.
--
-- What people query is public and stable: names and meanings below only ever gain columns.

COMMENT ON SCHEMA threadline IS 'Threadline: the audit trail, its functions and views.';

-- One database transaction that changed audited rows: who, when, in what context.
CREATE TABLE IF NOT EXISTS threadline.audit_transactions (
    id               uuid        NOT NULL,
    occurred_at      timestamptz NOT NULL,
    xid              xid8        NOT NULL,
    action_id        uuid,
    backend_pid      integer     NOT NULL,
    actor_ref        jsonb,
    on_behalf_of     jsonb,
    request_id       text COLLATE "C",
    correlation_id   text COLLATE "C",
    job_id           text COLLATE "C",
    source           text,
    remote_addr      text,
    meta             jsonb,
    db_user          text        NOT NULL,
    application_name text,
    client_addr      inet,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

COMMENT ON TABLE threadline.audit_transactions IS
    'One row for each database transaction that changed audited rows.';
COMMENT ON COLUMN threadline.audit_transactions.id IS
    'The start of the transaction (8 bytes, microseconds since 2000-01-01 UTC), then its xid (8 bytes): sorts by time.';
COMMENT ON COLUMN threadline.audit_transactions.occurred_at IS
    'When its first change was captured; not when it committed.';
COMMENT ON COLUMN threadline.audit_transactions.xid IS
    'Meaningful only beside the cluster and the time it was taken from.';
COMMENT ON COLUMN threadline.audit_transactions.action_id IS
    'The outermost action.';

-- The order in which changes were captured. Never shared state that writers wait for.
CREATE SEQUENCE IF NOT EXISTS threadline.audit_changes_id_seq AS bigint;

-- One captured change of one row, or of one table (truncate). The default of its id is what statements
-- that insert many take: a call among what they select would be a plan of its own.
CREATE TABLE IF NOT EXISTS threadline.audit_changes (
    id             bigint      NOT NULL DEFAULT nextval('threadline.audit_changes_id_seq'),
    captured_at    timestamptz NOT NULL,
    transaction_id uuid        NOT NULL,
    action_id      uuid,
    row_count      bigint,
    op             text COLLATE "C" NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    row_key        text COLLATE "C",
    previous_key   text COLLATE "C",
    table_pk       jsonb,
    data_after     jsonb,
    changed_from   jsonb,
    actor_ref      jsonb,
    partition_name text,
    PRIMARY KEY (captured_at, id)
) PARTITION BY RANGE (captured_at);

COMMENT ON TABLE threadline.audit_changes IS
    'One row for each captured change, in capture order by id.';
COMMENT ON COLUMN threadline.audit_changes.op IS
    'insert, update, delete, truncate, or baseline (a row that existed before capture).';
COMMENT ON COLUMN threadline.audit_changes.action_id IS
    'The action in force when the change happened.';
COMMENT ON COLUMN threadline.audit_changes.row_key IS
    'table_pk as one text, for the index.';
COMMENT ON COLUMN threadline.audit_changes.previous_key IS
    'row_key before an update that changed the key.';
COMMENT ON COLUMN threadline.audit_changes.table_pk IS
    'The key after the change, before it for a delete: column name to value as text.';
COMMENT ON COLUMN threadline.audit_changes.data_after IS
    'The row after the change; null for delete and truncate.';
COMMENT ON COLUMN threadline.audit_changes.changed_from IS
    'Update: the old values of what changed. Delete: the last image of the row.';
COMMENT ON COLUMN threadline.audit_changes.actor_ref IS
    'Set only where the actor in force was not the transaction''s; a JSON null says nobody.';
COMMENT ON COLUMN threadline.audit_changes.row_count IS
    'Truncate: how many rows went, where that was asked for.';
COMMENT ON COLUMN threadline.audit_changes.partition_name IS
    'Truncate: the partition that was emptied alone.';

-- What the application says it did, and why.
CREATE TABLE IF NOT EXISTS threadline.audit_actions (
    id             uuid        NOT NULL,
    transaction_id uuid        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    name           text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL,
    actor_ref      jsonb,
    on_behalf_of   jsonb,
    verb           text,
    category       text,
    reason         text,
    comment        text,
    correlation_id text COLLATE "C",
    request_id     text COLLATE "C",
    job_id         text COLLATE "C",
    meta           jsonb,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

COMMENT ON TABLE threadline.audit_actions IS
    'One row for each action the application recorded, whether or not it changed rows.';
COMMENT ON COLUMN threadline.audit_actions.id IS 'A version 7 uuid: sorts by time.';
COMMENT ON COLUMN threadline.audit_actions.transaction_id IS
    'The database transaction it was recorded in; audit_transactions has it if rows changed.';

-- Where rows changed their keys, for following a row both ways. Renames are rare, so they are kept
-- aside: an index on audit_changes for them would cost every change.
CREATE TABLE IF NOT EXISTS threadline.audit_renames (
    change_id      bigint      NOT NULL,
    captured_at    timestamptz NOT NULL,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    row_key        text COLLATE "C" NOT NULL,
    previous_key   text COLLATE "C" NOT NULL,
    PRIMARY KEY (captured_at, change_id)
);

COMMENT ON TABLE threadline.audit_renames IS
    'One row for each change that gave a row another key; says nothing that audit_changes does not.';

-- Indexes, each owed to a question. All end with an id, so no two entries are alike, and to look
-- for equal ones before a page is split would be in vain.

-- "Where did this row go?" and "Where did it come from?"
SELECT threadline.ensure_index($index$
CREATE INDEX audit_renames_previous_key_idx
    ON threadline.audit_renames (table_name, previous_key, table_schema, change_id)
    WITH (deduplicate_items = off)
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_renames_row_key_idx
    ON threadline.audit_renames (table_name, row_key, table_schema, change_id)
    WITH (deduplicate_items = off)
$index$);

-- "What happened in this transaction?"
SELECT threadline.ensure_index($index$
CREATE INDEX audit_changes_transaction_idx
    ON threadline.audit_changes (transaction_id, id) WITH (deduplicate_items = off)
$index$);
-- "What happened to this row?"
SELECT threadline.ensure_index($index$
CREATE INDEX audit_changes_row_idx
    ON threadline.audit_changes (table_name, row_key, table_schema, id)
    WITH (deduplicate_items = off)
$index$);
-- "What happened to this table lately?"
SELECT threadline.ensure_index($index$
CREATE INDEX audit_changes_table_idx
    ON threadline.audit_changes (table_name, table_schema, captured_at, id)
    WITH (deduplicate_items = off)
$index$);
-- "What did this actor do?"
SELECT threadline.ensure_index($index$
CREATE INDEX audit_transactions_actor_idx
    ON threadline.audit_transactions ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE actor_ref IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_changes_actor_idx
    ON threadline.audit_changes ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE actor_ref IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_actor_idx
    ON threadline.audit_actions ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE actor_ref IS NOT NULL
$index$);
-- "What belongs to this request, this correlation, this job?"
SELECT threadline.ensure_index($index$
CREATE INDEX audit_transactions_correlation_idx
    ON threadline.audit_transactions (correlation_id, id)
    WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_transactions_request_idx
    ON threadline.audit_transactions (request_id, id)
    WITH (deduplicate_items = off) WHERE request_id IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_transactions_job_idx
    ON threadline.audit_transactions (job_id, id)
    WITH (deduplicate_items = off) WHERE job_id IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_correlation_idx
    ON threadline.audit_actions (correlation_id, id)
    WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_request_idx
    ON threadline.audit_actions (request_id, id)
    WITH (deduplicate_items = off) WHERE request_id IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_job_idx
    ON threadline.audit_actions (job_id, id)
    WITH (deduplicate_items = off) WHERE job_id IS NOT NULL
$index$);
-- "What was done on behalf of this user?", "What did nobody sign?" and "What failed?": of the few
-- rows that say so, and of no others.
SELECT threadline.ensure_index($index$
CREATE INDEX audit_transactions_represented_idx
    ON threadline.audit_transactions ((on_behalf_of ->> 'id'), (on_behalf_of ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE on_behalf_of IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_represented_idx
    ON threadline.audit_actions ((on_behalf_of ->> 'id'), (on_behalf_of ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE on_behalf_of IS NOT NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_transactions_unattributed_idx
    ON threadline.audit_transactions (id)
    WITH (deduplicate_items = off) WHERE actor_ref IS NULL
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_failed_idx
    ON threadline.audit_actions (id)
    WITH (deduplicate_items = off) WHERE status = 'error'
$index$);
-- "What actions were in this transaction?" and "When was this action done?"
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_transaction_idx
    ON threadline.audit_actions (transaction_id, id) WITH (deduplicate_items = off)
$index$);
SELECT threadline.ensure_index($index$
CREATE INDEX audit_actions_name_idx
    ON threadline.audit_actions (name, id) WITH (deduplicate_items = off)
$index$);

-- What capture remembers of a session, as currval gives it: the transaction or subtransaction of the
-- session that made a row of audit_transactions last. A setting could be made up or put back by the
-- session; this can be set by capture alone. Unlogged, for no session outlives a crash.
CREATE UNLOGGED SEQUENCE IF NOT EXISTS threadline.capture_session AS bigint;

-- A secret of this database, 120 bits of it, readable by the owner alone, with which the trail signs
-- what it keeps in settings. Sequences, because their values are read without a query. Made again
-- where it is missing, as after the restore of a schema without its data.
CREATE SEQUENCE IF NOT EXISTS threadline.capture_secret AS bigint;
CREATE SEQUENCE IF NOT EXISTS threadline.capture_secret_rest AS bigint;
DO $secret$
DECLARE
    half pg_catalog.regclass;
BEGIN
    FOREACH half IN ARRAY ARRAY[
        'threadline.capture_secret', 'threadline.capture_secret_rest'
    ]::pg_catalog.regclass[] LOOP
        IF pg_catalog.pg_sequence_last_value(half) IS NULL THEN
            PERFORM pg_catalog.setval(half, (
                'x' || pg_catalog.substr(
                    pg_catalog.replace(pg_catalog.gen_random_uuid()::pg_catalog.text, '-', ''), 18, 15
                )
            )::bit(60)::bigint + 1);
        END IF;
    END LOOP;
END
$secret$;

-- Monthly partitions of the trail, and one more of each table for what no month catches.

-- The smallest transaction id of transactions that start at an instant or later.
CREATE OR REPLACE FUNCTION threadline.transaction_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.encode(
    pg_catalog.timestamptz_send(instant) OPERATOR(pg_catalog.||) '\x0000000000000000'::bytea,
    'hex'
)::uuid;

-- The smallest version 7 uuid of an instant. Of one that none can say: the first or last of them.
CREATE OR REPLACE FUNCTION threadline.action_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    pg_catalog.lpad(
        pg_catalog.to_hex(
            LEAST(GREATEST(
                pg_catalog.floor(EXTRACT(EPOCH FROM instant) OPERATOR(pg_catalog.*) 1000), 0
            ), 281474976710655)::bigint
        ),
        12, '0'
    ) OPERATOR(pg_catalog.||) '00000000000000000000'
)::uuid;

-- When the transaction of an id began. An id that nobody's transaction has can say more than an
-- instant can: it is taken for the far past, or the far future.
CREATE OR REPLACE FUNCTION threadline.transaction_began_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+) (
    LEAST(GREATEST(pg_catalog.concat(
        'x', pg_catalog.substr(pg_catalog.replace(id::text, '-', ''), 1, 16)
    )::bit(64)::bigint, -200000000000000000), 9200000000000000000)
        OPERATOR(pg_catalog.*) '1 microsecond'::interval
);

-- When the action of an id was recorded, to the millisecond.
CREATE OR REPLACE FUNCTION threadline.action_recorded_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN '1970-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+) (
    pg_catalog.concat(
        'x0000', pg_catalog.substr(pg_catalog.replace(id::text, '-', ''), 1, 12)
    )::bit(64)::bigint OPERATOR(pg_catalog.*) '1 millisecond'::interval
);

-- Always true, and dear: the planner asks it of as few rows as it can. Questions that name what they
-- look up have it among their conditions, or a month with few rows would be read from end to end. Unsafe
-- in parallel, because starting workers takes longer than looking up. Of a transaction or an action:
CREATE OR REPLACE FUNCTION threadline.looked_up(id uuid) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE COST 1000 AS $looked_up$
BEGIN
    RETURN true;
END
$looked_up$;

-- Of a change. There may be many, and so dear that they were worth compiling just in time is too dear.
CREATE OR REPLACE FUNCTION threadline.looked_up(id bigint) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE COST 100 AS $looked_up$
BEGIN
    RETURN true;
END
$looked_up$;

-- TRUNCATE passes row triggers by, so every partition is guarded by a trigger of its own.
CREATE OR REPLACE FUNCTION threadline.guard_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: TRUNCATE of %.% refused',
        TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'What has to go goes by remove_changes or erase_values, which record what they remove.';
END
$guard$;

-- The partitions of the trail, each with the time it is for. Of a default partition, and of one that
-- is not bounded by time on both sides, both instants are null.
CREATE OR REPLACE FUNCTION threadline.trail_partitions()
RETURNS TABLE (
    parent text, partition regclass, partition_name text,
    from_instant timestamptz, to_instant timestamptz
)
LANGUAGE sql STABLE ROWS 60 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT parent.relname::text, class.oid::regclass, class.relname::text,
        CASE parent.relname
            WHEN 'audit_changes' THEN bounds.parts[1]::timestamptz
            WHEN 'audit_transactions' THEN threadline.transaction_began_at(bounds.parts[1]::uuid)
            ELSE threadline.action_recorded_at(bounds.parts[1]::uuid)
        END,
        CASE parent.relname
            WHEN 'audit_changes' THEN bounds.parts[2]::timestamptz
            WHEN 'audit_transactions' THEN threadline.transaction_began_at(bounds.parts[2]::uuid)
            ELSE threadline.action_recorded_at(bounds.parts[2]::uuid)
        END
    FROM pg_class AS parent
    JOIN pg_inherits AS inherits ON inherits.inhparent = parent.oid
    JOIN pg_class AS class ON class.oid = inherits.inhrelid
    CROSS JOIN LATERAL regexp_match(
        pg_get_expr(class.relpartbound, class.oid), $$^FOR VALUES FROM \('([^']*)'\) TO \('([^']*)'\)$$
    ) AS bounds (parts)
    WHERE parent.relnamespace = 'threadline'::regnamespace AND parent.relkind = 'p'
        AND parent.relname IN ('audit_changes', 'audit_transactions', 'audit_actions');
END;

-- The bounds of one table's partition for a span of time, as literals: timestamps of changes, ids of
-- the others.
CREATE OR REPLACE FUNCTION threadline.partition_bounds(
    parent text, from_instant timestamptz, to_instant timestamptz
) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
RETURN CASE parent
    WHEN 'audit_changes' THEN ARRAY[quote_literal(from_instant), quote_literal(to_instant)]
    WHEN 'audit_transactions' THEN ARRAY[
        quote_literal(threadline.transaction_id_from(from_instant)),
        quote_literal(threadline.transaction_id_from(to_instant))
    ]
    ELSE ARRAY[
        quote_literal(threadline.action_id_from(from_instant)),
        quote_literal(threadline.action_id_from(to_instant))
    ]
END;

-- The time for which one table of the trail is given partitions, whole months: not before a trail
-- can have begun, and a year ahead. What says it is of another time (a clock was wrong, somebody made
-- an id up) stays in the default partition. An application says when its actions were, so theirs is
-- the time of the changes.
CREATE OR REPLACE FUNCTION threadline.trail_span(
    of_parent text, OUT from_instant timestamptz, OUT to_instant timestamptz
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $span$
DECLARE
    -- No uuid, timestamp or clock in order is of before.
    beginning CONSTANT timestamptz := '2001-01-01';
BEGIN
    from_instant := beginning;
    to_instant := date_trunc('month', now()) + interval '13 months';
    IF of_parent = 'audit_actions' THEN
        SELECT COALESCE(min(part.from_instant), date_trunc('month', now())) INTO from_instant
        FROM threadline.trail_partitions() AS part
        WHERE part.parent = 'audit_changes' AND part.from_instant >= beginning;
    END IF;
END
$span$;

-- The column by which one table of the trail is partitioned.
CREATE OR REPLACE FUNCTION threadline.partition_column(parent text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN parent OPERATOR(pg_catalog.=) 'audit_changes' THEN 'captured_at' ELSE 'id' END;

-- Guards one partition against TRUNCATE.
CREATE OR REPLACE FUNCTION threadline.guard_partition(partition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate()',
        partition
    );
END
$guard$;

-- Makes one partition of one table of the trail, if it is not there yet. It is attached: that lets
-- writers go on, where CREATE TABLE ... PARTITION OF would lock them out.
CREATE OR REPLACE FUNCTION threadline.create_partition(
    parent text, partition text, bounds text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
BEGIN
    IF to_regclass(format('threadline.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE threadline.%I (LIKE threadline.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING STORAGE INCLUDING COMPRESSION)', partition, parent
    );
    PERFORM threadline.readable_as(
        format('threadline.%I', partition)::regclass, format('threadline.%I', parent)::regclass
    );
    EXECUTE format(
        'ALTER TABLE threadline.%I ATTACH PARTITION threadline.%I %s', parent, partition, bounds
    );
    PERFORM threadline.guard_partition(partition);
    RETURN true;
END
$create$;

-- Makes the partitions of the month that holds an instant, and of the months after it. A month that
-- another partition covers, or that has rows in the default partition, is left as it is: those rows
-- are moved by maintain_partitions. Returns how many tables it made.
CREATE OR REPLACE FUNCTION threadline.create_partitions(
    from_instant timestamptz, months integer
) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
DECLARE
    first_month timestamp := date_trunc('month', from_instant AT TIME ZONE 'UTC');
    missing record;
    bounds text[];
    is_taken boolean;
    created integer := 0;
BEGIN
    FOR missing IN
        SELECT owner.name AS parent, month.lower_bound, month.upper_bound,
            format('%s_%s', owner.name, to_char(month.lower_bound AT TIME ZONE 'UTC', 'YYYY_MM')) AS partition
        FROM generate_series(0, months) AS step
        CROSS JOIN LATERAL (
            SELECT (first_month + make_interval(months => step)) AT TIME ZONE 'UTC' AS lower_bound,
                (first_month + make_interval(months => step + 1)) AT TIME ZONE 'UTC' AS upper_bound
        ) AS month
        CROSS JOIN (VALUES ('audit_changes'), ('audit_transactions'), ('audit_actions')) AS owner (name)
        WHERE NOT EXISTS (
            SELECT FROM threadline.trail_partitions() AS found
            WHERE found.parent = owner.name
                AND found.from_instant < month.upper_bound AND found.to_instant > month.lower_bound
        )
        ORDER BY step, owner.name
    LOOP
        bounds := threadline.partition_bounds(missing.parent, missing.lower_bound, missing.upper_bound);
        IF to_regclass(format('threadline.%I', missing.parent || '_default')) IS NOT NULL THEN
            EXECUTE format(
                'SELECT EXISTS (SELECT FROM threadline.%I WHERE %I >= %s AND %2$I < %4$s)',
                missing.parent || '_default', threadline.partition_column(missing.parent),
                bounds[1], bounds[2]
            ) INTO is_taken;
            CONTINUE WHEN is_taken;
        END IF;
        created := created + threadline.create_partition(
            missing.parent, missing.partition, format('FOR VALUES FROM (%s) TO (%s)', bounds[1], bounds[2])
        )::integer;
    END LOOP;
    RETURN created;
END
$create$;

-- Rows that no month catches go here; nothing is ever refused for want of a partition. A year is made
-- ahead, so that nobody has to remember it in the first one. Later that is for maintenance to do; only
-- where it was forgotten is it done here, if that is possible without waiting for anybody.
DO $partitions$
DECLARE
    next_month CONSTANT text := to_char((now() + interval '1 month') AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    PERFORM threadline.create_partition('audit_changes', 'audit_changes_default', 'DEFAULT');
    PERFORM threadline.create_partition('audit_transactions', 'audit_transactions_default', 'DEFAULT');
    PERFORM threadline.create_partition('audit_actions', 'audit_actions_default', 'DEFAULT');
    IF to_regclass('threadline.audit_changes_' || next_month) IS NULL
        OR to_regclass('threadline.audit_transactions_' || next_month) IS NULL
        OR to_regclass('threadline.audit_actions_' || next_month) IS NULL
    THEN
        PERFORM threadline.create_partitions(now(), 12);
    END IF;
EXCEPTION WHEN lock_not_available THEN
    RAISE WARNING 'partitions are not made ahead, because the trail is busy'
        USING HINT = 'CALL threadline.maintain()';
END
$partitions$;

-- Who, why, and in which transaction: the context in force, and the transaction's row.
--
-- These functions run inside the host's writes, with the rights of the trail's owner and under
-- whatever search path the session has. So every name is qualified, operators included, and IS
-- DISTINCT FROM, NULLIF, IN and CASE x WHEN, which look `=` up by the search path, are not used.

-- The id of the running transaction: its start, then its xid. Needs no look-up and cannot be set
-- by a session; the same for everyone who asks within the transaction.
CREATE OR REPLACE FUNCTION threadline.current_transaction_id() RETURNS uuid
LANGUAGE sql STABLE
RETURN pg_catalog.encode(
    pg_catalog.timestamptz_send(pg_catalog.now())
        OPERATOR(pg_catalog.||) pg_catalog.xid8send(pg_catalog.pg_current_xact_id()),
    'hex'
)::uuid;

-- Whether a JSON value says who: {"type": ..., "id": ...}.
CREATE OR REPLACE FUNCTION threadline.is_actor_ref(candidate jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN COALESCE(
    pg_catalog.jsonb_typeof(candidate) OPERATOR(pg_catalog.=) 'object'
    AND (
        (candidate OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
        OR (
            (candidate OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) ANY (
                ARRAY['user', 'admin', 'service_account', 'job', 'system']
            )
            AND pg_catalog.jsonb_typeof(candidate OPERATOR(pg_catalog.->) 'id')
                OPERATOR(pg_catalog.=) ANY (ARRAY['string', 'number'])
            AND (candidate OPERATOR(pg_catalog.->>) 'id') OPERATOR(pg_catalog.<>) ''
        )
    ),
    false
);

-- The two fields of an actor and nothing else, both texts.
CREATE OR REPLACE FUNCTION threadline.plain_actor_ref(actor jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN (actor OPERATOR(pg_catalog.->>) 'type') IS NULL THEN NULL
    WHEN (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
        THEN '{"type": "anonymous"}'::jsonb
    ELSE pg_catalog.jsonb_build_object(
        'type', actor OPERATOR(pg_catalog.->>) 'type', 'id', actor OPERATOR(pg_catalog.->>) 'id'
    )
END;

DO $types$
BEGIN
    IF pg_catalog.to_regtype('threadline.context_in_force') IS NULL THEN
        CREATE TYPE threadline.context_in_force AS (
            actor_ref      jsonb,
            on_behalf_of   jsonb,
            action_id      uuid, -- in force
            root_action_id uuid, -- outermost
            request_id     text,
            correlation_id text,
            job_id         text,
            source         text,
            remote_addr    text,
            meta           jsonb,
            error          text  -- what was malformed, as it was given
        );
    END IF;
    IF pg_catalog.to_regtype('threadline.attribution') IS NULL THEN
        CREATE TYPE threadline.attribution AS (
            action_id  uuid,
            actor_ref  jsonb,
            attributed boolean,
            suspension bigint -- capture of the table is suspended
        );
    END IF;
END
$types$;

-- Whether a text is short enough to be looked up by: an entry of an index takes 2,700 bytes at most.
CREATE OR REPLACE FUNCTION threadline.can_be_looked_up(VARIADIC texts text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT pg_catalog.bool_and(pg_catalog.octet_length(given) OPERATOR(pg_catalog.<=) 1024) IS NOT FALSE
    FROM pg_catalog.unnest(texts) AS given
);

-- Reads the three settings a writer may have made, field by field. Whatever is malformed, larger than 64 kB,
-- or an id of more than 1,024 bytes, is kept as text in `error`; nothing here ever fails.
CREATE OR REPLACE FUNCTION threadline.read_hostile_context()
RETURNS threadline.context_in_force
LANGUAGE plpgsql STABLE AS $read$
DECLARE
    actor_text   pg_catalog.text := pg_catalog.current_setting('threadline.actor_ref', true);
    context_text pg_catalog.text := pg_catalog.current_setting('threadline.context', true);
    action_text  pg_catalog.text := pg_catalog.current_setting('threadline.action_id', true);
    given pg_catalog.jsonb;
    seen threadline.context_in_force;
    size_limit CONSTANT integer := 65536;
    known_keys CONSTANT pg_catalog.text[] := ARRAY[
        'on_behalf_of', 'action_id', 'request_id', 'correlation_id', 'job_id', 'source',
        'remote_addr', 'meta'
    ];
BEGIN
    IF actor_text OPERATOR(pg_catalog.<>) '' THEN
        BEGIN
            IF pg_catalog.octet_length(actor_text) OPERATOR(pg_catalog.<=) size_limit THEN
                given := actor_text::pg_catalog.jsonb;
            END IF;
            IF threadline.is_actor_ref(given)
                AND threadline.can_be_looked_up(given OPERATOR(pg_catalog.->>) 'id')
            THEN
                seen.actor_ref := threadline.plain_actor_ref(given);
            ELSE
                seen.error := pg_catalog."left"(actor_text, 1024);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            seen.error := pg_catalog."left"(actor_text, 1024);
        END;
    END IF;

    IF action_text OPERATOR(pg_catalog.<>) '' THEN
        BEGIN
            seen.action_id := action_text::pg_catalog.uuid;
        EXCEPTION WHEN OTHERS THEN
            seen.error := pg_catalog.concat_ws(
                E'\n', seen.error, pg_catalog."left"(action_text, 1024)
            );
        END;
    END IF;
    seen.root_action_id := seen.action_id;

    IF context_text OPERATOR(pg_catalog.<>) '' THEN
        given := NULL;
        BEGIN
            IF pg_catalog.octet_length(context_text) OPERATOR(pg_catalog.<=) size_limit THEN
                given := context_text::pg_catalog.jsonb;
            END IF;
            IF (pg_catalog.jsonb_typeof(given) OPERATOR(pg_catalog.=) 'object') IS TRUE THEN
                seen.request_id     := given OPERATOR(pg_catalog.->>) 'request_id';
                seen.correlation_id := given OPERATOR(pg_catalog.->>) 'correlation_id';
                seen.job_id         := given OPERATOR(pg_catalog.->>) 'job_id';
                seen.source         := given OPERATOR(pg_catalog.->>) 'source';
                seen.remote_addr    := given OPERATOR(pg_catalog.->>) 'remote_addr';
                IF (given OPERATOR(pg_catalog.->>) 'action_id') IS NOT NULL THEN
                    seen.root_action_id :=
                        (given OPERATOR(pg_catalog.->>) 'action_id')::pg_catalog.uuid;
                END IF;
                seen.meta := given OPERATOR(pg_catalog.->) 'meta';
                IF NOT threadline.can_be_looked_up(seen.request_id, seen.correlation_id, seen.job_id)
                THEN
                    seen.request_id := NULL;
                    seen.correlation_id := NULL;
                    seen.job_id := NULL;
                    RAISE EXCEPTION 'an id of more than 1,024 bytes';
                END IF;
                IF (given OPERATOR(pg_catalog.->>) 'on_behalf_of') IS NOT NULL THEN
                    IF threadline.is_actor_ref(given OPERATOR(pg_catalog.->) 'on_behalf_of')
                        AND threadline.can_be_looked_up(
                            given OPERATOR(pg_catalog.#>>) '{on_behalf_of,id}'
                        )
                    THEN
                        seen.on_behalf_of := threadline.plain_actor_ref(
                            given OPERATOR(pg_catalog.->) 'on_behalf_of'
                        );
                    ELSE
                        RAISE EXCEPTION 'on_behalf_of is no actor';
                    END IF;
                END IF;
                IF seen.meta IS NOT NULL
                    AND pg_catalog.jsonb_typeof(seen.meta) OPERATOR(pg_catalog.<>) 'object'
                THEN
                    seen.meta := pg_catalog.jsonb_build_object('value', seen.meta);
                END IF;
                -- A misspelt key is an error its writer should see, not a silent loss.
                IF (given OPERATOR(pg_catalog.-) known_keys) OPERATOR(pg_catalog.<>) '{}'::pg_catalog.jsonb THEN
                    RAISE EXCEPTION 'unknown key';
                END IF;
            ELSE
                RAISE EXCEPTION 'no object';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            seen.error := pg_catalog.concat_ws(
                E'\n', seen.error, pg_catalog."left"(context_text, 1024)
            );
        END;
    END IF;

    IF seen.error IS NOT NULL THEN
        seen.meta := COALESCE(seen.meta, '{}'::pg_catalog.jsonb)
            OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('context_error', seen.error);
    END IF;
    RETURN seen;
END
$read$;

-- The same, as cheaply as it goes: at a transaction's first change, where a context is set. One that
-- is in order and says nothing rare is read by a handful of expressions (each costs as much again in
-- every transaction, and so does every function in it); the rest is read with care.
CREATE OR REPLACE FUNCTION threadline.read_context() RETURNS threadline.context_in_force
LANGUAGE plpgsql STABLE AS $read$
DECLARE
    actor_text   pg_catalog.text := pg_catalog.current_setting('threadline.actor_ref', true);
    context_text pg_catalog.text := pg_catalog.current_setting('threadline.context', true);
    action_text  pg_catalog.text := pg_catalog.current_setting('threadline.action_id', true);
    actor pg_catalog.jsonb;
    given pg_catalog.jsonb;
    seen threadline.context_in_force;
BEGIN
    -- Writes nothing, so the block takes no subtransaction id.
    BEGIN
        actor := CASE WHEN actor_text OPERATOR(pg_catalog.<>) '' THEN actor_text::pg_catalog.jsonb END;
        given := CASE WHEN context_text OPERATOR(pg_catalog.<>) '' THEN context_text::pg_catalog.jsonb ELSE '{}' END;
        -- So short that every id in it is short enough for an index.
        IF pg_catalog.octet_length(pg_catalog.concat(actor_text, context_text)) OPERATOR(pg_catalog.<=) 2048
            AND (
                actor IS NULL
                OR (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) ANY (
                    ARRAY['user', 'admin', 'service_account', 'job', 'system']
                )
                AND (actor OPERATOR(pg_catalog.->>) 'id') OPERATOR(pg_catalog.<>) ''
                -- Two texts, and nothing else.
                AND actor OPERATOR(pg_catalog.=) pg_catalog.jsonb_build_object(
                    'type', actor OPERATOR(pg_catalog.->>) 'type', 'id', actor OPERATOR(pg_catalog.->>) 'id'
                )
            )
            -- An object (nothing else is empty without these keys), whose meta is one.
            AND (given OPERATOR(pg_catalog.-) ARRAY[
                'action_id', 'request_id', 'correlation_id', 'job_id', 'source', 'remote_addr', 'meta'
            ]) OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
            AND ((given OPERATOR(pg_catalog.->) 'meta') OPERATOR(pg_catalog.@>) '{}') IS NOT FALSE
        THEN
            seen := ROW(
                actor,
                NULL,
                CASE WHEN action_text OPERATOR(pg_catalog.<>) '' THEN action_text::pg_catalog.uuid END,
                COALESCE(
                    (given OPERATOR(pg_catalog.->>) 'action_id')::pg_catalog.uuid,
                    CASE WHEN action_text OPERATOR(pg_catalog.<>) '' THEN action_text::pg_catalog.uuid END
                ),
                given OPERATOR(pg_catalog.->>) 'request_id',
                given OPERATOR(pg_catalog.->>) 'correlation_id',
                given OPERATOR(pg_catalog.->>) 'job_id',
                given OPERATOR(pg_catalog.->>) 'source',
                given OPERATOR(pg_catalog.->>) 'remote_addr',
                given OPERATOR(pg_catalog.->) 'meta',
                NULL
            )::threadline.context_in_force;
            RETURN seen;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        NULL; -- out of order
    END;
    RETURN threadline.read_hostile_context();
END
$read$;

-- Remembers in which subtransaction of the session the running transaction's row was made, by the 32
-- bits that the row knows of it; the others are those of the transaction.
CREATE OR REPLACE FUNCTION threadline.remember_its_row(made_in xid) RETURNS void
LANGUAGE plpgsql AS $remember$
DECLARE
    this bigint := pg_catalog.txid_current();
BEGIN
    PERFORM pg_catalog.setval(
        'threadline.capture_session'::pg_catalog.regclass,
        this OPERATOR(pg_catalog.+) (
            (made_in::pg_catalog.text::bigint OPERATOR(pg_catalog.-) this)
                OPERATOR(pg_catalog.&) 4294967295
        )
    );
END
$remember$;

-- Whether capture remembers that the running transaction has its row: that it was made by the
-- transaction itself, or by a subtransaction that was not rolled back. As capture/noted.sql has it.
CREATE OR REPLACE FUNCTION threadline.has_its_row() RETURNS boolean
LANGUAGE plpgsql AS $has$
DECLARE
    this bigint := pg_catalog.txid_current();
    made_in bigint;
BEGIN
    BEGIN
        made_in := pg_catalog.currval('threadline.capture_session'::pg_catalog.regclass);
    EXCEPTION WHEN object_not_in_prerequisite_state THEN
        RETURN false; -- capture has nothing to remember of this session
    END;
    RETURN made_in OPERATOR(pg_catalog.=) this
        OR made_in OPERATOR(pg_catalog.>) this
        AND pg_catalog.txid_status(made_in) OPERATOR(pg_catalog.=) 'in progress';
END
$has$;

-- Makes sure that the running transaction has its row, and says what its changes carry.
--
-- Called by capture when its note of the context is not `expected`, the one in force: at a
-- transaction's first change, and after the context changed.
--
-- The note is the setting threadline.recorded. PostgreSQL takes it back together with the row when a
-- savepoint is rolled back. A session can make it up or put it back, so it is believed only beside
-- what capture remembers of the session (has_its_row); one that is lost costs a look-up.
CREATE OR REPLACE FUNCTION threadline.record_transaction(
    this_transaction uuid, expected text, table_schema text, table_name text
) RETURNS threadline.attribution
LANGUAGE plpgsql AS $record$
#variable_conflict use_column
DECLARE
    note pg_catalog.text := pg_catalog.current_setting('threadline.recorded', true);
    v_suspended boolean := (
        pg_catalog.current_setting('threadline.suspended', true) OPERATOR(pg_catalog.<>) ''
    ) IS TRUE;
    -- To read among the rows of its neighbours would let a serializable transaction fail.
    v_may_read boolean := pg_catalog.current_setting('transaction_isolation')
        OPERATOR(pg_catalog.<>) 'serializable';
    v_noted boolean := pg_catalog.starts_with(
        note, pg_catalog.concat(pg_catalog.txid_current(), '|')
    ) IS TRUE;
    v_has_row boolean := v_noted AND threadline.has_its_row();
    v_context threadline.context_in_force;
    v_found threadline.attribution;
    v_recorded_actor pg_catalog.jsonb;
    v_made_in pg_catalog.xid;
    v_same boolean := false;
BEGIN
    IF v_suspended THEN
        v_found.suspension := threadline.suspension_of(table_schema, table_name);
        IF v_found.suspension IS NOT NULL THEN
            RETURN v_found;
        END IF;
    END IF;
    IF pg_catalog.concat(
        pg_catalog.current_setting('threadline.actor_ref', true),
        pg_catalog.current_setting('threadline.context', true),
        pg_catalog.current_setting('threadline.action_id', true)
    ) OPERATOR(pg_catalog.<>) '' THEN
        v_context := threadline.read_context();
    END IF;
    v_found.action_id := v_context.action_id;
    v_found.attributed := v_context.actor_ref IS NOT NULL;

    IF v_noted AND NOT v_has_row AND v_may_read THEN
        SELECT recorded.xmin INTO v_made_in
        FROM threadline.audit_transactions AS recorded
        WHERE recorded.id OPERATOR(pg_catalog.=) this_transaction;
        IF v_made_in IS NOT NULL THEN
            PERFORM threadline.remember_its_row(v_made_in);
            v_has_row := true;
        END IF;
    END IF;
    IF NOT v_has_row THEN
        -- A note can be lost, by DISCARD for instance. Naming the conflict's target would cost a
        -- look-up of every partition's index.
        INSERT INTO threadline.audit_transactions (
            id, occurred_at, xid, action_id, backend_pid, actor_ref, on_behalf_of, request_id,
            correlation_id, job_id, source, remote_addr, meta, db_user, application_name,
            client_addr
        ) VALUES (
            this_transaction, pg_catalog.clock_timestamp(), pg_catalog.pg_current_xact_id(),
            v_context.root_action_id, pg_catalog.pg_backend_pid(), v_context.actor_ref,
            v_context.on_behalf_of, v_context.request_id, v_context.correlation_id,
            v_context.job_id, v_context.source, v_context.remote_addr, v_context.meta,
            session_user, pg_catalog.current_setting('application_name'),
            pg_catalog.inet_client_addr()
        ) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            PERFORM
                pg_catalog.set_config(
                    'threadline.recorded',
                    pg_catalog.concat(
                        expected, CASE WHEN v_context.error IS NOT NULL OR v_suspended THEN '!' END
                    ),
                    true
                ),
                pg_catalog.setval(
                    'threadline.capture_session'::pg_catalog.regclass,
                    CASE WHEN v_may_read THEN 1 ELSE pg_catalog.txid_current() END
                );
            RETURN v_found;
        END IF;
    ELSIF (note OPERATOR(pg_catalog.=) expected) IS TRUE THEN
        RETURN v_found; -- in the context that the row has
    END IF;

    -- The transaction has its row, and the context changed since. What the row does not know
    -- yet is filled in; what it knows stays, and later changes carry their own actor.
    IF pg_catalog.num_nonnulls(
        v_context.root_action_id, v_context.request_id, v_context.correlation_id, v_context.job_id,
        v_context.source, v_context.remote_addr, v_context.meta
    ) OPERATOR(pg_catalog.>) 0 THEN
        UPDATE threadline.audit_transactions AS recorded
        SET action_id      = COALESCE(recorded.action_id, v_context.root_action_id),
            request_id     = COALESCE(recorded.request_id, v_context.request_id),
            correlation_id = COALESCE(recorded.correlation_id, v_context.correlation_id),
            job_id         = COALESCE(recorded.job_id, v_context.job_id),
            source         = COALESCE(recorded.source, v_context.source),
            remote_addr    = COALESCE(recorded.remote_addr, v_context.remote_addr),
            meta           = COALESCE(
                v_context.meta OPERATOR(pg_catalog.||) recorded.meta, recorded.meta, v_context.meta
            )
        WHERE recorded.id OPERATOR(pg_catalog.=) this_transaction
            AND (
                recorded.action_id IS NULL AND v_context.root_action_id IS NOT NULL
                OR recorded.request_id IS NULL AND v_context.request_id IS NOT NULL
                OR recorded.correlation_id IS NULL AND v_context.correlation_id IS NOT NULL
                OR recorded.job_id IS NULL AND v_context.job_id IS NOT NULL
                OR recorded.source IS NULL AND v_context.source IS NOT NULL
                OR recorded.remote_addr IS NULL AND v_context.remote_addr IS NOT NULL
                OR v_context.meta IS NOT NULL
                    AND (v_context.meta OPERATOR(pg_catalog.<@) recorded.meta) IS NOT TRUE
            );
    END IF;
    IF v_may_read THEN
        SELECT recorded.actor_ref, recorded.xmin INTO v_recorded_actor, v_made_in
        FROM threadline.audit_transactions AS recorded
        WHERE recorded.id OPERATOR(pg_catalog.=) this_transaction;
        v_same := COALESCE(
            v_recorded_actor OPERATOR(pg_catalog.=) v_context.actor_ref,
            v_recorded_actor IS NULL AND v_context.actor_ref IS NULL
        );
        IF NOT v_has_row THEN
            PERFORM threadline.remember_its_row(v_made_in);
        END IF;
    END IF;
    IF NOT v_same THEN
        v_found.actor_ref := COALESCE(v_context.actor_ref, 'null'::pg_catalog.jsonb);
    END IF;
    -- Only a context that is in order and the transaction's own lets the next change pass
    -- without coming here.
    PERFORM pg_catalog.set_config(
        'threadline.recorded',
        expected OPERATOR(pg_catalog.||)
            CASE WHEN v_context.error IS NULL AND v_same AND NOT v_suspended THEN '' ELSE '!' END,
        true
    );
    RETURN v_found;
END
$record$;

-- The same for callers that are not in a hurry.
CREATE OR REPLACE FUNCTION threadline.attribute_change(
    this_transaction uuid, table_schema text, table_name text
) RETURNS threadline.attribution
LANGUAGE plpgsql AS $attribute$
BEGIN
    RETURN threadline.record_transaction(
        this_transaction,
        pg_catalog.concat(
            pg_catalog.txid_current(),
            '|', pg_catalog.current_setting('threadline.actor_ref', true),
            '|', pg_catalog.current_setting('threadline.context', true),
            '|', pg_catalog.current_setting('threadline.action_id', true)
        ),
        table_schema,
        table_name
    );
END
$attribute$;

-- Attributes changes that capture has just recorded in the belief that they were the transaction's
-- first, where they were not: the session had lost capture's note, by RESET ALL for instance. Those
-- of a statement have one instant; without one, it is the change with the newest id.
CREATE OR REPLACE FUNCTION threadline.attribute_first_changes(
    this_transaction uuid, expected text, table_schema text, table_name text, instant timestamptz
) RETURNS void
LANGUAGE plpgsql AS $attribute$
DECLARE
    found threadline.attribution := threadline.record_transaction(
        this_transaction, expected, table_schema, table_name
    );
BEGIN
    IF found.actor_ref IS NOT NULL THEN
        UPDATE threadline.audit_changes AS change
        SET actor_ref = found.actor_ref
        WHERE change.transaction_id OPERATOR(pg_catalog.=) this_transaction
            AND CASE WHEN instant IS NOT NULL THEN change.captured_at OPERATOR(pg_catalog.=) instant
                ELSE change.id OPERATOR(pg_catalog.=) pg_catalog.currval(
                    'threadline.audit_changes_id_seq'::pg_catalog.regclass
                ) END;
    END IF;
END
$attribute$;

-- What a table in strict mode answers to a write that nobody signed.
CREATE OR REPLACE FUNCTION threadline.refuse_unattributed(table_schema text, table_name text)
RETURNS void
LANGUAGE plpgsql AS $refuse$
BEGIN
    RAISE EXCEPTION 'unattributed write to %.% refused: no valid actor is set in this transaction',
        table_schema, table_name
        USING ERRCODE = 'TL001',
              HINT = 'Write through an audited transaction, or set the actor first: '
                  'SELECT set_config(''threadline.actor_ref'', ''{"type":"user","id":"42"}'', true).';
END
$refuse$;

-- The doors the application comes in by. Everything it may say goes through these; it has no
-- rights on the tables themselves.
--
-- They run around every audited write, so they are as short as they can be: an expression costs as
-- much again in every transaction, and setting a search path for a call more than ten of them.
-- They run with the owner's rights under the session's path instead, and qualify every name, as
-- capture does.

-- Records an action in the running transaction. `action` holds id, name, and optionally status,
-- verb, category, reason, comment, meta; the rest comes from `actor` and `context`.
--
-- Actions are kept by the time in their ids, so an id that says nothing of now is refused: one that is
-- no version 7 uuid, or of more than a day ahead, or of more than ten years ago.
CREATE OR REPLACE FUNCTION threadline.record_action(
    action jsonb, actor jsonb, context jsonb
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER AS $record$
#variable_conflict use_column
DECLARE
    represented pg_catalog.jsonb;
    recorded pg_catalog.uuid := (action OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid;
    octets pg_catalog.bytea := pg_catalog.uuid_send(recorded);
    now_ms pg_catalog.int8 := pg_catalog.date_part('epoch', pg_catalog.now()) OPERATOR(pg_catalog.*) 1000;
BEGIN
    -- The first six bytes are milliseconds since 1970.
    IF (
        pg_catalog.get_byte(octets, 6) OPERATOR(pg_catalog./) 16 OPERATOR(pg_catalog.=) 7
        AND pg_catalog.substr(octets, 1, 6) OPERATOR(pg_catalog.>) pg_catalog.substr(
            pg_catalog.int8send(now_ms OPERATOR(pg_catalog.-) 315576000000), 3)
        AND pg_catalog.substr(octets, 1, 6) OPERATOR(pg_catalog.<) pg_catalog.substr(
            pg_catalog.int8send(now_ms OPERATOR(pg_catalog.+) 86400000), 3)
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'no id of an action: %', COALESCE(action OPERATOR(pg_catalog.->>) 'id', 'none')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An action''s id is a version 7 uuid of now; see guides/attribution.md.';
    END IF;
    -- As is_actor_ref and plain_actor_ref have it; a call of a SQL function would cost more than all
    -- of this.
    IF actor IS NOT NULL AND (
        (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
        OR (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) ANY (
            ARRAY['user', 'admin', 'service_account', 'job', 'system']
        ) AND (actor OPERATOR(pg_catalog.->>) 'id') OPERATOR(pg_catalog.<>) ''
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'no actor: %', actor
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; see guides/domain-reference.md.';
    END IF;
    IF context OPERATOR(pg_catalog.?) 'on_behalf_of' THEN
        represented := threadline.plain_actor_ref(context OPERATOR(pg_catalog.->) 'on_behalf_of');
    END IF;
    INSERT INTO threadline.audit_actions (
        id, transaction_id, recorded_at, name, status, actor_ref, on_behalf_of, verb, category,
        reason, comment, correlation_id, request_id, job_id, meta
    ) VALUES (
        recorded,
        threadline.current_transaction_id(),
        pg_catalog.clock_timestamp(),
        action OPERATOR(pg_catalog.->>) 'name',
        COALESCE(action OPERATOR(pg_catalog.->>) 'status', 'ok'),
        CASE
            WHEN (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) 'anonymous'
                THEN '{"type": "anonymous"}'
            WHEN actor IS NOT NULL THEN pg_catalog.jsonb_build_object(
                'type', actor OPERATOR(pg_catalog.->>) 'type',
                'id', actor OPERATOR(pg_catalog.->>) 'id'
            )
        END,
        represented,
        action OPERATOR(pg_catalog.->>) 'verb',
        action OPERATOR(pg_catalog.->>) 'category',
        action OPERATOR(pg_catalog.->>) 'reason',
        action OPERATOR(pg_catalog.->>) 'comment',
        context OPERATOR(pg_catalog.->>) 'correlation_id',
        context OPERATOR(pg_catalog.->>) 'request_id',
        context OPERATOR(pg_catalog.->>) 'job_id',
        action OPERATOR(pg_catalog.->) 'meta'
    );
    RETURN recorded;
END
$record$;

-- The settings in force, as close_audited_work takes them to put them back.
CREATE OR REPLACE FUNCTION threadline.published_context() RETURNS jsonb
LANGUAGE plpgsql STABLE AS $published$
BEGIN
    RETURN pg_catalog.jsonb_build_object(
        'actor_ref', pg_catalog.current_setting('threadline.actor_ref', true),
        'context', pg_catalog.current_setting('threadline.context', true),
        'action_id', pg_catalog.current_setting('threadline.action_id', true)
    );
END
$published$;

-- The context of work inside other work: it says which action is the outermost.
CREATE OR REPLACE FUNCTION threadline.nested_context(
    context jsonb, action_id text, before jsonb
) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $nested$
DECLARE
    outermost pg_catalog.text;
BEGIN
    BEGIN
        outermost := (before OPERATOR(pg_catalog.->>) 'context')::pg_catalog.jsonb
            OPERATOR(pg_catalog.->>) 'action_id';
    EXCEPTION WHEN OTHERS THEN
        outermost := NULL; -- malformed context of somebody else; capture reports it
    END;
    IF outermost IS NULL
        AND (before OPERATOR(pg_catalog.->>) 'action_id') OPERATOR(pg_catalog.<>) ''
    THEN
        outermost := before OPERATOR(pg_catalog.->>) 'action_id';
    END IF;
    IF COALESCE(outermost, action_id) IS NULL THEN
        RETURN context;
    END IF;
    RETURN context OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(
        'action_id', COALESCE(outermost, action_id)
    );
END
$nested$;

-- Opens an audited piece of work in the running transaction: publishes the context by
-- transaction-local settings and records the action, if there is one.
--
-- `work` is {"actor_ref": ..., "context": {...}, "action": {...}}. Returns what was in force
-- before, for leave_audited_work or close_audited_work.
CREATE OR REPLACE FUNCTION threadline.open_audited_work(work jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER AS $open$
DECLARE
    before pg_catalog.jsonb;
    context pg_catalog.jsonb := COALESCE(work OPERATOR(pg_catalog.->) 'context', '{}');
    action_id pg_catalog.text;
    published pg_catalog.text;
BEGIN
    IF work OPERATOR(pg_catalog.?) 'action' THEN
        action_id := threadline.record_action(
            work OPERATOR(pg_catalog.->) 'action', work OPERATOR(pg_catalog.->) 'actor_ref', context
        )::pg_catalog.text;
    END IF;
    IF pg_catalog.concat(
        pg_catalog.current_setting('threadline.actor_ref', true),
        pg_catalog.current_setting('threadline.context', true),
        pg_catalog.current_setting('threadline.action_id', true)
    ) OPERATOR(pg_catalog.<>) '' THEN
        before := threadline.published_context();
        context := threadline.nested_context(context, action_id, before);
        action_id := COALESCE(action_id, before OPERATOR(pg_catalog.->>) 'action_id');
    END IF;
    published := pg_catalog.concat(
        pg_catalog.set_config(
            'threadline.actor_ref', COALESCE(work OPERATOR(pg_catalog.->>) 'actor_ref', ''), true
        ),
        pg_catalog.set_config('threadline.context', context::pg_catalog.text, true),
        pg_catalog.set_config('threadline.action_id', COALESCE(action_id, ''), true)
    );
    RETURN COALESCE(before, '{}');
END
$open$;

-- Leaves an audited piece of work: puts back what was in force before it, where it was inside
-- other work or a transaction that had begun (`before` is NULL otherwise: the settings end with the
-- transaction), and says which audit transaction the running one is: none if nothing was captured.
--
-- Capture notes that it has made the transaction's row; the note begins with the transaction's xid,
-- and is taken back with the row when a savepoint is rolled back.
CREATE OR REPLACE FUNCTION threadline.leave_audited_work(before jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER AS $leave$
DECLARE
    put_back pg_catalog.text;
    this_transaction pg_catalog.uuid;
BEGIN
    IF before IS NOT NULL THEN
        put_back := pg_catalog.concat(
            pg_catalog.set_config(
                'threadline.actor_ref', COALESCE(before OPERATOR(pg_catalog.->>) 'actor_ref', ''), true
            ),
            pg_catalog.set_config(
                'threadline.context', COALESCE(before OPERATOR(pg_catalog.->>) 'context', ''), true
            ),
            pg_catalog.set_config(
                'threadline.action_id', COALESCE(before OPERATOR(pg_catalog.->>) 'action_id', ''), true
            )
        );
    END IF;
    -- As current_transaction_id has it, but a transaction that wrote nothing gets no id for this.
    this_transaction := pg_catalog.encode(
        pg_catalog.timestamptz_send(pg_catalog.now()) OPERATOR(pg_catalog.||)
            pg_catalog.xid8send(pg_catalog.pg_current_xact_id_if_assigned()),
        'hex'
    )::pg_catalog.uuid;
    RETURN CASE
        WHEN pg_catalog.starts_with(
            pg_catalog.current_setting('threadline.recorded', true),
            pg_catalog.concat(pg_catalog.txid_current_if_assigned(), '|')
        )
            THEN this_transaction
    END;
END
$leave$;

-- Leaves an audited piece of work, and says besides how much it captured: under the given action,
-- or in the whole transaction if there is none. It reads the trail, which under SERIALIZABLE can make a
-- conflict with whoever captures at the same time; leave_audited_work does not.
CREATE OR REPLACE FUNCTION threadline.close_audited_work(
    before jsonb, action uuid,
    OUT transaction_id uuid, OUT changes bigint, OUT tables bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $close$
#variable_conflict use_column
DECLARE
    this_transaction uuid := threadline.leave_audited_work(before);
    this_moment timestamptz := clock_timestamp();
BEGIN
    transaction_id := this_transaction;
    changes := 0;
    tables := 0;
    IF this_transaction IS NULL THEN
        RETURN;
    END IF;
    -- The bounds on captured_at only spare the partitions of other months.
    SELECT count(*), count(DISTINCT (change.table_schema, change.table_name))
    INTO changes, tables
    FROM threadline.audit_changes AS change
    WHERE change.transaction_id = this_transaction
        AND change.captured_at > now() - interval '1 day'
        AND change.captured_at < this_moment + interval '1 day'
        AND (action IS NULL OR change.action_id = action);
END
$close$;

-- Stored values must not show the settings of the session that wrote them. Capture looks at the
-- settings its table's types depend on; only where one is unusual does it come here.

-- Sets everything that shows in values to what the trail is written with, for the moment.
-- Returns what was set before, for unpin_session.
CREATE OR REPLACE FUNCTION threadline.pin_session() RETURNS text[]
LANGUAGE plpgsql AS $pin$
DECLARE
    before pg_catalog.text[] := ARRAY[
        pg_catalog.current_setting('TimeZone'),
        pg_catalog.current_setting('DateStyle'),
        pg_catalog.current_setting('IntervalStyle'),
        pg_catalog.current_setting('bytea_output'),
        pg_catalog.current_setting('extra_float_digits'),
        pg_catalog.current_setting('lc_monetary'),
        pg_catalog.current_setting('search_path'),
        pg_catalog.current_setting('quote_all_identifiers')
    ];
BEGIN
    PERFORM pg_catalog.set_config('TimeZone', 'UTC', true);
    PERFORM pg_catalog.set_config('DateStyle', 'ISO, MDY', true);
    PERFORM pg_catalog.set_config('IntervalStyle', 'postgres', true);
    PERFORM pg_catalog.set_config('bytea_output', 'hex', true);
    PERFORM pg_catalog.set_config('extra_float_digits', '1', true);
    PERFORM pg_catalog.set_config('lc_monetary', 'C', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    RETURN before;
END
$pin$;

CREATE OR REPLACE FUNCTION threadline.unpin_session(before text[]) RETURNS void
LANGUAGE plpgsql AS $unpin$
BEGIN
    PERFORM pg_catalog.set_config('TimeZone', before[1], true);
    PERFORM pg_catalog.set_config('DateStyle', before[2], true);
    PERFORM pg_catalog.set_config('IntervalStyle', before[3], true);
    PERFORM pg_catalog.set_config('bytea_output', before[4], true);
    PERFORM pg_catalog.set_config('extra_float_digits', before[5], true);
    PERFORM pg_catalog.set_config('lc_monetary', before[6], true);
    PERFORM pg_catalog.set_config('search_path', before[7], true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', before[8], true);
END
$unpin$;

-- What capture does when a table is no longer the one its functions were generated for.
--
-- A column that was dropped or renamed must not cost a write, and a column that was added must not
-- be stored before somebody has classified it. The generated functions notice the first by an
-- undefined column and the second by a row image that changed where no known column did; both then
-- ask here for a query built from the table as it is. Slow, exact, and reported by coverage.

-- The policy a capture function carries; null where there is none, or none that can be read.
CREATE OR REPLACE FUNCTION threadline.policy_of(function oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $policy$
DECLARE
    policy jsonb;
BEGIN
    policy := obj_description(function, 'pg_proc')::jsonb;
    IF jsonb_typeof(policy #> '{table,columns}') = 'array' AND policy #>> '{table,name,name}' <> ''
        AND jsonb_typeof(policy -> 'version') = 'number'
    THEN
        RETURN policy;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL; -- no JSON
END
$policy$;

-- The declaration that the capture triggers of a table were generated from.
CREATE OR REPLACE FUNCTION threadline.deployed_policy(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN COALESCE((
    SELECT policy -> 'table'
    FROM pg_trigger CROSS JOIN LATERAL threadline.policy_of(tgfoid) AS policy
    WHERE tgrelid = relation AND tgname LIKE '00\_threadline\_%' AND policy IS NOT NULL
    LIMIT 1
), '{}'); -- without a policy nothing is classified, so nothing is stored in clear

-- Whether a table has columns that its capture was not generated for.
CREATE OR REPLACE FUNCTION threadline.has_unclassified(relation oid, known text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND NOT attname = ANY (known)
);

-- The same, asked while an expression is planned: called immutable for that. A session that planned it
-- before a column was added does not know.
CREATE OR REPLACE FUNCTION threadline.had_unclassified(relation text, known text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN threadline.has_unclassified(to_regclass(relation), known);

-- Whether any of these columns of a table is a virtual generated one. In a row that a trigger sees
-- such a column is NULL, and to read it from the rows of a statement is an error.
--
-- Called immutable for the statement functions, which ask while their probe is planned: a plan is
-- made anew when the table changes, and a run of it then costs nothing.
CREATE OR REPLACE FUNCTION threadline.has_virtual(relation text, names text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass(relation) AND attnum > 0 AND NOT attisdropped
        AND attname = ANY (names) AND attgenerated = 'v'
);

-- The key of a row as one text: the value itself, or all values, by their columns' names, as a
-- JSON array. Texts that are
-- too long for an index are replaced by a digest.
CREATE OR REPLACE FUNCTION threadline.row_key(VARIADIC parts text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $key$
DECLARE
    joined pg_catalog.text;
BEGIN
    IF pg_catalog.array_length(parts, 1) OPERATOR(pg_catalog.=) 1 THEN
        joined := parts[1];
    ELSE
        joined := pg_catalog.to_jsonb(parts)::pg_catalog.text;
    END IF;
    IF pg_catalog.octet_length(joined) OPERATOR(pg_catalog.>) 512 THEN
        -- Of the bytes as they are where there is no saying what characters they are.
        joined := 'sha256:' OPERATOR(pg_catalog.||) pg_catalog.encode(
            pg_catalog.sha256(pg_catalog.convert_to(joined, CASE
                WHEN pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) ANY ('{SQL_ASCII,MULE_INTERNAL}')
                    THEN pg_catalog.getdatabaseencoding()
                ELSE 'UTF8'
            END)), 'hex'
        );
    END IF;
    RETURN joined;
END
$key$;

-- The type behind any number of domains.
CREATE OR REPLACE FUNCTION threadline.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH RECURSIVE chain (oid, base, kind) AS (
        SELECT t.oid, t.typbasetype, t.typtype FROM pg_type AS t WHERE t.oid = type
        UNION ALL
        SELECT t.oid, t.typbasetype, t.typtype
        FROM chain JOIN pg_type AS t ON t.oid = chain.base
        WHERE chain.kind = 'd'
    )
    SELECT chain.oid FROM chain WHERE chain.kind <> 'd'
);

-- An expression for a value of one of PostgreSQL's own types, by the name of the type, from which
-- to_jsonb loses nothing. The conditions are those of the generated functions: JSON numbers know no
-- negative zero, and JSON arrays no bounds but 1.
CREATE OR REPLACE FUNCTION threadline.lossless(value text, of_type text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN of_type IN ('float4', 'float8') THEN format(
        'CASE WHEN (%1$s::pg_catalog.text OPERATOR(pg_catalog.<>) ''-0'') IS NOT FALSE '
        'THEN pg_catalog.to_jsonb(%1$s) ELSE pg_catalog.to_jsonb(%1$s::pg_catalog.text) END', value)
    WHEN of_type IN ('json', '_json', '_jsonb') THEN format('%s::pg_catalog.text', value)
    WHEN of_type LIKE '\_%' THEN format(
        'CASE WHEN (pg_catalog.strpos(pg_catalog.replace(pg_catalog.array_dims(%1$s), '
        '''[1:'', ''''), ''['') OPERATOR(pg_catalog.=) 0' || CASE
            WHEN of_type IN ('_float4', '_float8')
                THEN ' AND %1$s::pg_catalog.text OPERATOR(pg_catalog.!~) ''-0[,}]'''
            ELSE ''
        END || ') IS NOT FALSE '
        'THEN pg_catalog.to_jsonb(%1$s) ELSE pg_catalog.to_jsonb(%1$s::pg_catalog.text) END', value)
    ELSE value
END;

-- The columns a table has now, each with its rule (null: not classified) and the expression that
-- renders it from a row called by `alias`.
CREATE OR REPLACE FUNCTION threadline.drifted_columns(
    relation oid, policy jsonb, alias text,
    OUT name text, OUT rule text, OUT rendered text
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        attribute.attname::text,
        declared.rule,
        CASE
            WHEN declared.rule = 'mask' THEN format('%L::pg_catalog.text', policy ->> 'mask_with')
            WHEN type.typnamespace <> 'pg_catalog'::regnamespace AND type.typtype <> 'e'
                OR type.typtype = 'c'
                THEN format('%I.%I::pg_catalog.text', alias, attribute.attname)
            ELSE threadline.lossless(format('%I.%I', alias, attribute.attname), type.typname)
        END
    FROM pg_attribute AS attribute
    JOIN pg_type AS type ON type.oid = threadline.base_type(attribute.atttypid)
    LEFT JOIN LATERAL (
        SELECT col ->> 'rule' AS rule
        FROM jsonb_array_elements(policy -> 'columns') AS col
        WHERE col ->> 'name' = attribute.attname
    ) AS declared ON true
    WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
        AND attribute.attgenerated <> 'v' -- no trigger sees its value
    ORDER BY attribute.attnum;
END;

-- An expression for the image of a row: classified columns that still exist.
CREATE OR REPLACE FUNCTION threadline.drifted_image(relation oid, policy jsonb, alias text)
RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT COALESCE(
        string_agg(
            format('pg_catalog.jsonb_build_object(%L, %s)', name, rendered),
            ' OPERATOR(pg_catalog.||) '
        ),
        '''{}''::pg_catalog.jsonb'
    )
    FROM threadline.drifted_columns(relation, policy, alias)
    WHERE rule IN ('clear', 'mask')
);

-- An expression for the old values of what changed between rows `o` and `n`. An unclassified
-- column shows that it changed, not from what.
CREATE OR REPLACE FUNCTION threadline.drifted_changes(relation oid, policy jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT string_agg(
        format(
            'CASE WHEN ROW(o.%1$I)::pg_catalog.record OPERATOR(pg_catalog.*<>) '
            'ROW(n.%1$I)::pg_catalog.record '
            'THEN pg_catalog.jsonb_build_object(%2$L, %3$s) ELSE ''{}''::pg_catalog.jsonb END',
            name, name,
            CASE WHEN rule IS NULL THEN '''[UNCLASSIFIED]''::pg_catalog.text' ELSE rendered END
        ),
        ' OPERATOR(pg_catalog.||) '
    )
    FROM threadline.drifted_columns(relation, policy, 'o')
    WHERE (rule <> 'exclude') IS NOT FALSE
);

-- Expressions for the key of a row; nulls where a key column is gone or there is no key.
CREATE OR REPLACE FUNCTION threadline.drifted_key(
    relation oid, policy jsonb, alias text, OUT table_pk text, OUT row_key text
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        CASE WHEN count(present.name) = count(*) AND count(*) > 0 THEN
            'pg_catalog.jsonb_build_object('
            || string_agg(format('%L, %s', key.name, present.as_text), ', ' ORDER BY key.position)
            || ')'
        ELSE 'NULL::pg_catalog.jsonb' END,
        CASE WHEN count(present.name) = count(*) AND count(*) > 0 THEN
            'threadline.row_key(' || string_agg(present.as_text, ', ' ORDER BY key.name COLLATE "C") || ')'
        ELSE 'NULL::pg_catalog.text' END
    FROM jsonb_array_elements_text(
        CASE WHEN jsonb_typeof(policy -> 'key') = 'object' THEN policy #> '{key,columns}'
        ELSE '[]' END
    ) WITH ORDINALITY AS key (name, position)
    LEFT JOIN LATERAL (
        SELECT current.name,
            format('(pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.#>>) ''{}'')', current.rendered)
                AS as_text
        FROM threadline.drifted_columns(relation, policy, alias) AS current
        WHERE current.name = key.name
    ) AS present ON true;
END;

-- The query that yields data_after, changed_from, table_pk, row_key and the old row_key of an
-- updated row, given as $1 (old) and $2 (new).
CREATE OR REPLACE FUNCTION threadline.drifted_update(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT format(
        'SELECT %s, %s, %s, %s, %s FROM (SELECT ($1).*) AS o, (SELECT ($2).*) AS n',
        threadline.drifted_image(relation, policy, 'n'),
        threadline.drifted_changes(relation, policy),
        new_key.table_pk, new_key.row_key, old_key.row_key
    )
    FROM threadline.deployed_policy(relation) AS policy,
        threadline.drifted_key(relation, policy, 'n') AS new_key,
        threadline.drifted_key(relation, policy, 'o') AS old_key
);

-- The query that yields the image, table_pk and row_key of rows. `source` is what stands in FROM
-- under the name r.
CREATE OR REPLACE FUNCTION threadline.drifted_rows(relation oid, source text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT format(
        'SELECT %s AS image, %s AS table_pk, %s AS row_key FROM %s AS r',
        threadline.drifted_image(relation, policy, 'r'), key.table_pk, key.row_key, source
    )
    FROM threadline.deployed_policy(relation) AS policy,
        threadline.drifted_key(relation, policy, 'r') AS key
);

-- TRUNCATE, which no row trigger sees. One function for all tables; the trigger's arguments are
-- the audited table's schema and name, whether rows are to be counted, and whether an actor is
-- required.

-- What a truncated relation is of the audited table its trigger is for: null, the table itself,
-- whatever it is called now; its own name, a part of it; an empty text, no part of it any more.
CREATE OR REPLACE FUNCTION threadline.truncated_part(
    relation oid, table_schema text, table_name text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $part$
DECLARE
    shown text;
    is_named_so boolean;
    is_partition boolean;
    own_triggers boolean;
    row_triggers boolean;
    arguments bytea := convert_to(table_schema, getdatabaseencoding()) || '\x00'
        || convert_to(table_name, getdatabaseencoding()) || '\x00';
    belongs_to_another boolean;
BEGIN
    SELECT format('%I.%I', namespace.nspname, class.relname), class.relispartition,
        namespace.nspname = table_schema AND class.relname = table_name
    INTO shown, is_partition, is_named_so
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.oid = relation;
    SELECT count(*) > 0, COALESCE(bool_or(tgparentid = 0), false) INTO row_triggers, own_triggers
    FROM pg_trigger
    WHERE tgrelid = relation
        AND tgname IN ('00_threadline_insert', '00_threadline_update', '00_threadline_delete');
    IF is_partition THEN
        -- The triggers of a partition are its root's.
        RETURN CASE WHEN own_triggers OR is_named_so THEN NULL ELSE shown END;
    END IF;
    -- A child of the table, or one that was; or the table itself, which may have another name now.
    SELECT count(*) > 0 INTO belongs_to_another
    FROM pg_trigger AS trigger
    WHERE trigger.tgname = '00_threadline_truncate' AND trigger.tgrelid <> relation
        AND substr(trigger.tgargs, 1, length(arguments)) = arguments
        AND (
            trigger.tgrelid IN (
                WITH RECURSIVE ancestor (oid) AS (
                    SELECT inhparent FROM pg_inherits WHERE inhrelid = relation
                    UNION
                    SELECT inhparent FROM pg_inherits JOIN ancestor ON inhrelid = ancestor.oid
                )
                SELECT oid FROM ancestor
            )
            OR trigger.tgrelid = to_regclass(format('%I.%I', table_schema, table_name))
        );
    RETURN CASE
        WHEN is_named_so THEN NULL
        WHEN NOT row_triggers THEN '' -- a partition that was detached keeps this trigger alone
        WHEN belongs_to_another THEN shown
    END;
END
$part$;

-- Whether TRUNCATE ONLY is running: TRUNCATE has locked a table's children by the time its triggers
-- fire. Where they were locked before, ONLY cannot be told from what empties them too.
CREATE OR REPLACE FUNCTION threadline.truncates_only(relation oid) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    WITH RECURSIVE child (oid) AS (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = relation
        UNION
        SELECT inhrelid FROM pg_inherits JOIN child ON inhparent = child.oid
    )
    SELECT FROM child
    JOIN pg_class AS class ON class.oid = child.oid
    WHERE (class.relpersistence <> 't' OR class.relnamespace = pg_my_temp_schema())
        AND NOT EXISTS (
            SELECT FROM pg_locks AS held
            WHERE held.locktype = 'relation' AND held.relation = child.oid
                AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND held.pid = pg_backend_pid() AND held.mode = 'AccessExclusiveLock' AND held.granted
        )
);

-- Whether the trail says already that a part of a table is empty: the last that this transaction
-- recorded of the table is that all of it was emptied, or a partition above the part.
--
-- TRUNCATE of a partitioned table fires for its partitions too, the root first. Nobody else can have
-- added rows meanwhile, the table being locked; and what this transaction adds is recorded, unless
-- capture was suspended.
CREATE OR REPLACE FUNCTION threadline.is_known_empty(
    relation oid, this_transaction uuid, of_schema text, of_table text
) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $known$
BEGIN
    RETURN COALESCE((
        SELECT last.op = 'truncate' AND (
            last.partition_name IS NULL
            OR last.partition_name IN (
                SELECT format('%I.%I', namespace.nspname, class.relname)
                FROM pg_partition_ancestors(relation::regclass) AS ancestor
                JOIN pg_class AS class ON class.oid = ancestor.relid
                JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
                WHERE ancestor.relid <> relation
            )
        )
        FROM (
            SELECT change.op, change.partition_name FROM threadline.audit_changes AS change
            WHERE change.transaction_id = this_transaction
                AND change.table_schema = of_schema AND change.table_name = of_table
                AND change.captured_at > now() - interval '1 day'
            ORDER BY change.id DESC LIMIT 1
        ) AS last
    ), false) AND NOT EXISTS (
        SELECT FROM threadline.audit_suspensions AS suspension
        WHERE suspension.transaction_id = this_transaction
    );
END
$known$;

CREATE OR REPLACE FUNCTION threadline.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $truncate$
#variable_conflict use_column
DECLARE
    v_partition text := threadline.truncated_part(TG_RELID, TG_ARGV[0], TG_ARGV[1]);
    v_only text := '';
    v_rows bigint;
    v_attribution threadline.attribution;
    v_transaction uuid := threadline.current_transaction_id();
    v_mark text := format('%s %I.%I', statement_timestamp(), TG_ARGV[0], TG_ARGV[1]);
BEGIN
    IF v_partition = '' OR v_partition IS NOT NULL
        AND threadline.is_known_empty(TG_RELID, v_transaction, TG_ARGV[0], TG_ARGV[1])
    THEN
        RETURN NULL;
    END IF;
    IF (SELECT relkind FROM pg_class WHERE oid = TG_RELID) = 'r'
        AND threadline.truncates_only(TG_RELID)
    THEN
        v_partition := format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME);
        v_only := 'ONLY ';
    END IF;
    IF TG_ARGV[2] = 'count' THEN
        EXECUTE format('SELECT count(*) FROM %s%I.%I', v_only, TG_TABLE_SCHEMA, TG_TABLE_NAME)
            INTO v_rows;
    END IF;
    v_attribution := threadline.attribute_change(v_transaction, TG_ARGV[0], TG_ARGV[1]);
    IF v_attribution.suspension IS NOT NULL THEN
        -- What was counted with the whole table is not counted again by its parts.
        IF v_partition IS NULL THEN
            PERFORM set_config('threadline.truncating', threadline.signed(v_mark), true);
        ELSIF threadline.verified(current_setting('threadline.truncating', true)) = v_mark THEN
            RETURN NULL;
        END IF;
        PERFORM threadline.count_suspended(
            v_attribution.suspension, TG_ARGV[0], TG_ARGV[1], 'truncate', COALESCE(v_rows, 0)
        );
        RETURN NULL;
    END IF;
    IF TG_ARGV[3] = 'required' AND NOT v_attribution.attributed THEN
        PERFORM threadline.refuse_unattributed(TG_ARGV[0], TG_ARGV[1]);
    END IF;
    INSERT INTO threadline.audit_changes (
        id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
        row_count, partition_name
    ) VALUES (
        nextval('threadline.audit_changes_id_seq'), clock_timestamp(), v_transaction,
        v_attribution.action_id, v_attribution.actor_ref, 'truncate', TG_ARGV[0], TG_ARGV[1],
        v_rows, v_partition
    );
    RETURN NULL;
END
$truncate$;

-- Putting a table under capture, and taking it out: called by generated migrations.

-- Stops a migration whose declaration contradicts the table it finds.
CREATE OR REPLACE FUNCTION threadline.check_declaration(declared jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $check$
DECLARE
    shown text := format('%I.%I', declared #>> '{name,schema}', declared #>> '{name,name}');
    relation regclass := to_regclass(shown);
    kind "char";
    declared_key text[] := ARRAY(
        SELECT jsonb_array_elements_text(
            CASE WHEN jsonb_typeof(declared -> 'key') = 'object' THEN declared #> '{key,columns}'
            ELSE '[]' END
        )
    );
    table_key text[];
    difference record;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'table % does not exist', shown
            USING HINT = 'Run the migration that creates it first, or correct its name in the code.';
    END IF;
    SELECT relkind INTO kind FROM pg_class WHERE oid = relation;
    IF kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table, so its rows cannot be captured', shown
            USING HINT = 'Audit the tables behind it.';
    END IF;
    IF (SELECT relispartition FROM pg_class WHERE oid = relation) THEN
        RAISE EXCEPTION 'table % is a partition of %', shown, pg_partition_root(relation)
            USING HINT = format('Audit %s: its partitions are captured with it.', pg_partition_root(relation));
    END IF;
    -- Triggers of one name can be of one table only.
    FOR difference IN SELECT related.* FROM threadline.captured_relatives(relation) AS related LIMIT 1 LOOP
        RAISE EXCEPTION 'table % is an inheritance child of %, with which it is captured', difference.child, difference.parent
            USING HINT = 'Audit one of the two; to change from one to the other, gen-triggers --retire the one first.';
    END LOOP;
    IF (SELECT relpersistence FROM pg_class WHERE oid = relation) = 'u' THEN
        RAISE WARNING 'table % is unlogged: after a crash it is empty, and its trail is not', shown;
    END IF;

    -- Columns that the code names must be there, with the types it names.
    FOR difference IN
        SELECT col ->> 'name' AS name, type.typname AS found,
            COALESCE(col #>> '{column_type,builtin}', col #>> '{column_type,array}') AS wanted,
            col -> 'column_type' ? 'array' AS wants_array
        FROM jsonb_array_elements(declared -> 'columns') AS col
        LEFT JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation AND attribute.attname = col ->> 'name'
                AND attribute.attnum > 0 AND NOT attribute.attisdropped
        LEFT JOIN LATERAL threadline.base_type(attribute.atttypid) AS base ON true
        LEFT JOIN pg_type AS type ON type.oid = base
    LOOP
        IF difference.found IS NULL THEN
            RAISE EXCEPTION 'table %: column "%" is declared in the code, but not in the database',
                shown, difference.name
                USING HINT = 'Run the migration that adds it first, or take it out of the code (diesel print-schema) and generate again.';
        END IF;
        CONTINUE WHEN difference.wanted IS NULL;
        IF difference.wants_array THEN
            difference.wanted := '_' || difference.wanted;
        END IF;
        CONTINUE WHEN difference.wanted = difference.found
            OR difference.wanted IN ('text', 'varchar', 'bpchar', 'name')
                AND difference.found IN ('text', 'varchar', 'bpchar', 'name', 'citext')
            OR difference.wanted IN ('_text', '_varchar', '_bpchar')
                AND difference.found IN ('_text', '_varchar', '_bpchar');
        RAISE EXCEPTION 'table %: column "%" is declared as %, but is % in the database',
            shown, difference.name, difference.wanted, difference.found
            USING HINT = 'Correct the type in the code (diesel print-schema) and generate again.';
    END LOOP;

    -- A virtual generated column is computed when it is read, and no trigger sees its value.
    FOR difference IN
        SELECT col ->> 'name' AS name
        FROM jsonb_array_elements(declared -> 'columns') AS col
        WHERE col ->> 'rule' <> 'exclude' AND threadline.has_virtual(shown, ARRAY[col ->> 'name'])
    LOOP
        RAISE EXCEPTION 'table %: column "%" is a virtual generated column, whose values no trigger sees',
            shown, difference.name
            USING HINT = format('Exclude it in the code, #[audited(exclude(%s))] or --exclude %1$s, and generate again; or have it stored: GENERATED ALWAYS AS (...) STORED.', difference.name);
    END LOOP;

    -- Columns that nobody classified are not captured, which somebody should know.
    FOR difference IN
        SELECT attribute.attname AS name
        FROM pg_attribute AS attribute
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
            AND attribute.attgenerated <> 'v'
            AND NOT EXISTS (
                SELECT FROM jsonb_array_elements(declared -> 'columns') AS col
                WHERE col ->> 'name' = attribute.attname
            )
    LOOP
        RAISE WARNING 'table %: column "%" is not declared in the code, so its values will not be captured',
            shown, difference.name;
    END LOOP;

    -- The key must be the table's key.
    SELECT array_agg(attribute.attname::text ORDER BY position) INTO table_key
    FROM pg_index AS index
    CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (attnum, position)
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = relation AND attribute.attnum = part.attnum
    WHERE index.indrelid = relation AND index.indisprimary AND position <= index.indnkeyatts;
    IF table_key IS NOT NULL THEN
        IF NOT (table_key @> declared_key AND declared_key @> table_key) THEN
            RAISE EXCEPTION 'table %: its primary key is (%), but the code declares %',
                shown, array_to_string(table_key, ', '),
                COALESCE('(' || NULLIF(array_to_string(declared_key, ', '), '') || ')', 'no key')
                USING HINT = 'Correct the key in the code (diesel print-schema) and generate again.';
        END IF;
    ELSIF cardinality(declared_key) > 0
        AND NOT threadline.is_unique_key(relation, declared_key)
    THEN
        RAISE EXCEPTION 'table % has no primary key, and no unique index makes (%) one',
            shown, array_to_string(declared_key, ', ')
            USING HINT = 'Add a primary key, or a plain unique index over columns that are NOT NULL, or declare the table without a key.';
    END IF;
END
$check$;

-- Whether a unique index tells rows apart by exactly these columns, always and at once.
CREATE OR REPLACE FUNCTION threadline.is_unique_key(relation regclass, key text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT
    FROM pg_index AS index
    WHERE index.indrelid = relation AND index.indisunique AND index.indisvalid
        AND index.indisready AND index.indimmediate AND index.indpred IS NULL
        AND index.indexprs IS NULL
        AND index.indnkeyatts = cardinality(key)
        AND NOT EXISTS (
            SELECT
            FROM unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (attnum, position)
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = relation AND attribute.attnum = part.attnum
            WHERE part.position <= index.indnkeyatts
                AND NOT (attribute.attnotnull AND attribute.attname = ANY (key))
        )
);

-- Writes the policy that the capture functions of a table carry, where the catalog can be asked
-- for it, with digests of their bodies: a function that was changed by hand no longer has its own.
CREATE OR REPLACE FUNCTION threadline.deploy_policy(
    policy jsonb, row_function text, statement_function text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $deploy$
DECLARE
    function text;
    -- What the columns are by number: names can be swapped.
    attributes jsonb := (
        SELECT jsonb_object_agg(attname, attnum) FROM pg_attribute
        WHERE attrelid = to_regclass(format(
                '%I.%I', policy #>> '{table,name,schema}', policy #>> '{table,name,name}'
            )) AND attnum > 0 AND NOT attisdropped
    );
BEGIN
    FOREACH function IN ARRAY ARRAY[row_function, statement_function] LOOP
        EXECUTE format(
            'COMMENT ON FUNCTION %s() IS %L', function,
            policy || jsonb_build_object('attributes', attributes, 'body', (
                SELECT encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') FROM pg_proc
                WHERE oid = (function || '()')::regprocedure
            ))
        );
        -- What default privileges gave on it.
        PERFORM threadline.take_back('FUNCTION', function || '()', privilege.grantee)
        FROM pg_proc AS deployed CROSS JOIN LATERAL aclexplode(deployed.proacl) AS privilege
        WHERE deployed.oid = (function || '()')::regprocedure AND privilege.grantee <> deployed.proowner;
    END LOOP;
END
$deploy$;

-- Creates a trigger, unless it is there and as wanted: creating one locks the table.
CREATE OR REPLACE FUNCTION threadline.ensure_trigger(
    relation regclass, trigger_name text, events integer, function text, arguments text[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $ensure$
DECLARE
    target regprocedure := (function || '()')::regprocedure;
    stored_arguments bytea := COALESCE(
        (SELECT string_agg(convert_to(argument, getdatabaseencoding()) || '\x00', '')
         FROM unnest(arguments) AS argument),
        ''
    );
BEGIN
    IF EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = relation AND tgname = trigger_name AND tgfoid = target
            AND tgtype = events AND tgargs = stored_arguments AND tgqual IS NULL
            AND tgattr = ''::int2vector
            AND tgenabled IN ('O', 'A')
    ) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH %s EXECUTE FUNCTION %s(%s)',
        trigger_name,
        CASE events & ~1
            WHEN 4 THEN 'AFTER INSERT' WHEN 8 THEN 'AFTER DELETE'
            WHEN 16 THEN 'AFTER UPDATE' WHEN 6 THEN 'BEFORE INSERT' WHEN 10 THEN 'BEFORE DELETE'
            WHEN 18 THEN 'BEFORE UPDATE' WHEN 34 THEN 'BEFORE TRUNCATE'
        END,
        relation,
        CASE events
            WHEN 4 THEN 'REFERENCING NEW TABLE AS captured_rows'
            WHEN 8 THEN 'REFERENCING OLD TABLE AS captured_rows'
            ELSE ''
        END,
        CASE events & 1 WHEN 1 THEN 'ROW' ELSE 'STATEMENT' END,
        function,
        (SELECT string_agg(quote_literal(argument), ', ') FROM unnest(arguments) AS argument)
    );
    EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', relation, trigger_name);
END
$ensure$;

-- The tables that hold the rows of tables, themselves first.
CREATE OR REPLACE FUNCTION threadline.families_of(tables text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH RECURSIVE family (oid, place, depth) AS (
        SELECT to_regclass(given)::oid, given, 0 FROM unnest(tables) AS given WHERE to_regclass(given) IS NOT NULL
        UNION
        SELECT inherits.inhrelid, family.place, family.depth + 1
        FROM pg_inherits AS inherits JOIN family ON inherits.inhparent = family.oid
    )
    SELECT COALESCE(array_agg(family.oid::regclass::text ORDER BY family.place, family.depth, family.oid), '{}')
    FROM family
);

-- Locks tables that are about to get triggers, all or none, without ever making a writer a victim.
CREATE OR REPLACE FUNCTION threadline.lock_for_enrolment(tables text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $lock$
DECLARE
    waiting text[] := ARRAY(
        SELECT given FROM unnest(tables) AS given
        WHERE to_regclass(given) IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = to_regclass(given) AND tgname = '00_threadline_update' AND tgenabled IN ('O', 'A')
        )
        ORDER BY given
    );
BEGIN
    -- Two migrations of one kind would replace the same functions.
    PERFORM pg_advisory_xact_lock(hashtextextended('threadline enrolment', 0));
    IF NOT threadline.lock_patiently(threadline.families_of(waiting), 'SHARE ROW EXCLUSIVE') THEN
        RAISE EXCEPTION 'tables are too busy to put them under capture: %', array_to_string(waiting, ', ')
            USING ERRCODE = 'lock_not_available',
                  HINT = 'Run the migration again at a quieter time; nothing was changed.';
    END IF;
END
$lock$;

-- Puts the capture triggers on a table and on everything that holds its rows.
--
-- Updates are captured row by row everywhere. Inserts and deletes are captured by the statement,
-- which halves what bulk writes cost, but only where that sees everything in order:
-- * a statement trigger on a partitioned table misses writes that name a partition, and one on a
--   parent misses its children, so there row triggers do it (partitions get them from the root,
--   also when they are attached later; children are visited here);
-- * a host's own AFTER ROW trigger runs before a statement trigger, so what it changes would be
--   recorded before what caused it.
-- The names sort before any other trigger's, since PostgreSQL fires by name. What has to be the last
-- word before a row of a partitioned table is written (see 13_row_movement.sql) sorts after them.
CREATE OR REPLACE FUNCTION threadline.attach_capture(
    declared jsonb, row_function text, statement_function text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $attach$
DECLARE
    root regclass := format('%I.%I', declared #>> '{name,schema}', declared #>> '{name,name}')::regclass;
    name text[] := ARRAY[declared #>> '{name,schema}', declared #>> '{name,name}'];
    partitioned boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = root);
    has_children boolean := EXISTS (SELECT FROM pg_inherits WHERE inhparent = root);
    row_level boolean := partitioned OR has_children OR EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = root AND NOT tgisinternal AND tgname NOT LIKE '00\_threadline\_%'
            AND tgtype::integer & 3 = 1 -- AFTER, FOR EACH ROW
    );
    relation regclass;
    truncate_arguments text[] := ARRAY[
        declared #>> '{name,schema}', declared #>> '{name,name}', declared ->> 'truncate',
        declared ->> 'actor'
    ];
BEGIN
    PERFORM threadline.note_attached(declared #>> '{name,schema}', declared #>> '{name,name}', root);
    FOR relation IN
        WITH RECURSIVE family (oid) AS (
            SELECT root::oid
            UNION
            SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = family.oid
        )
        SELECT oid FROM family
    LOOP
        IF relation = root AND partitioned THEN
            PERFORM threadline.ensure_trigger(relation, '~threadline_update', 19, 'threadline.note_update', '{}'),
                threadline.ensure_trigger(relation, '00_threadline_leave', 11, 'threadline.leave_partition', name),
                threadline.ensure_trigger(relation, '00_threadline_come', 7, 'threadline.come_to_partition', '{}'),
                threadline.ensure_trigger(relation, '~threadline_insert', 7, 'threadline.settle_in_partition', '{}');
        END IF;
        IF relation = root OR NOT partitioned THEN
            PERFORM threadline.ensure_trigger(relation, '00_threadline_update', 17, row_function, '{}');
            IF row_level THEN
                PERFORM threadline.ensure_trigger(relation, '00_threadline_insert', 5, row_function, '{}');
                PERFORM threadline.ensure_trigger(relation, '00_threadline_delete', 9, row_function, '{}');
            ELSE
                PERFORM threadline.ensure_trigger(relation, '00_threadline_insert', 4, statement_function, '{}');
                PERFORM threadline.ensure_trigger(relation, '00_threadline_delete', 8, statement_function, '{}');
            END IF;
        END IF;
        PERFORM threadline.ensure_trigger(
            relation, '00_threadline_truncate', 34, 'threadline.capture_truncate', truncate_arguments
        );
    END LOOP;
END
$attach$;

-- Puts the triggers of a deployed policy where they belong now: after a partition or a child was
-- added, a trigger dropped, or a trigger of the host's own created.
CREATE OR REPLACE FUNCTION threadline.refresh_capture(table_schema text, table_name text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $refresh$
DECLARE
    declared jsonb;
    row_function text;
    statement_function text;
    lacking text[];
BEGIN
    SELECT (array_agg(policy -> 'table'))[1],
        min(format('threadline.%I', proname)) FILTER (WHERE proname LIKE 'capture\_row\_%'),
        min(format('threadline.%I', proname)) FILTER (WHERE proname LIKE 'capture\_statement\_%')
    INTO declared, row_function, statement_function
    FROM pg_proc CROSS JOIN LATERAL threadline.policy_of(pg_proc.oid) AS policy
    WHERE pronamespace = 'threadline'::regnamespace AND proname LIKE 'capture\_%'
        AND policy #>> '{table,name,schema}' = refresh_capture.table_schema
        AND policy #>> '{table,name,name}' = refresh_capture.table_name;
    IF declared IS NULL THEN
        RAISE EXCEPTION 'table %.% has no capture policy', table_schema, table_name
            USING HINT = 'Declare it in the code and run gen-triggers.';
    END IF;
    -- Those that get a trigger, all at once; where all is well, none.
    lacking := ARRAY(
        SELECT holder FROM unnest(threadline.families_of(
            ARRAY[format('%I.%I', refresh_capture.table_schema, refresh_capture.table_name)]
        )) WITH ORDINALITY AS family (holder, place)
        WHERE EXISTS (
            SELECT FROM threadline.expected_triggers() AS expected
            LEFT JOIN pg_trigger AS trigger
                ON trigger.tgrelid = expected.relation AND trigger.tgname = expected.trigger_name
            WHERE expected.relation = holder::regclass AND expected.table_schema = refresh_capture.table_schema
                AND expected.table_name = refresh_capture.table_name
                AND (trigger.tgenabled IN ('O', 'A') AND trigger.tgtype = ANY (expected.levels)
                    AND trigger.tgfoid = ANY (expected.functions) AND trigger.tgqual IS NULL
                    AND trigger.tgattr = ''::int2vector
                    AND trigger.tgargs = threadline.trigger_arguments(expected.arguments)) IS NOT TRUE
        )
        ORDER BY place
    );
    IF NOT threadline.lock_patiently(lacking, 'SHARE ROW EXCLUSIVE') THEN
        RAISE EXCEPTION 'tables are too busy to put their triggers in order: %', array_to_string(lacking, ', ')
            USING ERRCODE = 'lock_not_available',
                  HINT = 'Call it again at a quieter time; nothing was changed.';
    END IF;
    PERFORM threadline.attach_capture(declared, row_function, statement_function);
END
$refresh$;

-- Takes the capture triggers off a table and everything that holds its rows. Its trail stays.
CREATE OR REPLACE FUNCTION threadline.detach_capture(table_schema text, table_name text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $detach$
DECLARE
    found_trigger record;
BEGIN
    PERFORM threadline.note_detached(table_schema, table_name);
    PERFORM threadline.lock_patiently(
        threadline.families_of(ARRAY[format('%I.%I', table_schema, table_name)]), 'ACCESS EXCLUSIVE');
    FOR found_trigger IN
        WITH RECURSIVE family (oid) AS (
            SELECT to_regclass(format('%I.%I', table_schema, table_name))::oid
            UNION
            SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = family.oid
        )
        SELECT tgrelid::regclass AS relation, tgname
        FROM pg_trigger JOIN family ON tgrelid = family.oid
        -- Triggers of partitions go with their root's.
        WHERE (tgname LIKE '00\_threadline\_%' OR tgname LIKE '~threadline\_%') AND tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found_trigger.tgname, found_trigger.relation);
    END LOOP;
END
$detach$;

-- The trail only grows. These guards stop everyone, its owner too, from changing what is recorded;
-- only what the running transaction recorded itself may still be completed by capture, and
-- 15_removal.sql has the one way in which the trail gets smaller.

CREATE OR REPLACE FUNCTION threadline.guard_row() RETURNS trigger
LANGUAGE plpgsql AS $guard$
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        IF TG_ARGV[0] OPERATOR(pg_catalog.=) 'id' THEN
            IF OLD.id OPERATOR(pg_catalog.=) threadline.current_transaction_id() THEN
                RETURN NEW;
            END IF;
        ELSIF OLD.transaction_id OPERATOR(pg_catalog.=) threadline.current_transaction_id() THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'What has to go goes by remove_changes or erase_values, which record what they remove.';
END
$guard$;

-- The triggers for rows are in 15_removal.sql, beside what lets a removal past them.

SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate()
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_changes
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate()
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_actions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate()
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_renames
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate()
$guard$);

-- Following one row through its keys.

-- Notes that a change gave a row another key. Called by capture, rarely.
CREATE OR REPLACE FUNCTION threadline.record_rename(
    change_id bigint, captured_at timestamptz, transaction_id uuid, table_schema text,
    table_name text, row_key text, previous_key text
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $record$
    INSERT INTO threadline.audit_renames (
        change_id, captured_at, transaction_id, table_schema, table_name, row_key, previous_key
    ) VALUES (
        record_rename.change_id, record_rename.captured_at, record_rename.transaction_id,
        record_rename.table_schema, record_rename.table_name, record_rename.row_key,
        record_rename.previous_key
    )
$record$;

-- The keys under which the row that a key names was and is known, each with the changes (by id)
-- during which it was. A key names the row that has it now, or had it last.
--
-- Backwards: the row came to a key by an insert, or by an update that gave it the key. Forwards: if
-- it has left the key since, it is followed to where it went.
CREATE OR REPLACE FUNCTION threadline.row_segments(
    of_schema text, of_table text, of_key text
) RETURNS TABLE (row_key text, first_id bigint, last_id bigint)
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
-- To plan for every month takes longer than to look into it.
SET plan_cache_mode = force_generic_plan AS $segments$
#variable_conflict use_variable
DECLARE
    highest CONSTANT bigint := 9223372036854775807;
    here text := of_key;
    upper_id bigint := highest;
    arrived record;
    left_at bigint;
    went_to text;
    left_as jsonb;
    departed bigint;
    seen record;
BEGIN
    -- Most rows have had one key, and then no month has to be looked into.
    IF NOT EXISTS (
        SELECT FROM threadline.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = of_key
    ) AND NOT EXISTS (
        SELECT FROM threadline.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.row_key = of_key
    ) THEN
        row_key := of_key;
        first_id := 0;
        last_id := highest;
        RETURN NEXT;
        RETURN;
    END IF;

    -- Forwards: where did it go, if it left after it was last seen here? While keys are swapped,
    -- a row may come to a key before the row that had it leaves; then that one left, and not ours.
    SELECT c.id, c.previous_key, c.data_after INTO seen
    FROM threadline.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = of_key
    ORDER BY c.id DESC LIMIT 1;
    SELECT r.change_id, r.row_key, c.data_after || c.changed_from INTO left_at, went_to, left_as
    FROM threadline.audit_renames AS r
    JOIN threadline.audit_changes AS c ON c.captured_at = r.captured_at AND c.id = r.change_id
    WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = of_key
    ORDER BY r.change_id DESC LIMIT 1;
    IF left_at < seen.id OR seen.previous_key IS NOT NULL AND seen.data_after <> left_as THEN
        left_at := NULL;
    END IF;
    WHILE left_at IS NOT NULL LOOP
        here := went_to;
        SELECT r.change_id, r.row_key INTO left_at, went_to FROM threadline.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = here
            AND r.change_id > left_at
        ORDER BY r.change_id LIMIT 1;
    END LOOP;

    -- Backwards.
    FOR step IN 1 .. 1000 LOOP
        SELECT c.id, c.previous_key, c.data_after AS after, c.data_after || c.changed_from AS before
        INTO arrived
        FROM threadline.audit_renames AS r
        JOIN threadline.audit_changes AS c ON c.captured_at = r.captured_at AND c.id = r.change_id
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.row_key = here
            AND r.change_id <= upper_id
        ORDER BY r.change_id DESC LIMIT 1;
        SELECT max(r.change_id) INTO departed FROM threadline.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = here
            AND r.change_id <= upper_id;
        row_key := here;
        last_id := upper_id;
        -- A departure after the arrival ends it, unless it was the other row of a swap that left.
        IF departed > arrived.id AND (
            SELECT c.data_after || c.changed_from <> arrived.after
            FROM threadline.audit_renames AS r
            JOIN threadline.audit_changes AS c
                ON c.captured_at = r.captured_at AND c.id = r.change_id
            WHERE r.table_name = of_table AND r.table_schema = of_schema
                AND r.previous_key = here AND r.change_id = departed
        ) AND NOT EXISTS (
            SELECT FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = here
                AND c.id > arrived.id AND c.id < departed
        ) THEN
            departed := NULL;
        END IF;
        first_id := GREATEST(arrived.id, departed + 1, 0);
        RETURN NEXT;
        EXIT WHEN arrived.id IS NULL OR departed > arrived.id;
        -- Where it came from. While keys are swapped, another row may have come there before ours
        -- left; ours is the one whose last image is the one it left with.
        here := arrived.previous_key;
        SELECT c.id INTO upper_id FROM (
            SELECT last.id, last.data_after FROM threadline.audit_changes AS last
            WHERE last.table_name = of_table AND last.table_schema = of_schema
                AND last.row_key = here AND last.id < arrived.id
            ORDER BY last.id DESC LIMIT 100
        ) AS c
        WHERE c.data_after = arrived.before
        ORDER BY c.id DESC LIMIT 1;
        upper_id := COALESCE(upper_id, arrived.id - 1);
    END LOOP;
END
$segments$;

-- For people at a SQL prompt.

-- The names of the columns an update changed.
CREATE OR REPLACE FUNCTION threadline.changed_fields(op text, changed_from jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN op OPERATOR(pg_catalog.=) 'update' THEN
    ARRAY(SELECT key FROM pg_catalog.jsonb_object_keys(changed_from) AS key ORDER BY key)
END;

-- Every change with who, why, and what changed.
SELECT threadline.ensure_view('audit_timeline', $view$
SELECT
    change.id,
    change.captured_at,
    change.op,
    change.table_schema,
    change.table_name,
    change.table_pk,
    threadline.changed_fields(change.op, change.changed_from) AS changed_fields,
    change.changed_from,
    change.data_after,
    NULLIF(COALESCE(change.actor_ref, transaction.actor_ref), 'null') AS actor_ref,
    COALESCE(action.on_behalf_of, transaction.on_behalf_of) AS on_behalf_of,
    action.name AS action_name,
    action.reason,
    COALESCE(action.correlation_id, transaction.correlation_id) AS correlation_id,
    COALESCE(action.request_id, transaction.request_id) AS request_id,
    COALESCE(action.job_id, transaction.job_id) AS job_id,
    transaction.source,
    transaction.remote_addr,
    transaction.meta,
    transaction.db_user,
    transaction.application_name,
    change.row_count,
    change.partition_name,
    change.transaction_id,
    change.action_id
FROM threadline.audit_changes AS change
LEFT JOIN threadline.audit_transactions AS transaction ON transaction.id = change.transaction_id
LEFT JOIN threadline.audit_actions AS action ON action.id = change.action_id
-- What was there before capture is no change; audit_changes has it.
WHERE change.op <> 'baseline'
$view$);

-- From a stored image back to the row, by PostgreSQL's own conversions.

-- The row that an image holds, in the row type of `base` (usually NULL::my_table). Columns the
-- image does not have are null. jsonb_populate_record does it all, but for json columns, whose
-- documents are stored as texts to keep every character of them.
CREATE OR REPLACE FUNCTION threadline.row_from_image(base anyelement, image jsonb)
RETURNS anyelement
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET lc_monetary = 'C' AS $row$
DECLARE
    row_type regtype := pg_typeof(base);
    json_columns text[] := ARRAY(
        SELECT attribute.attname::text
        FROM pg_type AS type
        JOIN pg_attribute AS attribute ON attribute.attrelid = type.typrelid
        WHERE type.oid = row_type AND attribute.attnum > 0 AND NOT attribute.attisdropped
            AND threadline.base_type(attribute.atttypid) = 'json'::regtype
    );
    filled ALIAS FOR $0;
BEGIN
    IF cardinality(json_columns) = 0 THEN
        RETURN jsonb_populate_record(base, image);
    END IF;
    EXECUTE (
        SELECT format(
            'SELECT (ROW(%s)::%s).* FROM jsonb_populate_record(NULL::%2$s, $1 - $2) AS p',
            string_agg(
                CASE
                    WHEN attribute.attname = ANY (json_columns)
                        THEN format('($1 ->> %L)::json', attribute.attname)
                    ELSE format('p.%I', attribute.attname)
                END,
                ', ' ORDER BY attribute.attnum
            ),
            row_type
        )
        FROM pg_type AS type
        JOIN pg_attribute AS attribute ON attribute.attrelid = type.typrelid
        WHERE type.oid = row_type AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) INTO filled USING image, json_columns;
    RETURN filled;
END
$row$;

-- An update that moves a row to another partition.
--
-- PostgreSQL carries it out as a delete from the partition the row leaves and an insert into the one it
-- comes to, and tells neither trigger why. Recorded like that, a row's history would break at every
-- move; and a delete and an insert that merely follow each other must not be taken for one. What tells
-- them apart is what happens to the row before it leaves. For one row, and with no other row of the
-- statement in between, PostgreSQL
--
-- 1. calls the BEFORE UPDATE triggers of the partition it leaves: ours, the last, notes the row;
-- 2. finds that it has to go, and calls the BEFORE DELETE triggers: ours, the first, finds the note.
--    A row that is deleted for its own sake has none;
-- 3. calls the BEFORE INSERT triggers of the partition it comes to: ours, the first and the last, see
--    that none of the host's refused the row;
-- 4. queues the AFTER DELETE and the AFTER INSERT event, one after the other.
--
-- So at the end of 3 it is certain that two events belong together, and that both will come: what could
-- still stop the insert ends the statement. When the delete comes, capture lays the row aside; when the
-- insert does, it records the update that the two are. Wherever anything is in doubt, a delete and an
-- insert are recorded.

-- Rows that are between two partitions. Empty whenever nothing runs, but for rows that a trigger of the
-- host stopped on their way. A session can write settings, but not this: it keeps what must be
-- believed, the settings only say where to look. A secret may be in `hidden` for as long as its row is
-- under way, so whoever was granted all tables of the trail does not see the rows of this one.
CREATE UNLOGGED TABLE IF NOT EXISTS threadline.audit_moving_rows (
    xid         xid8 NOT NULL,
    moved_row   text COLLATE "C" NOT NULL, -- the partition it leaves, and its place there
    depth       integer NOT NULL,          -- of triggers, while it leaves and comes
    step        text COLLATE "C" NOT NULL CHECK (step IN ('leaving', 'coming', 'settled', 'left')),
    destination oid,
    change_id   bigint,                    -- of the update, from before what the host's triggers write
    captured_at timestamptz,
    table_schema text COLLATE "C",
    table_name  text COLLATE "C",
    table_pk    jsonb,
    row_key     text COLLATE "C",
    image       jsonb,                     -- of the row before
    hidden      jsonb,                     -- what of it is not stored, to tell whether the move changes it
    PRIMARY KEY (xid, moved_row)
) WITH (fillfactor = 60);

DO $hide$
BEGIN
    IF NOT (
        SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = 'threadline.audit_moving_rows'::pg_catalog.regclass
    ) THEN
        ALTER TABLE threadline.audit_moving_rows ENABLE ROW LEVEL SECURITY;
    END IF;
END
$hide$;

COMMENT ON TABLE threadline.audit_moving_rows IS
    'Rows that are being moved to another partition by a running transaction.';

-- These four run inside the host's writes, with the rights of the trail's owner and under whatever
-- search path the session has: every name is qualified, operators and types included.

-- 1. Signed, so that a session cannot make it up; for this statement of the client and this depth of
-- triggers only. (A session that gets at the note of an update it took back could have a delete and an
-- insert of its own recorded as an update between the same two rows, which it may just as well do.)
CREATE OR REPLACE FUNCTION threadline.note_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $note$
DECLARE
    v_noted pg_catalog.text;
BEGIN
    v_noted := pg_catalog.set_config(
        'threadline.updating',
        threadline.signed(pg_catalog.concat_ws(
            ' ', EXTRACT(EPOCH FROM pg_catalog.statement_timestamp()), pg_catalog.pg_trigger_depth(),
            TG_RELID, OLD.ctid
        )),
        true
    );
    RETURN NEW;
END
$note$;

-- 2. Where a trigger of the host's could come between the two of ours, nothing is certain.
CREATE OR REPLACE FUNCTION threadline.leave_partition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $leave$
DECLARE
    v_note pg_catalog.text := pg_catalog.current_setting('threadline.updating', true);
    v_row pg_catalog.text;
    v_expected pg_catalog.text;
    v_place pg_catalog.text;
BEGIN
    IF pg_catalog.concat(v_note, pg_catalog.current_setting('threadline.moving', true))
        OPERATOR(pg_catalog.=) ''
    THEN
        RETURN OLD;
    END IF;
    v_row := pg_catalog.concat_ws(' ', TG_RELID, OLD.ctid);
    v_place := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
    v_expected := pg_catalog.concat_ws(
        ' ', EXTRACT(EPOCH FROM pg_catalog.statement_timestamp()), pg_catalog.pg_trigger_depth(), v_row
    );
    IF (pg_catalog."right"(v_note, pg_catalog.length(v_expected)) OPERATOR(pg_catalog.=) v_expected) IS TRUE
        AND (threadline.verified(v_note) OPERATOR(pg_catalog.=) v_expected) IS TRUE
    THEN
        v_note := pg_catalog.set_config('threadline.updating', '', true);
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS own
            WHERE own.tgrelid OPERATOR(pg_catalog.=) TG_RELID
                AND own.tgenabled OPERATOR(pg_catalog.<>) 'D'
                AND threadline.comes_between(own.tgname, own.tgtype)
        ) AND NOT (CASE
            WHEN pg_catalog.current_setting('threadline.suspended', true) OPERATOR(pg_catalog.<>) ''
                THEN threadline.suspension_of(TG_ARGV[0], TG_ARGV[1]) IS NOT NULL
            ELSE false
        END) THEN
            INSERT INTO threadline.audit_moving_rows AS moving (xid, moved_row, depth, step)
            VALUES (pg_catalog.pg_current_xact_id(), v_row, pg_catalog.pg_trigger_depth(), 'leaving')
            ON CONFLICT (xid, moved_row) DO UPDATE SET depth = EXCLUDED.depth, step = 'leaving';
            v_note := pg_catalog.concat(
                pg_catalog.set_config(v_place, v_row, true),
                pg_catalog.set_config('threadline.moving', 'yes', true)
            );
            RETURN OLD;
        END IF;
    END IF;
    -- Deleted for its own sake, whatever it was about to do before.
    IF (pg_catalog.current_setting('threadline.moving', true) OPERATOR(pg_catalog.<>) '') IS TRUE THEN
        v_note := pg_catalog.set_config(v_place, '', true);
        PERFORM threadline.forget_moving_row(v_row);
    END IF;
    RETURN OLD;
END
$leave$;

-- 3. A row that comes without having left, or after another was refused on its way, is an insert.
CREATE OR REPLACE FUNCTION threadline.come_to_partition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $come$
DECLARE
    v_place pg_catalog.text;
    v_row pg_catalog.text;
BEGIN
    IF (pg_catalog.current_setting('threadline.moving', true) OPERATOR(pg_catalog.<>) '') IS TRUE THEN
        v_place := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
        v_row := pg_catalog.current_setting(v_place, true);
        IF v_row OPERATOR(pg_catalog.<>) '' THEN
            IF NOT threadline.advance_moving_row(v_row, 'leaving', 'coming', NULL) THEN
                v_row := pg_catalog.set_config(v_place, '', true);
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END
$come$;

CREATE OR REPLACE FUNCTION threadline.settle_in_partition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $settle$
DECLARE
    v_place pg_catalog.text;
    v_row pg_catalog.text;
BEGIN
    IF (pg_catalog.current_setting('threadline.moving', true) OPERATOR(pg_catalog.<>) '') IS TRUE THEN
        v_place := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
        v_row := pg_catalog.current_setting(v_place, true);
        IF v_row OPERATOR(pg_catalog.<>) '' THEN
            IF NOT EXISTS (
                SELECT FROM pg_catalog.pg_trigger AS own
                WHERE own.tgrelid OPERATOR(pg_catalog.=) TG_RELID
                    AND own.tgenabled OPERATOR(pg_catalog.<>) 'D'
                    AND threadline.comes_between(own.tgname, own.tgtype)
            ) AND EXISTS (
                -- The insert has to come to capture, too.
                SELECT FROM pg_catalog.pg_trigger AS own
                WHERE own.tgrelid OPERATOR(pg_catalog.=) TG_RELID
                    AND own.tgname OPERATOR(pg_catalog.=) '00_threadline_insert'::pg_catalog.name
                    AND own.tgenabled OPERATOR(pg_catalog.<>) 'D'
            ) THEN
                PERFORM threadline.advance_moving_row(v_row, 'coming', 'settled', TG_RELID);
            END IF;
            v_row := pg_catalog.set_config(v_place, '', true);
        END IF;
    END IF;
    RETURN NEW;
END
$settle$;

-- A row that gets one step further. Like all that looks for a row here it goes by the index: the table
-- is empty when a plan is made, and a plan is kept.
CREATE OR REPLACE FUNCTION threadline.advance_moving_row(
    of_row text, from_step text, to_step text, comes_to oid
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $advance$
BEGIN
    UPDATE threadline.audit_moving_rows AS moving SET step = to_step, destination = comes_to
    WHERE moving.xid = pg_current_xact_id() AND moving.moved_row = of_row
        AND moving.depth = pg_trigger_depth() AND moving.step = from_step;
    RETURN FOUND;
END
$advance$;

CREATE OR REPLACE FUNCTION threadline.forget_moving_row(of_row text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $forget$
BEGIN
    DELETE FROM threadline.audit_moving_rows AS moving
    WHERE moving.xid = pg_current_xact_id() AND moving.moved_row = of_row;
END
$forget$;

-- Whether a trigger can refuse a row where capture does not see it: a BEFORE ROW trigger of the host's
-- whose name sorts outside of capture's own. A literal of the type is written for every operand, so
-- that this can be made part of the query that asks.
CREATE OR REPLACE FUNCTION threadline.comes_between(name pg_catalog.name, events pg_catalog.int2)
RETURNS pg_catalog.bool
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (events OPERATOR(pg_catalog.&) 3::pg_catalog.int2) OPERATOR(pg_catalog.=) 3::pg_catalog.int2
    AND (
        (events OPERATOR(pg_catalog.&) 16::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
            AND name OPERATOR(pg_catalog.>) '~threadline_update'::pg_catalog.name
        OR (events OPERATOR(pg_catalog.&) 8::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
            AND name OPERATOR(pg_catalog.<) '00_threadline_leave'::pg_catalog.name
        OR (events OPERATOR(pg_catalog.&) 4::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
            AND (
                name OPERATOR(pg_catalog.<) '00_threadline_come'::pg_catalog.name
                OR name OPERATOR(pg_catalog.>) '~threadline_insert'::pg_catalog.name
            )
    );

-- 4. The rest is called by the generated functions, with the owner's rights.

-- A delete: lays the row aside if it is on its way elsewhere, and says whether it is. The next event at
-- this depth is the insert then; what the host's own AFTER DELETE triggers write comes between, but
-- deeper.
CREATE OR REPLACE FUNCTION threadline.lay_aside(
    relation oid, place tid, of_schema text, of_table text, old_pk jsonb, old_key text,
    old_image jsonb, old_hidden jsonb
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $aside$
DECLARE
    v_row text := concat_ws(' ', relation, place);
BEGIN
    UPDATE threadline.audit_moving_rows AS moving
    SET step = 'left', table_schema = of_schema, table_name = of_table, table_pk = old_pk,
        row_key = old_key, image = old_image, hidden = old_hidden,
        change_id = nextval('threadline.audit_changes_id_seq'), captured_at = clock_timestamp()
    WHERE moving.xid = pg_current_xact_id() AND moving.moved_row = v_row AND moving.step = 'settled';
    IF FOUND THEN
        PERFORM set_config(concat('threadline.moving_', pg_trigger_depth()), v_row, true);
        RETURN true;
    END IF;
    RETURN false;
END
$aside$;

-- Records at the end of the transaction, as the delete it is by itself, what was laid aside and never
-- asked for: a trigger of the host's can clear the settings that say where to look. Where the session
-- wants its constraints looked at immediately, that is before the insert, and both are recorded.
CREATE OR REPLACE FUNCTION threadline.record_left_behind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $behind$
DECLARE
    v_transaction uuid := threadline.current_transaction_id();
    v_attribution threadline.attribution;
BEGIN
    DELETE FROM threadline.audit_moving_rows AS moving
    WHERE moving.xid = NEW.xid AND moving.moved_row = NEW.moved_row AND moving.change_id = NEW.change_id;
    IF FOUND THEN
        v_attribution := threadline.attribute_change(v_transaction, NEW.table_schema, NEW.table_name);
        INSERT INTO threadline.audit_changes (
            id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
            table_pk, row_key, changed_from
        ) VALUES (
            NEW.change_id, NEW.captured_at, v_transaction, v_attribution.action_id,
            v_attribution.actor_ref, 'delete', NEW.table_schema, NEW.table_name, NEW.table_pk,
            NEW.row_key, NEW.image
        );
    END IF;
    RETURN NULL;
END
$behind$;

SELECT threadline.ensure_guard($guard$
CREATE CONSTRAINT TRIGGER record_left_behind AFTER UPDATE ON threadline.audit_moving_rows
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.step = 'left'::text))
EXECUTE FUNCTION threadline.record_left_behind()
$guard$);

-- An insert: the departure it belongs to, if it ends a move.
CREATE OR REPLACE FUNCTION threadline.departure_of(relation pg_catalog.oid)
RETURNS threadline.audit_moving_rows
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $arrival$
DECLARE
    v_place pg_catalog.text := pg_catalog.concat('threadline.moving_', pg_catalog.pg_trigger_depth());
    v_row pg_catalog.text := pg_catalog.current_setting(v_place, true);
    v_found threadline.audit_moving_rows;
BEGIN
    IF v_row OPERATOR(pg_catalog.<>) '' THEN
        v_place := pg_catalog.set_config(v_place, '', true);
        DELETE FROM threadline.audit_moving_rows AS moving
        WHERE moving.xid OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()
            AND moving.moved_row OPERATOR(pg_catalog.=) v_row
            AND moving.step OPERATOR(pg_catalog.=) 'left'
            AND moving.destination OPERATOR(pg_catalog.=) relation
        RETURNING moving.* INTO v_found;
    END IF;
    RETURN v_found;
END
$arrival$;

-- The fields of an old image whose values are not the new one's. As texts: 1.0 is not 1.00.
CREATE OR REPLACE FUNCTION threadline.changed_values(before jsonb, after jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT COALESCE(pg_catalog.jsonb_object_agg(field.key, field.value), '{}')
    FROM pg_catalog.jsonb_each(before) AS field
    WHERE (field.value::text OPERATOR(pg_catalog.=) (after OPERATOR(pg_catalog.->) field.key)::text)
        IS NOT TRUE
);

-- The query that yields the values of a row, given as $1, that are masked or not classified.
CREATE OR REPLACE FUNCTION threadline.drifted_hidden(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT format(
        'SELECT %s FROM (SELECT ($1).*) AS r',
        COALESCE(
            string_agg(
                format('pg_catalog.jsonb_build_object(%L, r.%I::pg_catalog.text)', name, name),
                ' OPERATOR(pg_catalog.||) '
            ),
            '''{}''::pg_catalog.jsonb'
        )
    )
    FROM threadline.drifted_columns(relation, threadline.deployed_policy(relation), 'r')
    WHERE rule IS NULL OR rule = 'mask'
);

-- The old values of what a move changed, as any update would have stored them; that a masked or
-- unclassified column changed, but not from what. Empty if nothing changed that is stored.
CREATE OR REPLACE FUNCTION threadline.changed_by_move(
    departure threadline.audit_moving_rows, image jsonb, hidden jsonb
) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $changed$
DECLARE
    changed jsonb := threadline.changed_values(departure.image, image);
BEGIN
    IF departure.hidden::text <> hidden::text THEN -- 1.0 is not 1.00
        changed := changed || (
            SELECT jsonb_object_agg(key, COALESCE(image -> key, '"[UNCLASSIFIED]"'))
            FROM jsonb_object_keys(threadline.changed_values(departure.hidden, hidden)) AS key
        );
    END IF;
    RETURN changed;
END
$changed$;

-- What the delta form stores of the new image: the new values of what changed.
CREATE OR REPLACE FUNCTION threadline.new_values(image jsonb, changed jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
RETURN (
    SELECT pg_catalog.jsonb_object_agg(key, image OPERATOR(pg_catalog.->) key)
    FROM pg_catalog.jsonb_object_keys(changed) AS key
    WHERE image OPERATOR(pg_catalog.?) key
);

-- Suspending capture for bulk maintenance. It needs a privilege of its own (EXECUTE on
-- suspend_capture, which nobody has by default), holds for the running transaction only, and leaves
-- a record of who did it, why, for which tables, and how many rows of each statement went by.

CREATE TABLE IF NOT EXISTS threadline.audit_suspensions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    suspended_at   timestamptz NOT NULL,
    suspended_by   text        NOT NULL,
    reason         text        NOT NULL,
    tables         text[]      NOT NULL
);

COMMENT ON TABLE threadline.audit_suspensions IS
    'One row for each transaction that suspended capture.';

CREATE TABLE IF NOT EXISTS threadline.audit_suspended_writes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    suspension_id bigint      NOT NULL,
    statement_at  timestamptz NOT NULL,
    table_schema  text        NOT NULL,
    table_name    text        NOT NULL,
    op            text        NOT NULL,
    row_count     bigint      NOT NULL
);

COMMENT ON TABLE threadline.audit_suspended_writes IS
    'How many rows of which statements went by while capture was suspended.';

-- A text that only this database can make, and only in the running transaction: what a session cannot
-- put into a setting. Null where the secret is missing. Hashed twice, so that nothing can be added to
-- a signed text; in the database's own encoding, so that nothing has to be converted.
CREATE OR REPLACE FUNCTION threadline.signed(content text) RETURNS text
LANGUAGE plpgsql STABLE AS $signed$
DECLARE
    secret pg_catalog.bytea := pg_catalog.int8send(
            pg_catalog.pg_sequence_last_value('threadline.capture_secret'::pg_catalog.regclass)
        ) OPERATOR(pg_catalog.||) pg_catalog.int8send(
            pg_catalog.pg_sequence_last_value('threadline.capture_secret_rest'::pg_catalog.regclass)
        );
BEGIN
    RETURN pg_catalog.encode(
        pg_catalog.sha256(secret OPERATOR(pg_catalog.||) pg_catalog.sha256(
            secret OPERATOR(pg_catalog.||) pg_catalog.convert_to(
                pg_catalog.concat(threadline.current_transaction_id(), ' ', content),
                pg_catalog.getdatabaseencoding()
            )
        )),
        'hex'
    ) OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) content;
END
$signed$;

-- The content of a signed text, or null if nobody here signed it.
CREATE OR REPLACE FUNCTION threadline.verified(signature text) RETURNS text
LANGUAGE plpgsql STABLE AS $verified$
DECLARE
    content pg_catalog.text := pg_catalog.substr(
        signature, pg_catalog.strpos(signature, ' ') OPERATOR(pg_catalog.+) 1
    );
BEGIN
    IF threadline.signed(content) OPERATOR(pg_catalog.=) signature THEN
        RETURN content;
    END IF;
    RETURN NULL;
END
$verified$;

-- Suspends capture of the tables, besides those whose capture the transaction suspended before.
CREATE OR REPLACE FUNCTION threadline.suspend_capture(tables regclass[], reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $suspend$
DECLARE
    suspension bigint;
    before text := threadline.verified(current_setting('threadline.suspended', true));
    not_captured text;
    -- By the names that capture knows them by.
    names text[] := ARRAY(
        SELECT format('%I.%I', policy #>> '{name,schema}', policy #>> '{name,name}')
        FROM unnest(tables) AS given CROSS JOIN LATERAL threadline.deployed_policy(given) AS policy
        WHERE policy <> '{}'
        ORDER BY 1
    );
BEGIN
    IF COALESCE(cardinality(tables), 0) = 0 OR COALESCE(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'suspending capture takes the tables it is for, and a reason'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT given::text INTO not_captured
    FROM unnest(tables) AS given
    WHERE threadline.deployed_policy(given) = '{}'
        OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = given);
    IF FOUND THEN
        RAISE EXCEPTION 'capture of % cannot be suspended: it is not captured by that name', not_captured
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Of a partitioned or inherited table, name the root.';
    END IF;
    INSERT INTO threadline.audit_suspensions (transaction_id, suspended_at, suspended_by, reason, tables)
    VALUES (threadline.current_transaction_id(), clock_timestamp(), session_user, reason, names)
    RETURNING id INTO suspension;
    -- Capture asks whether it is suspended only where its note of the context is not the one in
    -- force, so the note goes.
    PERFORM set_config(
                'threadline.suspended',
                threadline.signed(
                    (COALESCE(before::jsonb, '[]') || jsonb_build_array(jsonb_build_array(suspension, names)))::text
                ),
                true
            ),
            set_config('threadline.recorded', '', true);
END
$suspend$;

CREATE OR REPLACE FUNCTION threadline.resume_capture() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $resume$
BEGIN
    PERFORM threadline.write_suspended_count();
    PERFORM set_config('threadline.suspended', '', true);
END
$resume$;

-- The suspension in force for a table, if there is one. It is looked up, since a session could put the
-- setting back after the record was rolled back.
CREATE OR REPLACE FUNCTION threadline.suspension_of(table_schema text, table_name text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT recorded.id
    FROM jsonb_array_elements(
        threadline.verified(current_setting('threadline.suspended', true))::jsonb
    ) AS suspension
    JOIN threadline.audit_suspensions AS recorded ON recorded.id = (suspension ->> 0)::bigint
    WHERE suspension -> 1 ? format('%I.%I', table_schema, table_name)
        AND recorded.transaction_id = threadline.current_transaction_id()
    ORDER BY recorded.id DESC
    LIMIT 1
);

-- Writes down how many rows of a statement went by, where that is known at once.
CREATE OR REPLACE FUNCTION threadline.record_suspended(
    suspension bigint, table_schema text, table_name text, op text, row_count bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $record$
BEGIN
    PERFORM threadline.write_suspended_count();
    INSERT INTO threadline.audit_suspended_writes (
        suspension_id, statement_at, table_schema, table_name, op, row_count
    ) VALUES (suspension, statement_timestamp(), table_schema, table_name, op, row_count);
END
$record$;

-- Counts rows that went by, where they are seen one by one. The count of the running statement is kept in a setting, signed; the
-- next statement, resume_capture, or the commit writes it down.
CREATE OR REPLACE FUNCTION threadline.count_suspended(
    suspension bigint, table_schema text, table_name text, op text, row_count bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $count$
DECLARE
    counted jsonb := threadline.verified(current_setting('threadline.suspended_count', true));
    statement jsonb := jsonb_build_array(suspension, statement_timestamp(), table_schema, table_name, op);
BEGIN
    IF counted IS NOT NULL AND counted -> 0 <> statement THEN
        PERFORM threadline.write_suspended_count();
        counted := NULL;
    END IF;
    PERFORM set_config(
        'threadline.suspended_count',
        threadline.signed(
            jsonb_build_array(statement, COALESCE((counted ->> 1)::bigint, 0) + row_count)::text
        ),
        true
    );
END
$count$;

CREATE OR REPLACE FUNCTION threadline.write_suspended_count() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $write$
DECLARE
    counted jsonb := threadline.verified(current_setting('threadline.suspended_count', true));
BEGIN
    IF counted IS NOT NULL THEN
        INSERT INTO threadline.audit_suspended_writes (
            suspension_id, statement_at, table_schema, table_name, op, row_count
        ) VALUES (
            (counted #>> '{0,0}')::bigint, (counted #>> '{0,1}')::timestamptz, counted #>> '{0,2}',
            counted #>> '{0,3}', counted #>> '{0,4}', (counted ->> 1)::bigint
        );
        PERFORM set_config('threadline.suspended_count', '', true);
    END IF;
END
$write$;

CREATE OR REPLACE FUNCTION threadline.write_last_suspended_count() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $write$
BEGIN
    PERFORM threadline.write_suspended_count();
    RETURN NULL;
END
$write$;

SELECT threadline.ensure_guard($guard$
CREATE CONSTRAINT TRIGGER write_last_count AFTER INSERT ON threadline.audit_suspensions
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION threadline.write_last_suspended_count()
$guard$);

-- The one way in which the trail gets smaller. Everything that is removed or erased is recorded:
-- who, when, why, what, how much.

CREATE TABLE IF NOT EXISTS threadline.audit_removals (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    removed_at     timestamptz NOT NULL,
    removed_by     text        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('retention', 'erasure')),
    reason         text        NOT NULL,
    scope          jsonb       NOT NULL,
    change_count   bigint      NOT NULL
);

COMMENT ON TABLE threadline.audit_removals IS
    'What retention removed from the trail, and what was erased in it.';

-- In which transaction of the session the trail was last let past its guards, as currval gives it: a
-- session can write the setting beside it, but not this.
CREATE UNLOGGED SEQUENCE IF NOT EXISTS threadline.removal_session AS bigint;

-- Lets the running function past the guards.
CREATE OR REPLACE FUNCTION threadline.sanction(allowed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $sanction$
BEGIN
    PERFORM setval('threadline.removal_session', CASE WHEN allowed THEN txid_current() ELSE 1 END),
            set_config('threadline.sanctioned', CASE WHEN allowed THEN txid_current()::text ELSE '' END, true);
END
$sanction$;

-- Whether the guards are to let pass. Asked of every row that a purge removes, so it costs little.
CREATE OR REPLACE FUNCTION threadline.is_sanctioned() RETURNS boolean
LANGUAGE plpgsql AS $sanctioned$
BEGIN
    IF (pg_catalog.current_setting('threadline.sanctioned', true)
        OPERATOR(pg_catalog.=) pg_catalog.txid_current_if_assigned()::pg_catalog.text) IS TRUE
    THEN
        RETURN pg_catalog.currval('threadline.removal_session'::pg_catalog.regclass)
            OPERATOR(pg_catalog.=) pg_catalog.txid_current_if_assigned();
    END IF;
    RETURN false;
EXCEPTION WHEN OTHERS THEN
    RETURN false; -- the session was never let past
END
$sanctioned$;

-- A sanctioned removal passes the guards without calling them: a purge does so with every row, and
-- the condition costs a tenth of the call.
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_transactions
    FOR EACH ROW
    WHEN ((NOT threadline.is_sanctioned()))
    EXECUTE FUNCTION threadline.guard_row('id')
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_changes
    FOR EACH ROW
    WHEN ((NOT threadline.is_sanctioned()))
    EXECUTE FUNCTION threadline.guard_row('transaction_id')
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_actions
    FOR EACH ROW
    WHEN ((NOT threadline.is_sanctioned()))
    EXECUTE FUNCTION threadline.guard_row('transaction_id')
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_renames
    FOR EACH ROW
    WHEN ((NOT threadline.is_sanctioned()))
    EXECUTE FUNCTION threadline.guard_row('transaction_id')
$guard$);

CREATE OR REPLACE FUNCTION threadline.record_removal(
    kind text, reason text, scope jsonb, change_count bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $record$
BEGIN
    IF COALESCE(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'removing from the trail takes a reason' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO threadline.audit_removals (
        transaction_id, removed_at, removed_by, kind, reason, scope, change_count
    ) VALUES (
        threadline.current_transaction_id(), clock_timestamp(), session_user, kind, reason, scope,
        change_count
    );
END
$record$;

-- Removes changes captured before an instant, oldest first, at most `batch` of them. Returns how
-- many it removed: less than `batch` means that none are left.
CREATE OR REPLACE FUNCTION threadline.remove_changes(
    before timestamptz, batch integer, reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $remove$
DECLARE
    removed bigint;
BEGIN
    PERFORM threadline.sanction(true);
    WITH expired AS (
        SELECT change.captured_at, change.id FROM threadline.audit_changes AS change
        WHERE change.captured_at < before
        ORDER BY change.captured_at, change.id LIMIT batch
    ), gone AS (
        DELETE FROM threadline.audit_changes AS change USING expired
        WHERE change.captured_at = expired.captured_at AND change.id = expired.id
        RETURNING change.table_schema, change.table_name, change.captured_at
    ), by_table AS (
        SELECT gone.table_schema, gone.table_name, count(*) AS n, max(gone.captured_at) AS last
        FROM gone GROUP BY 1, 2
    ), advanced AS (
        -- Complete is what was captured after the last that went.
        SELECT t.n, threadline.advance_horizon(
            t.table_schema, t.table_name, t.last + interval '1 microsecond'
        ) FROM by_table AS t
    )
    SELECT COALESCE(sum(advanced.n), 0) INTO removed FROM advanced;
    -- A rename goes after its change, so that a row never loses its thread while it has changes.
    DELETE FROM threadline.audit_renames AS rename
    WHERE rename.captured_at < before
        AND rename.captured_at < (SELECT min(change.captured_at) FROM threadline.audit_changes AS change);
    PERFORM threadline.sanction(false);
    IF removed > 0 THEN
        PERFORM threadline.record_removal(
            'retention', reason, jsonb_build_object('before', before), removed
        );
    END IF;
    RETURN removed;
END
$remove$;

-- Erases the values of columns in every stored copy of one row, also under keys it had before.
-- That the changes happened stays known. Returns how many changes it touched.
CREATE OR REPLACE FUNCTION threadline.erase_values(
    of_schema text, of_table text, of_key text, columns text[], reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $erase$
DECLARE
    erased bigint;
BEGIN
    IF EXISTS (
        SELECT
        FROM threadline.row_segments(of_schema, of_table, of_key) AS segment
        JOIN threadline.audit_changes AS change
            ON change.table_name = of_table AND change.table_schema = of_schema
                AND change.row_key = segment.row_key
                AND change.id BETWEEN segment.first_id AND segment.last_id
        WHERE change.table_pk ?| columns
    ) THEN
        RAISE EXCEPTION 'key columns cannot be erased: without its key a change belongs to no row'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM threadline.sanction(true);
    UPDATE threadline.audit_changes AS change
    SET data_after = threadline.erased_image(change.data_after, columns),
        changed_from = threadline.erased_image(change.changed_from, columns)
    FROM threadline.row_segments(of_schema, of_table, of_key) AS segment
    WHERE change.table_name = of_table AND change.table_schema = of_schema
        AND change.row_key = segment.row_key
        AND change.id BETWEEN segment.first_id AND segment.last_id
        AND (change.data_after ?| columns OR change.changed_from ?| columns);
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM threadline.sanction(false);
    PERFORM threadline.record_removal(
        'erasure', reason,
        jsonb_build_object('table_schema', of_schema, 'table_name', of_table, 'row_key', of_key, 'columns', columns),
        erased
    );
    RETURN erased;
END
$erase$;

CREATE OR REPLACE FUNCTION threadline.erased_image(image jsonb, columns text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT CASE WHEN image IS NULL THEN NULL ELSE image || COALESCE(
        jsonb_object_agg(name, '[ERASED]') FILTER (WHERE image ? name), '{}'
    ) END
    FROM unnest(columns) AS name
);

-- What suspends, removes and erases is as append-only as the trail itself.
CREATE OR REPLACE FUNCTION threadline.guard_record() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$guard$;

SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_suspensions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record()
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_suspended_writes
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record()
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_removals
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record()
$guard$);

-- What is captured, how well, and what a mechanism cannot see by itself. Only the catalog is asked,
-- but for orphans and writers, which are looked for in what was captured since an instant.
--
-- The findings themselves are in 17_capture_findings.sql (triggers, functions, columns) and
-- 18_trail_findings.sql (the trail, its rights, its surroundings).

-- Every capture policy that is deployed: the table it names, its functions, and the table it is on.
SELECT threadline.ensure_view('deployed_policies', $view$
SELECT
    policy #>> '{table,name,schema}' AS table_schema,
    policy #>> '{table,name,name}' AS table_name,
    (policy ->> 'version')::integer AS version,
    policy ->> 'hash' AS hash,
    policy -> 'table' AS declared,
    function.oid AS function,
    function.proname LIKE 'capture\_row\_%' AS by_row,
    policy ->> 'body' IS DISTINCT FROM
        pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(function.prosrc, 'UTF8')), 'hex')
        AS changed_by_hand,
    function.prosecdef AND function.proowner = namespace.nspowner AS runs_as_owner,
    pg_catalog.to_regclass(pg_catalog.format(
        '%I.%I', policy #>> '{table,name,schema}', policy #>> '{table,name,name}'
    )) AS relation
FROM pg_catalog.pg_proc AS function
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
CROSS JOIN LATERAL threadline.policy_of(function.oid) AS policy
WHERE namespace.nspname = 'threadline' AND function.proname LIKE 'capture\_%' AND policy IS NOT NULL
$view$);

-- The same, a row a table.
CREATE OR REPLACE FUNCTION threadline.captured_tables() RETURNS TABLE (
    table_schema text, table_name text, version integer, declared jsonb, relation regclass,
    row_function oid, statement_function oid
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT policy.table_schema, policy.table_name, min(policy.version),
        (array_agg(policy.declared ORDER BY policy.by_row DESC))[1],
        (array_agg(policy.relation))[1],
        max(policy.function) FILTER (WHERE policy.by_row),
        max(policy.function) FILTER (WHERE NOT policy.by_row)
    FROM threadline.deployed_policies AS policy
    GROUP BY policy.table_schema, policy.table_name;
END;

-- The tables of the host, each with whether it is captured: by a capture function, not merely by a
-- trigger of the right name.
CREATE OR REPLACE FUNCTION threadline.coverage()
RETURNS TABLE (table_schema text, table_name text, captured boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT namespace.nspname::text, class.relname::text,
        EXISTS (
            SELECT FROM pg_trigger AS trigger
            JOIN pg_proc AS function ON function.oid = trigger.tgfoid
            WHERE trigger.tgrelid = class.oid AND trigger.tgname = '00_threadline_update'
                AND trigger.tgenabled IN ('O', 'A')
                AND function.proname LIKE 'capture\_row\_%'
                AND function.pronamespace = to_regnamespace('threadline')
        )
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p') AND NOT class.relispartition
        -- There is nothing to capture of a table without columns.
        AND EXISTS (
            SELECT FROM pg_attribute AS attribute
            WHERE attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
        )
        AND namespace.nspname NOT IN ('pg_catalog', 'information_schema', 'threadline')
        AND namespace.nspname NOT LIKE 'pg\_%'
    ORDER BY 1, 2;
END;

-- What an installation left behind, for coverage to compare with: the release that made it, what
-- the functions of the trail are, which triggers guard it and which indexes it has.
CREATE OR REPLACE FUNCTION threadline.installation() RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT obj_description(function.oid, 'pg_proc')::jsonb
    FROM pg_proc AS function
    WHERE function.pronamespace = to_regnamespace('threadline') AND function.proname = 'installation'
        AND obj_description(function.oid, 'pg_proc') LIKE '{%'
);

-- The functions of the trail as they are now. `body` is set only where it is not part of `plain`:
-- PostgreSQL keeps the body of such functions parsed, and may write it differently after an upgrade.
CREATE OR REPLACE FUNCTION threadline.trail_functions() RETURNS TABLE (
    signature text, function oid, plain text, body text, is_public boolean
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('%I(%s)', function.proname, oidvectortypes(function.proargtypes)), function.oid,
        encode(sha256(convert_to(concat_ws(
            E'\n', language.lanname, function.prosecdef, function.provolatile, function.proconfig, function.prosrc
        ), 'UTF8')), 'hex'),
        encode(sha256(convert_to(pg_get_function_sqlbody(function.oid), 'UTF8')), 'hex'),
        EXISTS (
            SELECT FROM aclexplode(COALESCE(function.proacl, acldefault('f', function.proowner))) AS privilege
            WHERE privilege.grantee = 0
        )
    FROM pg_proc AS function
    JOIN pg_language AS language ON language.oid = function.prolang
    WHERE function.pronamespace = to_regnamespace('threadline')
        AND function.proname NOT LIKE 'capture\_row\_%' AND function.proname NOT LIKE 'capture\_statement\_%';
END;

-- Writes the note that installation() reads. The last step of every installation.
CREATE OR REPLACE FUNCTION threadline.note_installation(release text, digest text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $note$
BEGIN
    EXECUTE format('COMMENT ON FUNCTION threadline.installation() IS %L', jsonb_build_object(
        'release', release,
        'digest', digest,
        'server', current_setting('server_version_num')::integer / 10000,
        'functions', (
            SELECT jsonb_object_agg(signature, jsonb_build_object('plain', plain, 'body', body, 'public', is_public))
            FROM threadline.trail_functions()
        ),
        'triggers', (
            SELECT jsonb_agg(jsonb_build_object(
                'table', class.relname, 'name', trigger.tgname, 'sql', pg_get_triggerdef(trigger.oid)
            ) ORDER BY class.relname, trigger.tgname)
            FROM pg_trigger AS trigger
            JOIN pg_class AS class ON class.oid = trigger.tgrelid
            WHERE class.relnamespace = 'threadline'::regnamespace AND NOT class.relispartition
                AND NOT trigger.tgisinternal
        ),
        'indexes', (
            SELECT jsonb_agg(jsonb_build_object(
                'table', class.relname, 'name', named.relname, 'sql', pg_get_indexdef(named.oid)
            ) ORDER BY named.relname)
            FROM pg_index AS index
            JOIN pg_class AS named ON named.oid = index.indexrelid
            JOIN pg_class AS class ON class.oid = index.indrelid
            WHERE class.relnamespace = 'threadline'::regnamespace AND NOT class.relispartition
                AND NOT index.indisprimary
        )
    ));
END
$note$;

-- What is wrong with capture itself: its functions, its triggers, and how the tables differ from
-- what the policies were declared for.
--
-- A remedy is SQL to be run as it stands by the owner of the trail, or names the command.
--
-- JIT is off: the planner takes functions for large, and compiling would take longer than asking.

-- The functions that capture a table.
CREATE OR REPLACE FUNCTION threadline.function_findings(generator_version integer) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    owner CONSTANT oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'threadline');
BEGIN
    RETURN QUERY
    SELECT finding.severity, finding.code, policy.table_schema, policy.table_name,
        format('%s: %s', policy.function::regprocedure, finding.explanation), finding.remedy
    FROM threadline.deployed_policies AS policy
    JOIN pg_proc AS function ON function.oid = policy.function
    CROSS JOIN LATERAL (VALUES
        ('error', 'function_changed', policy.changed_by_hand,
            'the body is not the one that was generated',
            format('find out who changed it, then gen-triggers --redeploy %I.%I', policy.table_schema, policy.table_name)),
        ('warning', 'function_outdated', policy.version < generator_version,
            'it was generated by an older release', 'gen-triggers'),
        ('error', 'function_owner', function.proowner <> owner,
            format('it belongs to %s and not to the owner of the trail, %s',
                threadline.shown_role(function.proowner), threadline.shown_role(owner)),
            format('ALTER FUNCTION %s OWNER TO %s', policy.function::regprocedure, threadline.shown_role(owner))),
        ('error', 'function_not_definer', NOT function.prosecdef,
            'it lost SECURITY DEFINER, so it runs with the rights of whoever writes',
            format('ALTER FUNCTION %s SECURITY DEFINER', policy.function::regprocedure)),
        ('error', 'function_settings', function.proconfig IS NOT NULL,
            format('somebody gave it settings, which it does not have: %s', array_to_string(function.proconfig, ', ')),
            format('ALTER FUNCTION %s RESET ALL', policy.function::regprocedure))
    ) AS finding (severity, code, applies, explanation, remedy)
    WHERE finding.applies;

    -- Whoever may execute a capture function can put it on a table of their own and forge changes.
    RETURN QUERY
    SELECT 'error', 'function_executable', policy.table_schema, policy.table_name,
        format('%s may be executed by %s, who can forge changes with it',
            policy.function::regprocedure, grantee.shown),
        format('REVOKE ALL ON FUNCTION %s FROM %s', policy.function::regprocedure, grantee.shown)
    FROM threadline.deployed_policies AS policy
    JOIN pg_proc AS function ON function.oid = policy.function
    CROSS JOIN LATERAL aclexplode(COALESCE(function.proacl, acldefault('f', function.proowner))) AS privilege
    CROSS JOIN LATERAL (SELECT threadline.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE privilege.grantee <> function.proowner;

    RETURN QUERY
    SELECT 'error', 'function_missing', captured.table_schema, captured.table_name,
        format('of its two capture functions, the one for %s is gone',
            CASE WHEN captured.row_function IS NULL THEN 'rows' ELSE 'statements' END),
        format('gen-triggers --redeploy %I.%I', captured.table_schema, captured.table_name)
    FROM threadline.captured_tables() AS captured
    WHERE captured.row_function IS NULL OR captured.statement_function IS NULL;

    RETURN QUERY
    SELECT 'error', 'policy_missing', namespace.nspname::text, class.relname::text,
        format('%s does not carry its policy any more: nobody can say what it stores, and columns that drift are not stored at all',
            function.oid::regprocedure),
        COALESCE(
            format('gen-triggers --redeploy %I.%I', namespace.nspname, class.relname),
            format('DROP FUNCTION %s', function.oid::regprocedure)
        )
    FROM pg_proc AS function
    LEFT JOIN LATERAL (
        SELECT COALESCE(pg_partition_root(tgrelid), tgrelid) AS relation FROM pg_trigger
        WHERE tgfoid = function.oid ORDER BY tgparentid LIMIT 1
    ) AS used ON true
    LEFT JOIN pg_class AS class ON class.oid = used.relation
    LEFT JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE function.pronamespace = to_regnamespace('threadline')
        AND (function.proname LIKE 'capture\_row\_%' OR function.proname LIKE 'capture\_statement\_%')
        AND threadline.policy_of(function.oid) IS NULL;
END
$findings$;

-- A role as it stands in GRANT and REVOKE.
CREATE OR REPLACE FUNCTION threadline.shown_role(role oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN role = 0 THEN 'PUBLIC' ELSE COALESCE(
    (SELECT format('%I', rolname) FROM pg_roles WHERE oid = role), role::text
) END;

-- Every table that holds rows of a captured table, the table itself included, with the triggers
-- that attach_capture puts on it. `levels` are the acceptable forms of a trigger as in pg_trigger.tgtype:
-- where a host's own row triggers asked for row triggers once, they do no harm later.
CREATE OR REPLACE FUNCTION threadline.expected_triggers() RETURNS TABLE (
    table_schema text, table_name text, root oid, relation oid, trigger_name text,
    levels integer[], functions oid[], arguments text[]
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE family (root, relation) AS (
        SELECT captured.relation::oid, captured.relation::oid
        FROM threadline.captured_tables() AS captured
        UNION
        SELECT family.root, inhrelid FROM family JOIN pg_inherits ON inhparent = family.relation
    ),
    captured AS (
        SELECT given.*, class.relkind = 'p' AS partitioned,
            class.relkind = 'p' OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = given.relation) AS by_row
        FROM threadline.captured_tables() AS given
        JOIN pg_class AS class ON class.oid = given.relation
    )
    SELECT captured.table_schema, captured.table_name, family.root, family.relation, expected.name,
        expected.levels, expected.functions, expected.arguments
    FROM captured
    JOIN family ON family.root = captured.relation
    CROSS JOIN LATERAL (VALUES
        ('00_threadline_update', ARRAY[17], ARRAY[captured.row_function], '{}'::text[], true),
        ('00_threadline_insert',
            CASE WHEN captured.by_row THEN ARRAY[5] ELSE ARRAY[4, 5] END,
            ARRAY[captured.row_function, captured.statement_function], '{}', true),
        ('00_threadline_delete',
            CASE WHEN captured.by_row THEN ARRAY[9] ELSE ARRAY[8, 9] END,
            ARRAY[captured.row_function, captured.statement_function], '{}', true),
        ('00_threadline_truncate', ARRAY[34],
            ARRAY[to_regprocedure('threadline.capture_truncate()')::oid],
            ARRAY[
                captured.table_schema, captured.table_name, captured.declared ->> 'truncate',
                captured.declared ->> 'actor'
            ], true),
        ('~threadline_update', ARRAY[19],
            ARRAY[to_regprocedure('threadline.note_update()')::oid], '{}', captured.partitioned),
        ('00_threadline_leave', ARRAY[11],
            ARRAY[to_regprocedure('threadline.leave_partition()')::oid],
            ARRAY[captured.table_schema, captured.table_name], captured.partitioned),
        ('00_threadline_come', ARRAY[7],
            ARRAY[to_regprocedure('threadline.come_to_partition()')::oid], '{}', captured.partitioned),
        ('~threadline_insert', ARRAY[7],
            ARRAY[to_regprocedure('threadline.settle_in_partition()')::oid], '{}', captured.partitioned)
    ) AS expected (name, levels, functions, arguments, applies)
    WHERE expected.applies
        -- Of a child that is captured by itself they are its own: see captured_twice.
        AND (family.relation = family.root OR NOT EXISTS (
            SELECT FROM threadline.captured_tables() AS by_itself
            JOIN pg_class AS class ON class.oid = by_itself.relation AND NOT class.relispartition
            WHERE by_itself.relation = family.relation
        ));
END;

-- The triggers of captured tables, and of everything that holds their rows.
CREATE OR REPLACE FUNCTION threadline.trigger_findings() RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'error', finding.code, expected.table_schema, expected.table_name,
        format('trigger %I on %s %s', expected.trigger_name, expected.relation::regclass, finding.what),
        CASE WHEN finding.code IN ('trigger_disabled', 'trigger_replica_only')
            THEN format('ALTER TABLE %s ENABLE TRIGGER %I', expected.relation::regclass, expected.trigger_name)
            ELSE format('SELECT threadline.refresh_capture(%L, %L)', expected.table_schema, expected.table_name)
        END
    FROM threadline.expected_triggers() AS expected
    JOIN pg_class AS class ON class.oid = expected.relation
    LEFT JOIN pg_trigger AS trigger
        ON trigger.tgrelid = expected.relation AND trigger.tgname = expected.trigger_name
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN trigger.oid IS NULL AND class.relispartition THEN 'partition_uncovered'
            WHEN trigger.oid IS NULL AND expected.relation <> expected.root THEN 'child_uncovered'
            WHEN trigger.oid IS NULL THEN 'trigger_missing'
            WHEN trigger.tgenabled = 'D' THEN 'trigger_disabled'
            WHEN trigger.tgenabled = 'R' THEN 'trigger_replica_only'
            WHEN trigger.tgfoid = ANY (expected.functions) AND trigger.tgtype IN (4, 8)
                AND NOT trigger.tgtype = ANY (expected.levels) THEN 'trigger_level'
            WHEN NOT trigger.tgtype = ANY (expected.levels) OR NOT trigger.tgfoid = ANY (expected.functions)
                OR trigger.tgqual IS NOT NULL OR trigger.tgattr <> ''::int2vector
                OR trigger.tgargs <> threadline.trigger_arguments(expected.arguments)
                THEN 'trigger_changed'
        END
    ) AS wrong (code)
    CROSS JOIN LATERAL (VALUES
        ('partition_uncovered', 'is missing'),
        ('child_uncovered', 'is missing'),
        ('trigger_missing', 'is missing'),
        ('trigger_disabled', 'is disabled'),
        ('trigger_replica_only', 'fires on replicas only'),
        ('trigger_level', 'sees statements, which miss rows of children and partitions'),
        ('trigger_changed', 'is not the one that was generated: another function, event, condition or argument')
    ) AS finding (code, what)
    WHERE finding.code = wrong.code
        -- A function that is gone took its triggers along, and says so itself.
        AND array_position(expected.functions, NULL) IS NULL;

    RETURN QUERY
    SELECT 'error', 'trigger_duplicated', namespace.nspname::text, class.relname::text,
        format('triggers %s record every %s more than once', string_agg(format('%I', trigger.tgname), ', '), event.name),
        COALESCE(
            string_agg(
                format('DROP TRIGGER %I ON %s', trigger.tgname, class.oid::regclass), '; '
            ) FILTER (WHERE trigger.tgname <> '00_threadline_' || event.name),
            format('DROP TRIGGER %I ON %s', min(trigger.tgname), class.oid::regclass)
        )
    FROM pg_trigger AS trigger
    JOIN pg_class AS class ON class.oid = trigger.tgrelid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    CROSS JOIN (VALUES ('insert', 4), ('delete', 8), ('update', 16), ('truncate', 32)) AS event (name, bit)
    WHERE trigger.tgparentid = 0 AND trigger.tgtype & event.bit <> 0 AND (
        trigger.tgfoid IN (SELECT function FROM threadline.deployed_policies)
        OR trigger.tgfoid = to_regprocedure('threadline.capture_truncate()')
    )
    GROUP BY namespace.nspname, class.relname, class.oid, event.name
    HAVING count(*) > 1;

    -- On a table that is no part of the one the trigger records for. A renamed table is another matter.
    RETURN QUERY
    SELECT CASE WHEN trigger.tgtype & 32 = 0 THEN 'error' ELSE 'warning' END,
        'trigger_stray', captured.table_schema, captured.table_name,
        CASE WHEN trigger.tgtype & 32 = 0
            THEN format('trigger %I records changes of %s as changes of this table', trigger.tgname, trigger.tgrelid::regclass)
            ELSE format('trigger %I was left on %s, which is no part of this table any more', trigger.tgname, trigger.tgrelid::regclass)
        END,
        format('DROP TRIGGER %I ON %s', trigger.tgname, trigger.tgrelid::regclass)
    FROM threadline.captured_tables() AS captured
    JOIN pg_trigger AS trigger
        ON trigger.tgfoid IN (captured.row_function, captured.statement_function)
        OR trigger.tgfoid = to_regprocedure('threadline.capture_truncate()')
            AND trigger.tgargs = threadline.trigger_arguments(ARRAY[
                captured.table_schema, captured.table_name, captured.declared ->> 'truncate',
                captured.declared ->> 'actor'
            ])
    WHERE captured.relation IS NOT NULL AND trigger.tgparentid = 0 AND NOT EXISTS (
        SELECT FROM threadline.expected_triggers() AS expected
        WHERE expected.root = captured.relation AND expected.relation = trigger.tgrelid
    );

    -- A host's own row trigger runs before a statement trigger, and its writes are recorded first.
    RETURN QUERY
    SELECT 'warning', 'order_at_risk', captured.table_schema, captured.table_name,
        format('trigger %I was added after capture; what it writes is recorded before what caused it', own.tgname),
        format('SELECT threadline.refresh_capture(%L, %L)', captured.table_schema, captured.table_name)
    FROM threadline.captured_tables() AS captured
    JOIN pg_trigger AS own ON own.tgrelid = captured.relation
    WHERE NOT own.tgisinternal AND own.tgname NOT LIKE '00\_threadline\_%'
        AND own.tgtype::integer & 3 = 1
        AND own.tgfoid NOT IN (SELECT function FROM threadline.deployed_policies)
        AND EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = captured.relation
                AND tgname = '00_threadline_insert' AND tgtype = 4
        );

    -- It may refuse a row that is moving to another partition without capture's noticing.
    RETURN QUERY
    SELECT DISTINCT ON (captured.table_schema, captured.table_name, own.tgname)
        'warning', 'order_at_risk', captured.table_schema, captured.table_name,
        format('trigger %I on %s sorts outside of capture''s own, so rows that move to another partition are recorded as deleted and inserted',
            own.tgname, own.tgrelid::regclass),
        format('ALTER TRIGGER %I ON %s RENAME TO %I', own.tgname, own.tgrelid::regclass,
            left('own_' || trim(own.tgname, '~'), 63))
    FROM threadline.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation AND class.relkind = 'p'
    CROSS JOIN LATERAL pg_partition_tree(captured.relation) AS part
    JOIN pg_trigger AS own ON own.tgrelid = part.relid
    WHERE NOT own.tgisinternal AND own.tgparentid = 0
        AND own.tgname NOT LIKE '00\_threadline\_%' AND own.tgname NOT LIKE '~threadline\_%'
        AND threadline.comes_between(own.tgname, own.tgtype)
    ORDER BY captured.table_schema, captured.table_name, own.tgname, own.tgrelid;

    -- Triggers of one kind fire by name.
    RETURN QUERY
    SELECT 'warning', 'order_at_risk', captured.table_schema, captured.table_name,
        format('trigger %I fires before capture, by its name; what it writes is recorded before what caused it', own.tgname),
        format('ALTER TRIGGER %I ON %s RENAME TO %I', own.tgname, captured.relation, 'own_' || own.tgname)
    FROM threadline.captured_tables() AS captured
    JOIN pg_trigger AS own ON own.tgrelid = captured.relation
    WHERE NOT own.tgisinternal AND NOT own.tginitdeferred
        AND own.tgname COLLATE "C" < '00_threadline_' COLLATE "C"
        AND own.tgtype::integer & 66 = 0 AND own.tgtype::integer & 28 <> 0 -- AFTER a change of rows
        AND own.tgfoid NOT IN (SELECT function FROM threadline.deployed_policies);
END
$findings$;

-- Arguments as pg_trigger.tgargs holds them.
CREATE OR REPLACE FUNCTION threadline.trigger_arguments(arguments text[]) RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT COALESCE(string_agg(convert_to(argument, getdatabaseencoding()) || '\x00', '' ORDER BY position), '')
    FROM unnest(arguments) WITH ORDINALITY AS given (argument, position)
);

-- The captured tables of which a table is an inheritance child, at any remove.
CREATE OR REPLACE FUNCTION threadline.captured_above(child regclass) RETURNS TABLE (
    table_schema text, table_name text, relation regclass
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE above (oid) AS (
        SELECT inherits.inhparent FROM pg_inherits AS inherits
        JOIN pg_class AS class ON class.oid = inherits.inhrelid AND NOT class.relispartition
        WHERE inherits.inhrelid = child
        UNION
        SELECT inherits.inhparent FROM pg_inherits AS inherits JOIN above ON above.oid = inherits.inhrelid
    )
    SELECT captured.table_schema, captured.table_name, captured.relation
    FROM threadline.captured_tables() AS captured
    JOIN above ON above.oid = captured.relation;
END;

-- Captured tables above and below a table, each pair with which is the other's child.
CREATE OR REPLACE FUNCTION threadline.captured_relatives(relative regclass) RETURNS TABLE (
    parent regclass, child regclass
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT above.relation, relative FROM threadline.captured_above(relative) AS above
    UNION ALL
    SELECT relative, captured.relation
    FROM threadline.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation AND NOT class.relispartition
    WHERE captured.relation <> relative AND EXISTS (
        WITH RECURSIVE above (oid) AS (
            SELECT inherits.inhparent FROM pg_inherits AS inherits WHERE inherits.inhrelid = captured.relation
            UNION
            SELECT inherits.inhparent FROM pg_inherits AS inherits JOIN above ON above.oid = inherits.inhrelid
        )
        SELECT FROM above WHERE above.oid = relative
    );
END;

-- What became of the tables: gone, renamed, other columns, another key.
CREATE OR REPLACE FUNCTION threadline.table_findings() RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'error', CASE WHEN moved.relation IS NULL THEN 'table_missing' ELSE 'table_renamed' END,
        captured.table_schema, captured.table_name,
        CASE WHEN moved.relation IS NULL
            THEN 'the captured table does not exist any more'
            ELSE format('the captured table is called %s now; its changes are recorded under the old name', moved.relation)
        END,
        CASE WHEN moved.relation IS NULL
            THEN format('gen-triggers --retire %I.%I', captured.table_schema, captured.table_name)
            ELSE format('correct its name in the code, then gen-triggers, then gen-triggers --retire %I.%I',
                captured.table_schema, captured.table_name)
        END
    FROM threadline.captured_tables() AS captured
    LEFT JOIN LATERAL (
        SELECT tgrelid::regclass AS relation FROM pg_trigger
        WHERE tgfoid = captured.row_function AND tgparentid = 0 LIMIT 1
    ) AS moved ON true
    WHERE captured.relation IS NULL;

    RETURN QUERY
    SELECT 'error', 'table_became_partition', captured.table_schema, captured.table_name,
        format('it is a partition of %s now: what is written through that table is not all seen', pg_partition_root(captured.relation)),
        format('capture %s instead, then gen-triggers --retire %I.%I', pg_partition_root(captured.relation),
            captured.table_schema, captured.table_name)
    FROM threadline.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation AND class.relispartition;

    RETURN QUERY
    SELECT 'error', 'captured_twice', captured.table_schema, captured.table_name,
        format('it is an inheritance child of %s, which is captured with its children: its triggers can be of one of the two only',
            string_agg(above.relation::text, ', ' ORDER BY above.relation::text)),
        format('gen-triggers --retire one of the two, then SELECT threadline.refresh_capture(%L, %L), or the other''s',
            min(above.table_schema), min(above.table_name))
    FROM threadline.captured_tables() AS captured
    CROSS JOIN LATERAL threadline.captured_above(captured.relation) AS above
    GROUP BY captured.table_schema, captured.table_name;

    RETURN QUERY
    SELECT 'info', 'table_unlogged', captured.table_schema, captured.table_name,
        'it is unlogged: after a crash it is empty, and its trail is not',
        format('ALTER TABLE %s SET LOGGED', captured.relation)
    FROM threadline.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation AND class.relpersistence = 'u';

    -- Columns. A declared one that is gone may be one that is there and not declared.
    RETURN QUERY
    WITH declared AS (
        SELECT captured.table_schema, captured.table_name, captured.relation, col ->> 'name' AS name, col -> 'column_type' AS type,
            col ->> 'rule' AS rule
        FROM threadline.captured_tables() AS captured
        CROSS JOIN LATERAL jsonb_array_elements(captured.declared -> 'columns') AS col
        WHERE captured.relation IS NOT NULL
    ),
    present AS (
        SELECT captured.relation, attribute.attname::text AS name, type.typname::text AS type, type.typtype AS kind,
            attribute.attgenerated = 'v' AS is_virtual
        FROM threadline.captured_tables() AS captured
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = captured.relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
        JOIN pg_type AS type ON type.oid = threadline.base_type(attribute.atttypid)
    ),
    undeclared AS (
        SELECT present.* FROM present
        WHERE NOT present.is_virtual AND NOT EXISTS (SELECT FROM declared WHERE declared.relation = present.relation AND declared.name = present.name)
    )
    SELECT 'error', CASE WHEN renamed.names IS NULL THEN 'column_missing' ELSE 'column_renamed' END,
        declared.table_schema, declared.table_name,
        CASE WHEN renamed.names IS NULL
            THEN format('column %I was dropped; capture works without it, slowly', declared.name)
            ELSE format('column %I is gone and %s is not declared: renamed, or one dropped and another added; capture works without both, slowly',
                declared.name, renamed.names)
        END,
        'correct the columns in the code (diesel print-schema), then gen-triggers'
    FROM declared
    CROSS JOIN LATERAL (
        SELECT string_agg(format('%I', undeclared.name), ' or ' ORDER BY undeclared.name) AS names
        FROM undeclared
        WHERE undeclared.relation = declared.relation
            AND threadline.is_declared_type(declared.type, undeclared.type, undeclared.kind)
    ) AS renamed
    WHERE NOT EXISTS (SELECT FROM present WHERE present.relation = declared.relation AND present.name = declared.name)
    UNION ALL
    SELECT 'error', 'column_unclassified', captured.table_schema, captured.table_name,
        format('column %I is not declared, so its values are not captured', undeclared.name),
        'declare it in the code: in clear, masked or excluded; then gen-triggers'
    FROM undeclared
    JOIN threadline.captured_tables() AS captured ON captured.relation = undeclared.relation
    UNION ALL
    SELECT 'error', 'column_retyped', declared.table_schema, declared.table_name,
        format('column %I is %s now, but declared as %s; values may be compared and written by the rules of the wrong type',
            present.name, present.type, declared.type ->> (SELECT min(kind) FROM jsonb_object_keys(declared.type) AS kind)),
        'correct the type in the code (diesel print-schema), then gen-triggers'
    FROM declared
    JOIN present ON present.relation = declared.relation AND present.name = declared.name
    WHERE NOT threadline.is_declared_type(declared.type, present.type, present.kind)
    UNION ALL
    SELECT 'error', 'column_retyped', declared.table_schema, declared.table_name,
        format('column %I is a virtual generated column now, whose values no trigger sees; they are not captured', present.name),
        'exclude it in the code, or have it STORED, then gen-triggers'
    FROM declared
    JOIN present ON present.relation = declared.relation AND present.name = declared.name
    WHERE present.is_virtual AND declared.rule <> 'exclude'
    UNION ALL
    -- Columns that go by each other's names. A restored table has other numbers, but no other order.
    SELECT 'error', 'column_renamed', captured.table_schema, captured.table_name,
        format('columns have taken each other''s names since capture was generated: %s; each is stored by the rule of the other, in clear if that one is',
            string_agg(format('%I was %I', attribute.attname, deployed.name), ', ' ORDER BY attribute.attnum)),
        'correct the columns in the code (diesel print-schema), then gen-triggers --redeploy; erase what was stored in clear'
    FROM threadline.captured_tables() AS captured
    CROSS JOIN LATERAL threadline.policy_of(captured.row_function) AS policy
    CROSS JOIN LATERAL jsonb_each_text(COALESCE(policy -> 'attributes', '{}')) AS deployed (name, number)
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = captured.relation AND attribute.attnum = deployed.number::smallint
            AND NOT attribute.attisdropped AND attribute.attname <> deployed.name
    WHERE policy -> 'attributes' ? attribute.attname
        AND NOT EXISTS (
            SELECT FROM jsonb_each_text(policy -> 'attributes') AS other (name, number)
            WHERE NOT EXISTS (
                SELECT FROM pg_attribute AS there
                WHERE there.attrelid = captured.relation AND there.attnum = other.number::smallint
                    AND NOT there.attisdropped
            )
        )
    GROUP BY captured.table_schema, captured.table_name;

    RETURN QUERY
    SELECT 'error', 'key_drift', captured.table_schema, captured.table_name,
        CASE WHEN found.key IS NULL
            THEN format('no primary key or unique index tells rows apart by (%s) any more, as capture does', array_to_string(declared.key, ', '))
            ELSE format('the primary key is (%s) now, but capture identifies rows by (%s)',
                array_to_string(found.key, ', '), array_to_string(declared.key, ', '))
        END,
        'correct the key in the code, or in the table, then gen-triggers'
    FROM threadline.captured_tables() AS captured
    CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT jsonb_array_elements_text(
                CASE WHEN jsonb_typeof(captured.declared -> 'key') = 'object'
                    THEN captured.declared #> '{key,columns}' ELSE '[]' END
            )
        ) AS key
    ) AS declared
    CROSS JOIN LATERAL (
        SELECT array_agg(attribute.attname::text ORDER BY part.position) AS key
        FROM pg_index AS index
        CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (attnum, position)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = captured.relation AND attribute.attnum = part.attnum
        WHERE index.indrelid = captured.relation AND index.indisprimary AND part.position <= index.indnkeyatts
    ) AS found
    WHERE captured.relation IS NOT NULL AND CASE
        WHEN found.key IS NOT NULL THEN NOT (found.key @> declared.key AND declared.key @> found.key)
        ELSE cardinality(declared.key) > 0 AND NOT threadline.is_unique_key(captured.relation, declared.key)
    END;
END
$findings$;

-- Whether a column of a type (domains resolved) is what was declared, as far as a declaration says.
CREATE OR REPLACE FUNCTION threadline.is_declared_type(declared jsonb, found text, kind "char") RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN declared ? 'builtin' THEN declared ->> 'builtin' = found
        OR declared ->> 'builtin' IN ('text', 'varchar', 'bpchar', 'name')
            AND found IN ('text', 'varchar', 'bpchar', 'name', 'citext')
    WHEN declared ? 'array' THEN '_' || (declared ->> 'array') = found
        OR declared ->> 'array' IN ('text', 'varchar', 'bpchar')
            AND found IN ('_text', '_varchar', '_bpchar')
    WHEN declared ? 'enum' THEN kind = 'e'
    ELSE true
END;

-- What is wrong with the trail itself: who could change it, what guards it, whether its parts fit
-- together, and what the server does around it.

-- Everything the schema of the trail holds that is not as it was installed.
CREATE OR REPLACE FUNCTION threadline.installation_findings() RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    installed CONSTANT jsonb := threadline.installation();
    same_server CONSTANT boolean :=
        installed -> 'server' = to_jsonb(current_setting('server_version_num')::integer / 10000);
BEGIN
    RETURN QUERY
    SELECT 'error', 'trail_function_changed', 'threadline', NULL::text,
        format('function threadline.%s %s', noted.key, CASE WHEN found.function IS NULL
            THEN 'is gone' ELSE 'is not the one that was installed' END),
        'find out who changed it, then install --print, and run what it prints'
    FROM jsonb_each(installed -> 'functions') AS noted
    LEFT JOIN threadline.trail_functions() AS found ON found.signature = noted.key
    WHERE found.function IS NULL OR found.plain <> noted.value ->> 'plain'
        OR same_server AND found.body IS DISTINCT FROM noted.value ->> 'body';

    RETURN QUERY
    SELECT 'error', 'trail_function_executable', 'threadline', NULL::text,
        format('everybody may execute %s', found.function::regprocedure),
        format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', found.function::regprocedure)
    FROM threadline.trail_functions() AS found
    WHERE found.is_public AND NOT COALESCE((installed -> 'functions' -> found.signature ->> 'public')::boolean, false)
    UNION ALL
    -- Whoever may execute a trigger function of the trail can put it on a table of their own.
    SELECT 'error', 'trail_function_executable', 'threadline', NULL::text,
        format('role %s may execute %s', grantee.shown, function.oid::regprocedure),
        format('REVOKE ALL ON ROUTINE %s FROM %s', function.oid::regprocedure, grantee.shown)
    FROM threadline.trail_functions() AS found
    JOIN pg_proc AS function ON function.oid = found.function AND function.prorettype = 'trigger'::regtype
    CROSS JOIN LATERAL aclexplode(function.proacl) AS privilege
    CROSS JOIN LATERAL (SELECT threadline.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE privilege.grantee NOT IN (function.proowner, 0);

    RETURN QUERY
    SELECT 'error', 'guard_missing', 'threadline', noted.value ->> 'table',
        format('trigger %I, which guards what is recorded, is %s', noted.value ->> 'name',
            CASE WHEN trigger.oid IS NULL THEN 'missing' ELSE 'disabled' END),
        CASE WHEN trigger.oid IS NULL THEN noted.value ->> 'sql'
            ELSE format('ALTER TABLE %s ENABLE TRIGGER %I', class.oid::regclass, trigger.tgname) END
    FROM jsonb_array_elements(installed -> 'triggers') AS noted
    JOIN pg_class AS class
        ON class.relnamespace = to_regnamespace('threadline') AND class.relname = noted.value ->> 'table'
    LEFT JOIN pg_trigger AS trigger ON trigger.tgrelid = class.oid AND trigger.tgname = noted.value ->> 'name'
    WHERE trigger.oid IS NULL OR trigger.tgenabled NOT IN ('O', 'A');

    -- Partitions have the guards of their root, and one against TRUNCATE of their own.
    RETURN QUERY
    SELECT 'error', 'guard_missing', 'threadline', class.relname::text,
        format('trigger %I, which guards what is recorded, is %s', noted.value ->> 'name',
            CASE WHEN trigger.oid IS NULL THEN 'missing' ELSE 'disabled' END),
        CASE WHEN trigger.oid IS NULL
            THEN replace(noted.value ->> 'sql', ' ON threadline.' || (noted.value ->> 'table') || ' ', format(' ON %s ', class.oid::regclass))
            ELSE format('ALTER TABLE %s ENABLE TRIGGER %I', class.oid::regclass, trigger.tgname) END
    FROM jsonb_array_elements(installed -> 'triggers') AS noted
    JOIN pg_inherits AS inherits ON inherits.inhparent = to_regclass(format('threadline.%I', noted.value ->> 'table'))
    JOIN pg_class AS class ON class.oid = inherits.inhrelid
    LEFT JOIN pg_trigger AS trigger ON trigger.tgrelid = class.oid AND trigger.tgname = noted.value ->> 'name'
    WHERE noted.value ->> 'name' LIKE 'guard\_%' AND CASE
        WHEN trigger.oid IS NOT NULL THEN trigger.tgenabled NOT IN ('O', 'A')
        -- A guard of rows comes back with the root's, where that is the one that is missing.
        ELSE noted.value ->> 'sql' LIKE '%FOR EACH STATEMENT%' OR EXISTS (
            SELECT FROM pg_trigger AS of_root
            WHERE of_root.tgrelid = inherits.inhparent AND of_root.tgname = noted.value ->> 'name'
        )
    END;

    RETURN QUERY
    SELECT 'warning', 'trail_index_missing', 'threadline', noted.value ->> 'table',
        format('index %I is gone; reading the trail gets slow', noted.value ->> 'name'), noted.value ->> 'sql'
    FROM jsonb_array_elements(installed -> 'indexes') AS noted
    WHERE to_regclass(format('threadline.%I', noted.value ->> 'name')) IS NULL;
END
$findings$;

-- Who could read what is secret, or change what is recorded.
CREATE OR REPLACE FUNCTION threadline.rights_findings() RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    trail CONSTANT oid := to_regnamespace('threadline');
    owner CONSTANT oid := (SELECT nspowner FROM pg_namespace WHERE oid = trail);
BEGIN
    -- Tables and their columns: more than SELECT is too much. Sequences: anything is.
    RETURN QUERY
    SELECT 'error', 'trail_writable', 'threadline', class.relname::text,
        format('role %s may %s the trail', grantee.shown, lower(string_agg(privilege.type, ', ' ORDER BY privilege.type))),
        format('REVOKE %s ON %s FROM %s', string_agg(privilege.type || privilege.columns, ', ' ORDER BY privilege.type),
            class.oid::regclass, grantee.shown)
    FROM pg_class AS class
    CROSS JOIN LATERAL (
        SELECT given.grantee, given.privilege_type AS type, '' AS columns FROM aclexplode(class.relacl) AS given
        UNION ALL
        SELECT given.grantee, given.privilege_type, format(' (%I)', attribute.attname)
        FROM pg_attribute AS attribute CROSS JOIN LATERAL aclexplode(attribute.attacl) AS given
        WHERE attribute.attrelid = class.oid
    ) AS privilege
    CROSS JOIN LATERAL (SELECT threadline.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v')
        AND privilege.type <> 'SELECT' AND privilege.grantee <> class.relowner
    GROUP BY class.oid, class.relname, grantee.shown
    UNION ALL
    SELECT 'error', CASE WHEN class.relname LIKE 'capture\_secret%' THEN 'secret_readable' ELSE 'trail_writable' END,
        'threadline', class.relname::text,
        format('role %s may %s sequence %I', grantee.shown, lower(string_agg(privilege.privilege_type, ', ')), class.relname),
        format('REVOKE ALL ON SEQUENCE %s FROM %s', class.oid::regclass, grantee.shown)
    FROM pg_class AS class
    CROSS JOIN LATERAL aclexplode(class.relacl) AS privilege
    CROSS JOIN LATERAL (SELECT threadline.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE class.relnamespace = trail AND class.relkind = 'S' AND privilege.grantee <> class.relowner
        AND (class.relname LIKE 'capture\_secret%' OR privilege.privilege_type <> 'SELECT')
    GROUP BY class.oid, class.relname, grantee.shown
    UNION ALL
    SELECT 'error', 'schema_writable', 'threadline', NULL::text,
        format('role %s may create objects in the schema of the trail', grantee.shown),
        format('REVOKE CREATE ON SCHEMA threadline FROM %s', grantee.shown)
    FROM pg_namespace AS namespace
    CROSS JOIN LATERAL aclexplode(namespace.nspacl) AS privilege
    CROSS JOIN LATERAL (SELECT threadline.shown_role(privilege.grantee) AS shown) AS grantee
    WHERE namespace.oid = trail AND privilege.privilege_type = 'CREATE' AND privilege.grantee <> namespace.nspowner;

    -- Parts of the trail that somebody else owns can be changed by somebody else.
    RETURN QUERY
    SELECT 'error', 'trail_owner_mixed', 'threadline', class.relname::text,
        format('it belongs to %s and not to the owner of the trail, %s',
            threadline.shown_role(class.relowner), threadline.shown_role(owner)),
        format('ALTER %s %s OWNER TO %s', CASE class.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
            class.oid::regclass, threadline.shown_role(owner))
    FROM pg_class AS class
    WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v', 'S') AND class.relowner <> owner
    UNION ALL
    SELECT 'error', 'trail_owner_mixed', 'threadline', NULL::text,
        format('function %s belongs to %s and not to the owner of the trail, %s', found.function::regprocedure,
            threadline.shown_role(function.proowner), threadline.shown_role(owner)),
        format('ALTER ROUTINE %s OWNER TO %s', found.function::regprocedure, threadline.shown_role(owner))
    FROM threadline.trail_functions() AS found
    JOIN pg_proc AS function ON function.oid = found.function
    WHERE function.proowner <> owner;

    RETURN QUERY
    SELECT 'error', 'trail_owned_by_writer', captured.table_schema, captured.table_name,
        format('role %s owns the table and the trail: whoever logs in as it can switch capture off and change what is recorded',
            threadline.shown_role(owner)),
        'let a role of its own own the trail; see guides/roles-and-trust.md'
    FROM threadline.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation AND class.relowner = owner
    JOIN pg_roles AS role ON role.oid = owner AND NOT role.rolsuper;

    -- Who may do what its owner may, and is nobody in particular's application.
    RETURN QUERY
    SELECT 'info', 'trail_owner_member', 'threadline', NULL::text,
        format('role %s can log in and may act as %s, which owns the trail: right for migrations, wrong for an application',
            threadline.shown_role(role.oid), threadline.shown_role(owner)),
        'look that no application logs in as it'
    FROM pg_roles AS role
    WHERE role.rolcanlogin AND NOT role.rolsuper AND role.oid <> owner
        AND pg_has_role(role.oid, owner, 'MEMBER')
    UNION ALL
    SELECT 'info', 'suspension_granted', 'threadline', NULL::text,
        format('role %s may call %s', threadline.shown_role(privilege.grantee), function.oid::regprocedure),
        format('REVOKE ALL ON ROUTINE %s FROM %s', function.oid::regprocedure, threadline.shown_role(privilege.grantee))
    FROM pg_proc AS function
    CROSS JOIN LATERAL aclexplode(function.proacl) AS privilege
    WHERE function.pronamespace = trail AND function.proname IN ('suspend_capture', 'remove_changes', 'erase_values')
        AND privilege.grantee NOT IN (function.proowner, 0);

    RETURN QUERY
    SELECT CASE WHEN class.relforcerowsecurity THEN 'error' ELSE 'warning' END,
        'trail_row_security', 'threadline', class.relname::text,
        CASE WHEN class.relforcerowsecurity
            THEN 'row-level security is in force for the owner too, so capture may not write it'
            ELSE 'row-level security hides rows of the trail from some of its readers' END,
        format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', class.oid::regclass)
    FROM pg_class AS class
    WHERE class.relnamespace = trail AND class.relrowsecurity
        -- What is in it is nobody's to read.
        AND (class.relname <> 'audit_moving_rows' OR class.relforcerowsecurity);

    -- Capture writes with the rights of the trail's owner, who can take them from itself.
    RETURN QUERY
    SELECT 'error', 'trail_owner_lacks', 'threadline', class.relname::text,
        format('%s, which owns the trail, may not %s it: writes of captured tables fail, or reading and keeping the trail does',
            threadline.shown_role(owner), lower(string_agg(needed.privilege, ', '))),
        format('GRANT %s ON %s %s TO %s', string_agg(needed.privilege, ', '),
            CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, class.oid::regclass,
            threadline.shown_role(owner))
    FROM pg_class AS class
    CROSS JOIN LATERAL unnest(CASE class.relkind
        WHEN 'S' THEN ARRAY['USAGE', 'SELECT', 'UPDATE'] WHEN 'v' THEN ARRAY['SELECT']
        ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END) AS needed (privilege)
    WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v', 'S') AND CASE class.relkind
        WHEN 'S' THEN NOT has_sequence_privilege(owner, class.oid, needed.privilege)
        ELSE NOT has_table_privilege(owner, class.oid, needed.privilege) END
    GROUP BY class.oid, class.relname, class.relkind
    UNION ALL
    SELECT 'error', 'trail_owner_lacks', 'threadline', NULL::text,
        format('%s, which owns the trail, may not execute %s: writes of captured tables fail, or reading and keeping the trail does',
            threadline.shown_role(owner), found.function::regprocedure),
        format('GRANT EXECUTE ON ROUTINE %s TO %s', found.function::regprocedure, threadline.shown_role(owner))
    FROM threadline.trail_functions() AS found
    WHERE NOT has_function_privilege(owner, found.function, 'EXECUTE')
    UNION ALL
    SELECT 'error', 'trail_owner_lacks', 'threadline', NULL::text,
        format('%s, which owns the trail, may not use its schema: writes of captured tables fail', threadline.shown_role(owner)),
        format('GRANT USAGE, CREATE ON SCHEMA threadline TO %s', threadline.shown_role(owner))
    WHERE NOT has_schema_privilege(owner, trail, 'USAGE') OR NOT has_schema_privilege(owner, trail, 'CREATE');
END
$findings$;

-- The roles an application writes as: those that were given, or those that wrote since an instant.
CREATE OR REPLACE FUNCTION threadline.writer_findings(writers text[]) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    owner CONSTANT oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'threadline');
BEGIN
    RETURN QUERY
    SELECT 'warning', 'writer_is_superuser', NULL::text, NULL::text,
        format('%I writes captured tables and is a superuser, whom nothing stops from changing the trail', role.rolname),
        'let the application log in as a role of its own; see guides/roles-and-trust.md'
    FROM pg_roles AS role WHERE role.rolname = ANY (writers) AND role.rolsuper;

    RETURN QUERY
    SELECT 'error', 'writer_is_trail_owner', NULL::text, NULL::text,
        format('%I writes captured tables and owns the trail', role.rolname),
        'let a role of its own own the trail; see guides/roles-and-trust.md'
    FROM pg_roles AS role WHERE role.rolname = ANY (writers) AND NOT role.rolsuper AND role.oid = owner;

    RETURN QUERY
    SELECT 'error', 'writer_may_own_trail', NULL::text, NULL::text,
        format('%I writes captured tables and, as a member of %s, may act as the owner of the trail',
            role.rolname, threadline.shown_role(membership.roleid)),
        format('REVOKE %s FROM %I', threadline.shown_role(membership.roleid), role.rolname)
    FROM pg_roles AS role
    JOIN pg_auth_members AS membership ON membership.member = role.oid
    WHERE role.rolname = ANY (writers) AND NOT role.rolsuper AND role.oid <> owner
        AND pg_has_role(membership.roleid, owner, 'MEMBER');

    RETURN QUERY
    SELECT 'warning', 'writer_owns_table', captured.table_schema, captured.table_name,
        format('%I writes this table and may act as its owner, who can switch capture off without a trace', role.rolname),
        format('let another role own it: ALTER TABLE %s OWNER TO ...; see guides/roles-and-trust.md', captured.relation)
    FROM threadline.captured_tables() AS captured
    JOIN pg_class AS class ON class.oid = captured.relation
    JOIN pg_roles AS role ON role.rolname = ANY (writers) AND NOT role.rolsuper AND role.oid <> owner
    WHERE pg_has_role(role.oid, class.relowner, 'MEMBER');
END
$findings$;

-- What the server does around the trail: sessions in which no trigger fires, capture suspended.
CREATE OR REPLACE FUNCTION threadline.server_findings(since timestamptz) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'error', 'replication_role_default', NULL::text, NULL::text,
        format('%s starts sessions with %s, in which no trigger fires', COALESCE(
            'role ' || role.rolname || COALESCE(' in database ' || database.datname, ''),
            'database ' || database.datname, 'the server'), setting),
        CASE
            WHEN role.oid IS NULL THEN format('ALTER DATABASE %I RESET session_replication_role', database.datname)
            WHEN database.oid IS NULL THEN format('ALTER ROLE %I RESET session_replication_role', role.rolname)
            ELSE format('ALTER ROLE %I IN DATABASE %I RESET session_replication_role', role.rolname, database.datname)
        END
    FROM pg_db_role_setting AS defaults
    CROSS JOIN LATERAL unnest(defaults.setconfig) AS setting
    LEFT JOIN pg_roles AS role ON role.oid = defaults.setrole
    LEFT JOIN pg_database AS database ON database.oid = defaults.setdatabase
    WHERE setting LIKE 'session\_replication\_role=%' AND setting NOT LIKE '%=origin'
        AND (defaults.setdatabase = 0 OR database.datname = current_database());

    RETURN QUERY
    SELECT 'warning', 'replication_role_settable', NULL::text, NULL::text,
        format('role %s may set session_replication_role, and write without a trigger firing', threadline.shown_role(privilege.grantee)),
        format('REVOKE SET ON PARAMETER session_replication_role FROM %s', threadline.shown_role(privilege.grantee))
    FROM pg_parameter_acl AS parameter
    CROSS JOIN LATERAL aclexplode(parameter.paracl) AS privilege
    LEFT JOIN pg_roles AS role ON role.oid = privilege.grantee
    WHERE parameter.parname = 'session_replication_role' AND privilege.privilege_type = 'SET'
        AND role.rolsuper IS NOT TRUE;

    -- Who suspends capture holds a lock on the record of it until the end of the transaction. A
    -- transaction that was prepared holds it without a session.
    RETURN QUERY
    SELECT 'warning', 'capture_suspended', NULL::text, NULL::text,
        CASE WHEN held.pid IS NULL THEN 'a prepared transaction suspended capture, and is not finished'
            ELSE format('capture is suspended right now by process %s%s', held.pid,
                ', since ' || to_char(activity.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC') END,
        CASE WHEN held.pid IS NULL THEN COALESCE(
                (SELECT string_agg(format('ROLLBACK PREPARED %L', gid), '; ')
                 FROM pg_prepared_xacts WHERE held.virtualtransaction = '-1/' || transaction),
                'find the transaction in pg_prepared_xacts')
            ELSE format('SELECT pg_terminate_backend(%s)', held.pid) END
    FROM pg_locks AS held
    LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
    WHERE held.locktype = 'relation' AND held.granted AND held.mode = 'RowExclusiveLock'
        AND held.relation = to_regclass('threadline.audit_suspensions')
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND held.pid IS DISTINCT FROM pg_backend_pid();

    IF has_table_privilege('threadline.audit_suspensions', 'SELECT')
        AND has_table_privilege('threadline.audit_suspended_writes', 'SELECT')
    THEN
        RETURN QUERY
        SELECT 'info', 'capture_was_suspended', NULL::text, NULL::text,
            format('%s suspended capture of %s at %s UTC (%s); %s rows went by', suspension.suspended_by,
                array_to_string(suspension.tables, ', '),
                to_char(suspension.suspended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), suspension.reason,
                (SELECT COALESCE(sum(write.row_count), 0) FROM threadline.audit_suspended_writes AS write
                 WHERE write.suspension_id = suspension.id)),
            'nothing, if that was meant'
        FROM threadline.audit_suspensions AS suspension
        WHERE suspension.suspended_at >= since
        ORDER BY suspension.id DESC LIMIT 100;
    END IF;
END
$findings$;

-- Whether the ids that changes are given come after those that were given: not where rows were brought
-- here without their sequence. The newest changes are looked at.
CREATE OR REPLACE FUNCTION threadline.change_ids_are_behind() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
BEGIN ATOMIC
    SELECT COALESCE(max(newest.id) > COALESCE(
        pg_sequence_last_value('threadline.audit_changes_id_seq'::regclass), 0
    ), false)
    FROM (
        SELECT change.id FROM threadline.audit_changes AS change
        WHERE change.captured_at < 'infinity'
        ORDER BY change.captured_at DESC, change.id DESC LIMIT 1000
    ) AS newest;
END;

-- What to ask of one table's default partition: whether it holds rows that have a month, and rows that
-- have none.
CREATE OR REPLACE FUNCTION threadline.default_partition_query(of_parent text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $query$
DECLARE
    span CONSTANT record := threadline.trail_span(of_parent);
    bounds CONSTANT text[] := threadline.partition_bounds(of_parent, span.from_instant, span.to_instant);
BEGIN
    RETURN format($$
        SELECT 'warning', 'default_partition_used', 'threadline', %1$L,
            'it holds rows of a month that has no partition', 'CALL threadline.maintain()'
        WHERE EXISTS (SELECT FROM threadline.%1$I WHERE %2$I >= %3$s AND %2$I < %4$s)
        UNION ALL
        SELECT 'info', 'implausible_instants', 'threadline', %1$L,
            'it holds rows of no plausible time, which stay there: a clock was wrong, or an id was made up',
            'find out who recorded them'
        WHERE EXISTS (SELECT FROM threadline.%1$I WHERE %2$I < %3$s)
            OR EXISTS (SELECT FROM threadline.%1$I WHERE %2$I >= %4$s)
    $$, of_parent || '_default', threadline.partition_column(of_parent), bounds[1], bounds[2]);
END
$query$;

-- Whether what is recorded fits together, and will have a place. Of what was recorded since an
-- instant the newest hundred thousand are looked at, so that this stays cheap on a busy trail.
CREATE OR REPLACE FUNCTION threadline.record_findings(since timestamptz) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
#variable_conflict use_column
DECLARE
    next_month CONSTANT timestamp := (now() + interval '1 month') AT TIME ZONE 'UTC';
    removed_before timestamptz;
    of_parent text;
BEGIN
    RETURN QUERY
    SELECT 'warning', 'partition_missing', 'threadline', root.name,
        format('there is no partition for %s; what is recorded then goes to the default partition', to_char(next_month, 'YYYY-MM')),
        'SELECT threadline.create_partitions(now(), 12)'
    FROM (VALUES ('audit_changes'), ('audit_transactions'), ('audit_actions')) AS root (name)
    WHERE to_regclass(format('threadline.%I', root.name || '_' || to_char(next_month, 'YYYY_MM'))) IS NULL;

    IF NOT (
        has_table_privilege('threadline.audit_changes', 'SELECT')
        AND has_table_privilege('threadline.audit_changes_default', 'SELECT')
        AND has_table_privilege('threadline.audit_transactions', 'SELECT')
        AND has_table_privilege('threadline.audit_transactions_default', 'SELECT')
        AND has_table_privilege('threadline.audit_actions_default', 'SELECT')
        AND has_table_privilege('threadline.audit_removals', 'SELECT')
    ) THEN
        RETURN QUERY SELECT 'info', 'trail_unreadable', 'threadline', NULL::text,
            format('%I may not read the trail, so orphans, writers and default partitions were not looked for', current_user),
            format('GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO %I', current_user);
        RETURN;
    END IF;

    FOR of_parent IN SELECT unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) LOOP
        RETURN QUERY EXECUTE threadline.default_partition_query(of_parent);
    END LOOP;

    -- It is asked with the owner's rights; that the owner lacks them is another finding.
    IF (
        SELECT has_table_privilege(nspowner, 'threadline.audit_changes', 'SELECT')
            AND has_sequence_privilege(nspowner, 'threadline.audit_changes_id_seq', 'USAGE, SELECT')
        FROM pg_namespace WHERE nspname = 'threadline'
    ) THEN
        RETURN QUERY
        SELECT 'error', 'change_ids_behind', 'threadline', 'audit_changes'::text,
            'changes get ids that come before those of older changes, so histories are in the wrong order: rows were brought here without their sequence',
            'SELECT setval(''threadline.audit_changes_id_seq'', (SELECT max(id) FROM threadline.audit_changes))'
        WHERE threadline.change_ids_are_behind();
    END IF;

    RETURN QUERY
    SELECT 'error', 'orphan_changes', change.table_schema, change.table_name,
        format('%s changes belong to transactions whose row is gone', count(*)),
        'find out who removed it: the trail was tampered with'
    FROM (
        SELECT recent.transaction_id, recent.table_schema, recent.table_name
        FROM threadline.audit_changes AS recent
        WHERE recent.captured_at >= since
        ORDER BY recent.captured_at DESC LIMIT 100000
    ) AS change
    WHERE NOT EXISTS (
        SELECT FROM threadline.audit_transactions AS recorded WHERE recorded.id = change.transaction_id
    )
    GROUP BY change.table_schema, change.table_name;

    -- Retention removes changes and leaves their transactions.
    SELECT max((removal.scope ->> 'before')::timestamptz) INTO removed_before
    FROM threadline.audit_removals AS removal WHERE removal.kind = 'retention';
    RETURN QUERY
    SELECT 'error', 'transactions_without_changes', 'threadline', 'audit_transactions'::text,
        format('%s transactions have no change left, the newest of %s UTC', count(*),
            to_char(max(recorded.occurred_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')),
        'find out who removed them: the trail was tampered with'
    FROM (
        SELECT recent.id, recent.occurred_at
        FROM threadline.audit_transactions AS recent
        WHERE recent.id >= threadline.transaction_id_from(since)
            AND recent.occurred_at >= COALESCE(removed_before, '-infinity')
        ORDER BY recent.id DESC LIMIT 100000
    ) AS recorded
    WHERE NOT EXISTS (
        SELECT FROM threadline.audit_changes AS change
        WHERE change.transaction_id = recorded.id AND change.captured_at >= since - interval '1 day'
    )
    HAVING count(*) > 0;

    RETURN QUERY
    SELECT * FROM threadline.writer_findings(ARRAY(
        SELECT DISTINCT recent.db_user FROM (
            SELECT recorded.db_user FROM threadline.audit_transactions AS recorded
            WHERE recorded.id >= threadline.transaction_id_from(since)
            ORDER BY recorded.id DESC LIMIT 10000
        ) AS recent
    ));
END
$findings$;

-- Everything that is wrong with capture, or could make somebody believe it sees more than it does.
-- What it says is for whoever may read deployed_policies; what it may not read it says.
CREATE OR REPLACE FUNCTION threadline.coverage_findings(
    generator_version integer DEFAULT 1, orphans_since timestamptz DEFAULT now() - interval '1 day'
) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $findings$
BEGIN
    RETURN QUERY SELECT * FROM threadline.function_findings(generator_version);
    RETURN QUERY SELECT * FROM threadline.trigger_findings();
    RETURN QUERY SELECT * FROM threadline.table_findings();
    RETURN QUERY SELECT * FROM threadline.installation_findings();
    RETURN QUERY SELECT * FROM threadline.rights_findings();
    RETURN QUERY SELECT * FROM threadline.server_findings(orphans_since);
    RETURN QUERY SELECT * FROM threadline.record_findings(orphans_since);
END
$findings$;

-- Rows that are older than capture: since when a table is captured, and the record of the rows that
-- were there before (op `baseline`), which is no change and is never counted as one.

-- When capture began and ended, table by table.
CREATE TABLE IF NOT EXISTS threadline.audit_enrolments (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    event          text        NOT NULL CHECK (event IN ('attached', 'detached')),
    enrolled_at    timestamptz NOT NULL,
    enrolled_by    text        NOT NULL
);

COMMENT ON TABLE threadline.audit_enrolments IS
    'When tables came under capture, and when they were taken out.';

-- Whether capture began with an empty table, so that no row is older than the trail.
DO $column$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute
        WHERE attrelid OPERATOR(pg_catalog.=) 'threadline.audit_enrolments'::regclass
            AND attname OPERATOR(pg_catalog.=) 'table_was_empty'
    ) THEN
        PERFORM threadline.may_change('threadline.audit_enrolments');
        ALTER TABLE threadline.audit_enrolments ADD COLUMN table_was_empty boolean;
    END IF;
END
$column$;

SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_enrolments
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record()
$guard$);

-- Each attempt to record the rows of a table as they are.
CREATE TABLE IF NOT EXISTS threadline.audit_baseline_runs (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    -- Which rows: those without history, or all.
    selection      text        NOT NULL CHECK (selection IN ('unknown', 'all')),
    state          text        NOT NULL CHECK (state IN ('running', 'finished', 'stopped', 'interrupted')),
    started_at     timestamptz NOT NULL,
    started_by     text        NOT NULL,
    ended_at       timestamptz,
    -- The run whose work this one went on with.
    continues      bigint,
    actor_ref      jsonb,
    context        jsonb,
    action_id      uuid,
    -- Changes from here on belong to this run or to one it goes on with, or came later.
    first_change   bigint      NOT NULL,
    -- The table's newest truncate when the run began: nothing older speaks of a row that is there.
    last_truncate  bigint      NOT NULL,
    rows_seen      bigint      NOT NULL DEFAULT 0,
    rows_recorded  bigint      NOT NULL DEFAULT 0,
    -- Rows that somebody else had locked, and that were not recorded yet.
    rows_left      bigint      NOT NULL DEFAULT 0,
    last_key       jsonb,
    reached_end    boolean     NOT NULL DEFAULT false
);

COMMENT ON TABLE threadline.audit_baseline_runs IS
    'Who recorded the rows of which table as they were, when, and how far it went.';

SELECT threadline.ensure_index($index$
CREATE INDEX audit_baseline_runs_table_idx
    ON threadline.audit_baseline_runs (table_name, table_schema, id)
$index$);

-- Runs move on by the functions below, and nobody takes them back.
CREATE OR REPLACE FUNCTION threadline.guard_baseline_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND threadline.is_sanctioned() THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$guard$;

SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_baseline_run BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_baseline_runs
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_baseline_run()
$guard$);

-- Whether the triggers that make a table captured are there and fire.
CREATE OR REPLACE FUNCTION threadline.is_captured(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN 3 = (
    SELECT count(*) FROM pg_trigger
    WHERE tgrelid = relation AND tgenabled IN ('O', 'A')
        AND tgname IN ('00_threadline_insert', '00_threadline_update', '00_threadline_delete')
);

-- Notes that a table comes under capture, unless it is. Takes the lock that creating a trigger takes,
-- so that no write falls between the instant that is noted and the first trigger.
CREATE OR REPLACE FUNCTION threadline.note_attached(
    table_schema text, table_name text, relation regclass
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $note$
DECLARE
    was_empty boolean;
BEGIN
    IF threadline.is_captured(relation) THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
    -- Where not every row is to be seen, it is not known.
    IF has_table_privilege(relation, 'SELECT') AND NOT row_security_active(relation) THEN
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', relation) INTO was_empty;
    END IF;
    INSERT INTO threadline.audit_enrolments (
        transaction_id, table_schema, table_name, event, enrolled_at, enrolled_by, table_was_empty
    ) VALUES (
        threadline.current_transaction_id(), table_schema, table_name, 'attached',
        clock_timestamp(), session_user, was_empty
    );
END
$note$;

-- Notes that a table is taken out, if it was captured.
CREATE OR REPLACE FUNCTION threadline.note_detached(table_schema text, table_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $note$
BEGIN
    IF threadline.is_captured(to_regclass(format('%I.%I', table_schema, table_name))) THEN
        INSERT INTO threadline.audit_enrolments (
            transaction_id, table_schema, table_name, event, enrolled_at, enrolled_by
        ) VALUES (
            threadline.current_transaction_id(), table_schema, table_name, 'detached',
            clock_timestamp(), session_user
        );
    END IF;
END
$note$;

-- What capture stores of a column: its rule, and the expression that renders it from a row called r.
-- The same as the generated functions have it, but for the table as it was declared; where a declared
-- column is gone, capture goes by the catalog, and so does who asks here.
CREATE OR REPLACE FUNCTION threadline.captured_columns(
    declared jsonb, OUT name text, OUT rendered text, OUT key_text text
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        col.name,
        CASE
            WHEN col.rule = 'mask' THEN format('%L::pg_catalog.text', declared ->> 'mask_with')
            WHEN col.builtin <> 'json' AND EXISTS (
                SELECT FROM pg_type AS type
                WHERE type.typnamespace = 'pg_catalog'::regnamespace AND type.typname = col.builtin
                    AND type.typcategory <> 'A'
            ) THEN threadline.lossless(format('r.%I', col.name), col.builtin)
            WHEN col.type ? 'enum' THEN format('r.%I', col.name)
            WHEN col.type ? 'array'
                THEN threadline.lossless(format('r.%I', col.name), '_' || (col.type ->> 'array'))
            ELSE format('r.%I::pg_catalog.text', col.name)
        END,
        CASE
            WHEN col.type ? 'other' THEN format('r.%I::pg_catalog.text', col.name)
            ELSE format('(pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.#>>) ''{}'')',
                threadline.lossless(
                    format('r.%I', col.name), COALESCE('_' || (col.type ->> 'array'), col.builtin)
                ))
        END
    FROM (
        SELECT given ->> 'name' AS name, given ->> 'rule' AS rule, given -> 'column_type' AS type,
            COALESCE(given #>> '{column_type,builtin}', '') AS builtin
        FROM jsonb_array_elements(declared -> 'columns') AS given
    ) AS col
    WHERE col.rule <> 'exclude';
END;

-- The names of the columns that a declaration tells rows apart by.
CREATE OR REPLACE FUNCTION threadline.declared_key(declared jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(
    SELECT jsonb_array_elements_text(
        CASE WHEN jsonb_typeof(declared -> 'key') = 'object' THEN declared #> '{key,columns}'
        ELSE '[]' END
    )
);

-- Expressions over a row called r, as capture has them: the image, the key, and the key as one text.
CREATE OR REPLACE FUNCTION threadline.captured_row(
    relation oid, declared jsonb, OUT image text, OUT table_pk text, OUT row_key text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $row$
BEGIN
    IF EXISTS (
        SELECT FROM threadline.captured_columns(declared) AS col
        WHERE NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = relation AND attname = col.name AND attnum > 0 AND NOT attisdropped
        )
    ) THEN
        image := threadline.drifted_image(relation, declared, 'r');
        SELECT key.table_pk, key.row_key || ' COLLATE pg_catalog."C"' INTO table_pk, row_key
        FROM threadline.drifted_key(relation, declared, 'r') AS key;
        RETURN;
    END IF;
    SELECT format('(SELECT pg_catalog.to_jsonb(image) FROM (SELECT %s) AS image)', string_agg(
        format('%s AS %I', col.rendered, col.name), ', '
    )) INTO image FROM threadline.captured_columns(declared) AS col;
    SELECT
        format('pg_catalog.jsonb_build_object(%s)', string_agg(
            format('%L, %s', col.name, col.key_text), ', ')),
        -- Whatever the columns' collations are: the trail's is this.
        format('threadline.row_key(%s) COLLATE pg_catalog."C"', string_agg(
            col.key_text, ', ' ORDER BY col.name COLLATE "C"))
    INTO table_pk, row_key
    FROM threadline.captured_columns(declared) AS col
    WHERE col.name = ANY (threadline.declared_key(declared));
END
$row$;

-- How the rows of a table are walked through by their key: expressions over a row called r and a
-- position, an expression for the key's values as text, by column. They are written with the
-- operators of the index itself, so that order, comparison and index are one, whatever the types are.
CREATE OR REPLACE FUNCTION threadline.key_walk(
    relation oid, declared jsonb, from_position text,
    OUT place text, OUT is_after text, OUT is_at text, OUT in_order text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $walk$
DECLARE
    key text[] := threadline.declared_key(declared);
    found_index oid;
    part record;
    values_at text[] := '{}';
    columns_at text[] := '{}';
    uniform boolean := true;
BEGIN
    SELECT index.indexrelid INTO found_index
    FROM pg_index AS index
    WHERE index.indrelid = relation AND index.indisunique AND index.indisvalid
        AND index.indimmediate AND index.indpred IS NULL AND index.indexprs IS NULL
        AND index.indnkeyatts = cardinality(key)
        AND NOT EXISTS (
            SELECT FROM unnest(index.indkey::smallint[]) WITH ORDINALITY AS col (attnum, position)
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = relation AND attribute.attnum = col.attnum
            WHERE col.position <= index.indnkeyatts AND NOT attribute.attname = ANY (key)
        )
    ORDER BY index.indisprimary DESC, index.indexrelid LIMIT 1;
    -- Uniqueness that is checked at the end of a transaction is uniqueness all the same.
    IF found_index IS NULL THEN
        SELECT index.indexrelid INTO found_index
        FROM pg_index AS index
        WHERE index.indrelid = relation AND index.indisprimary AND index.indisvalid
            AND index.indnkeyatts = cardinality(key);
    END IF;
    IF found_index IS NULL THEN
        RAISE EXCEPTION 'table % has no unique index over (%), so its rows cannot be walked through',
            relation::regclass, array_to_string(key, ', ')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Correct the key in the code, then generate and apply the capture migration again (gen-triggers).';
    END IF;
    is_after := '';
    FOR part IN
        SELECT format('r.%I', attribute.attname) AS col,
            format(
                '(%s OPERATOR(pg_catalog.->>) %L)::%s',
                from_position, attribute.attname, format_type(attribute.atttypid, -1)
            ) AS value,
            format('%L, r.%I::pg_catalog.text', attribute.attname, attribute.attname) AS as_text,
            operators.less, operators.equal, operators.greater, operators.name, operators.is_builtin
        FROM pg_index AS index
        CROSS JOIN LATERAL unnest(index.indkey::smallint[], index.indclass::oid[])
            WITH ORDINALITY AS col (attnum, opclass, position)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation AND attribute.attnum = col.attnum
        JOIN pg_opclass AS opclass ON opclass.oid = col.opclass
        CROSS JOIN LATERAL (
            SELECT
                max(format('OPERATOR(%I.%s)', namespace.nspname, operator.oprname))
                    FILTER (WHERE member.amopstrategy = 1) AS less,
                max(format('OPERATOR(%I.%s)', namespace.nspname, operator.oprname))
                    FILTER (WHERE member.amopstrategy = 3) AS equal,
                max(format('OPERATOR(%I.%s)', namespace.nspname, operator.oprname))
                    FILTER (WHERE member.amopstrategy = 5) AS greater,
                max(operator.oprname::text) FILTER (WHERE member.amopstrategy = 5) AS name,
                bool_and(namespace.nspname = 'pg_catalog') AS is_builtin
            FROM pg_amop AS member
            JOIN pg_operator AS operator ON operator.oid = member.amopopr
            JOIN pg_namespace AS namespace ON namespace.oid = operator.oprnamespace
            WHERE member.amopfamily = opclass.opcfamily AND member.amoppurpose = 's'
                AND member.amoplefttype = opclass.opcintype AND member.amoprighttype = opclass.opcintype
        ) AS operators
        WHERE index.indexrelid = found_index AND col.position <= index.indnkeyatts
        ORDER BY col.position DESC
    LOOP
        uniform := uniform AND part.is_builtin AND part.name = '>';
        columns_at := part.col || columns_at;
        values_at := part.value || values_at;
        is_after := CASE WHEN is_after = '' THEN format('%s %s %s', part.col, part.greater, part.value)
            ELSE format('(%1$s %2$s %3$s OR %1$s %4$s %3$s AND (%5$s))',
                part.col, part.greater, part.value, part.equal, is_after) END;
        is_at := concat_ws(' AND ', format('%s %s %s', part.col, part.equal, part.value), is_at);
        in_order := concat_ws(', ', format('%s USING %s', part.col, part.less), in_order);
        place := concat_ws(', ', part.as_text, place);
    END LOOP;
    place := format('pg_catalog.jsonb_build_object(%s)', place);
    IF uniform AND cardinality(columns_at) > 1 THEN
        is_after := format('ROW(%s) OPERATOR(pg_catalog.>) ROW(%s)',
            array_to_string(columns_at, ', '), array_to_string(values_at, ', '));
    END IF;
END
$walk$;

-- An instant that no change has reached: a bound that spares searches the partitions of coming months.
CREATE OR REPLACE FUNCTION threadline.instant_not_reached() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT GREATEST(max(change.captured_at), clock_timestamp()) + interval '1 day'
    FROM threadline.audit_changes AS change
);

-- An expression for whether the trail knows the row with a key to be there: the last it heard of the
-- key is a row that came or stayed. `key` is an expression.
CREATE OR REPLACE FUNCTION threadline.known_row(
    table_schema text, table_name text, key text, last_truncate bigint, before timestamptz
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format(
    '(SELECT last.op OPERATOR(pg_catalog.<>) ''delete'' AND last.id OPERATOR(pg_catalog.>) %4$s'
    ' AND NOT EXISTS ('
        'SELECT FROM threadline.audit_changes AS departed'
        ' WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L'
        ' AND departed.table_schema OPERATOR(pg_catalog.=) %1$L'
        ' AND departed.previous_key OPERATOR(pg_catalog.=) last.row_key'
        ' AND departed.captured_at OPERATOR(pg_catalog.<) %5$L'
        ' AND departed.id OPERATOR(pg_catalog.>) last.id'
        -- While keys are swapped, one may come before the other leaves.
        ' AND (departed.data_after OPERATOR(pg_catalog.||) departed.changed_from)'
        ' OPERATOR(pg_catalog.=) last.data_after)'
    ' FROM threadline.audit_changes AS last'
    ' WHERE last.table_name OPERATOR(pg_catalog.=) %2$L'
    ' AND last.table_schema OPERATOR(pg_catalog.=) %1$L'
    ' AND last.row_key OPERATOR(pg_catalog.=) %3$s'
    ' AND last.captured_at OPERATOR(pg_catalog.<) %5$L'
    ' ORDER BY last.id DESC LIMIT 1) IS TRUE',
    table_schema, table_name, key, last_truncate, before
);

-- An expression for whether a run has nothing to record for the row with a key: because the trail
-- knows the row, or, where all rows are to be recorded, because the run has recorded it.
CREATE OR REPLACE FUNCTION threadline.settled_row(
    run threadline.audit_baseline_runs, key text, before timestamptz
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE run.selection
    WHEN 'unknown' THEN threadline.known_row(
        run.table_schema, run.table_name, key, run.last_truncate, before
    )
    ELSE format(
        'EXISTS (SELECT FROM threadline.audit_changes AS recorded'
        ' WHERE recorded.table_name OPERATOR(pg_catalog.=) %2$L'
        ' AND recorded.table_schema OPERATOR(pg_catalog.=) %1$L'
        ' AND recorded.row_key OPERATOR(pg_catalog.=) %3$s'
        ' AND recorded.captured_at OPERATOR(pg_catalog.<) %5$L'
        ' AND recorded.id OPERATOR(pg_catalog.>) %4$s'
        ' AND recorded.op OPERATOR(pg_catalog.=) ''baseline'')',
        run.table_schema, run.table_name, key, run.first_change, before
    )
END;

-- The newest change that emptied a table, 0 if there is none.
CREATE OR REPLACE FUNCTION threadline.last_truncate(of_schema text, of_table text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT COALESCE(max(change.id), 0) FROM threadline.audit_changes AS change
    WHERE change.table_name = of_table AND change.table_schema = of_schema
        AND change.op = 'truncate' AND change.partition_name IS NULL
);

-- Recording the rows of a table in batches, and what is known of tables before and after that.

-- The table and its declaration, if its rows can be recorded.
CREATE OR REPLACE FUNCTION threadline.baseline_source(
    of_schema text, of_table text, OUT relation regclass, OUT declared jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $source$
DECLARE
    shown text := format('%I.%I', of_schema, of_table);
BEGIN
    SELECT policy.relation, policy.declared INTO relation, declared
    FROM threadline.deployed_policies AS policy
    WHERE policy.by_row AND policy.table_schema = of_schema AND policy.table_name = of_table;
    IF relation IS NULL OR NOT threadline.is_captured(relation) THEN
        RAISE EXCEPTION 'table % is not captured, so a baseline of it would be wrong at once', shown
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Generate and apply its capture migration first (gen-triggers).';
    END IF;
    IF cardinality(threadline.declared_key(declared)) = 0 THEN
        RAISE EXCEPTION 'table % has no key, so its rows cannot be told apart', shown
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Add a primary key, then generate and apply its capture migration again (gen-triggers).';
    END IF;
END
$source$;

-- Whether a later run may begin at the place that a run has reached: it left nothing behind there, rows
-- are still told apart by the same columns, and none can have come unseen since.
CREATE OR REPLACE FUNCTION threadline.is_resumable(
    run threadline.audit_baseline_runs, declared jsonb
) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN run.rows_left = 0 AND NOT run.reached_end
    AND ARRAY(SELECT jsonb_object_keys(run.last_key) ORDER BY 1)
        = ARRAY(SELECT unnest(threadline.declared_key(declared)) ORDER BY 1)
    AND NOT EXISTS (
        SELECT FROM threadline.audit_enrolments AS enrolment
        WHERE enrolment.table_schema = run.table_schema AND enrolment.table_name = run.table_name
            AND enrolment.enrolled_at > run.started_at
    )
    AND NOT EXISTS (
        SELECT FROM threadline.audit_suspended_writes AS unseen
        WHERE unseen.table_schema = run.table_schema AND unseen.table_name = run.table_name
            AND unseen.statement_at > run.started_at
    );

-- Begins to record the rows of a table, or goes on where a run that did not finish left off. `work` is
-- as in open_audited_work: who does it, and under which action.
CREATE OR REPLACE FUNCTION threadline.begin_baseline(
    of_schema text, of_table text, selection text, work jsonb,
    OUT run bigint, OUT continues bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $begin$
#variable_conflict use_column
DECLARE
    previous threadline.audit_baseline_runs;
    wanted text := selection;
    v_run bigint;
    declared jsonb := (SELECT source.declared FROM threadline.baseline_source(of_schema, of_table) AS source);
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended(format('threadline baseline %I.%I', of_schema, of_table), 0)
    );
    SELECT * INTO previous FROM threadline.audit_baseline_runs AS former
    WHERE former.table_name = of_table AND former.table_schema = of_schema
        AND former.selection = wanted
    ORDER BY former.id DESC LIMIT 1;
    IF previous.state = 'finished' THEN
        previous := NULL;
    END IF;
    IF work -> 'action' IS NOT NULL THEN
        PERFORM threadline.record_action(
            work -> 'action', work -> 'actor_ref', COALESCE(work -> 'context', '{}')
        );
    END IF;
    -- Whoever was at it is not any more: its next batch finds that it was taken over.
    PERFORM threadline.sanction(true);
    UPDATE threadline.audit_baseline_runs AS former
    SET state = 'interrupted', ended_at = clock_timestamp()
    WHERE former.table_name = of_table AND former.table_schema = of_schema
        AND former.state = 'running';
    PERFORM threadline.sanction(false);
    INSERT INTO threadline.audit_baseline_runs (
        transaction_id, table_schema, table_name, selection, state, started_at, started_by,
        continues, actor_ref, context, action_id, first_change, last_truncate, last_key
    ) VALUES (
        threadline.current_transaction_id(), of_schema, of_table, wanted, 'running',
        clock_timestamp(), session_user, previous.id, work -> 'actor_ref', work -> 'context',
        (work #>> '{action,id}')::uuid,
        COALESCE(previous.first_change, nextval('threadline.audit_changes_id_seq')),
        threadline.last_truncate(of_schema, of_table),
        CASE WHEN threadline.is_resumable(previous, declared) THEN previous.last_key END
    ) RETURNING id INTO v_run;
    run := v_run;
    continues := previous.id;
END
$begin$;

-- Records the next rows of a run, or those of `keys`, which an earlier batch had to leave behind.
--
-- A row is recorded while it is locked FOR SHARE, and only if no change of it is known. So what changed
-- it before is recorded instead, and what changes it later comes later. Rows that somebody
-- else has locked are left behind, never waited for: nobody can deadlock with a baseline, and
-- nobody waits longer for it than a batch takes.
CREATE OR REPLACE FUNCTION threadline.baseline_batch(
    run bigint, keys jsonb, batch_size integer,
    OUT rows_seen bigint, OUT rows_recorded bigint, OUT left_behind jsonb, OUT reached_end boolean
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
SET lc_monetary = 'C'
AS $batch$
#variable_conflict use_column
<<batch>>
DECLARE
    found_run threadline.audit_baseline_runs;
    source record;
    stored record;
    walk record;
    v_position jsonb;
    leaves oid[];
    places tid[];
    positions jsonb[];
    leaf oid;
    locked tid[];
    attribution threadline.attribution;
    v_transaction uuid := threadline.current_transaction_id();
    inserted bigint;
    before text[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a baseline needs read committed transactions, to see what was committed while it waited'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Reset default_transaction_isolation for this session.';
    END IF;
    SELECT * INTO found_run FROM threadline.audit_baseline_runs WHERE id = run;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no baseline run %', run USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(
        format('threadline baseline %I.%I', found_run.table_schema, found_run.table_name), 0
    ));
    SELECT * INTO found_run FROM threadline.audit_baseline_runs WHERE id = run;
    IF found_run.state <> 'running' THEN
        RAISE EXCEPTION 'baseline run % is not running: it is %', run, found_run.state
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Another run of the same table took it over; audit_baseline_runs has who.';
    END IF;
    IF found_run.transaction_id = v_transaction THEN
        RAISE EXCEPTION 'every batch of a baseline needs a transaction of its own'
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'Run it outside of a transaction.';
    END IF;
    SELECT * INTO source FROM threadline.baseline_source(found_run.table_schema, found_run.table_name);
    SELECT * INTO stored FROM threadline.captured_row(source.relation, source.declared);
    SELECT * INTO walk FROM threadline.key_walk(
        source.relation, source.declared, CASE WHEN keys IS NULL THEN '$1' ELSE 'given.key' END
    );

    -- The next rows by the key, and which of them nothing is known of.
    EXECUTE format(
        'SELECT count(*), (array_agg(page.position ORDER BY page.nr DESC))[1],'
        ' array_agg(page.leaf) FILTER (WHERE page.is_unknown),'
        ' array_agg(page.place) FILTER (WHERE page.is_unknown),'
        ' array_agg(page.position) FILTER (WHERE page.is_unknown)'
        ' FROM (SELECT walked.*, row_number() OVER () AS nr, NOT %s AS is_unknown FROM ('
        'SELECT r.tableoid AS leaf, r.ctid AS place, %s AS position, %s AS row_key FROM %s AS r %s'
        ') AS walked) AS page',
        
        threadline.settled_row(found_run, 'walked.row_key', threadline.instant_not_reached()), walk.place, stored.row_key, source.relation,
        CASE
            WHEN keys IS NOT NULL THEN format(
                'CROSS JOIN jsonb_array_elements($3) AS given (key) WHERE %s', walk.is_at)
            ELSE format('%s ORDER BY %s LIMIT $2',
                CASE WHEN found_run.last_key IS NOT NULL THEN 'WHERE ' || walk.is_after ELSE '' END,
                walk.in_order)
        END
    ) INTO rows_seen, v_position, leaves, places, positions USING found_run.last_key, batch_size, keys;

    rows_recorded := 0;
    left_behind := '[]';
    before := ARRAY[
        current_setting('threadline.actor_ref', true), current_setting('threadline.context', true),
        current_setting('threadline.action_id', true)
    ];
    FOR leaf IN SELECT DISTINCT unnest(leaves) ORDER BY 1 LOOP
        -- A version of a row that was there and is locked now was not changed in between, so what
        -- was not known of it still is not. Of a row that was changed, another version is locked, or
        -- none: that one is for later.
        EXECUTE format(
            'SELECT COALESCE(array_agg(free.ctid), ''{}'') FROM ('
            'SELECT r.ctid FROM ONLY %s AS r WHERE r.ctid = ANY ($1) FOR SHARE OF r SKIP LOCKED'
            ') AS free WHERE free.ctid = ANY ($1)',
            leaf::regclass
        ) INTO locked USING ARRAY(
            SELECT page.place FROM unnest(leaves, places) AS page (leaf, place) WHERE page.leaf = batch.leaf
        );
        left_behind := left_behind || COALESCE((
            SELECT jsonb_agg(page.position)
            FROM unnest(leaves, places, positions) AS page (leaf, place, position)
            WHERE page.leaf = batch.leaf AND NOT page.place = ANY (locked)
        ), '[]');
        CONTINUE WHEN locked = '{}';
        IF rows_recorded = 0 THEN
            PERFORM set_config('threadline.actor_ref', COALESCE(found_run.actor_ref::text, ''), true),
                    set_config('threadline.context', COALESCE(found_run.context::text, ''), true),
                    set_config('threadline.action_id', COALESCE(found_run.action_id::text, ''), true);
            attribution := threadline.attribute_change(
                v_transaction, found_run.table_schema, found_run.table_name
            );
            IF attribution.suspension IS NOT NULL THEN
                RAISE EXCEPTION 'capture of %.% is suspended in this transaction',
                    found_run.table_schema, found_run.table_name
                    USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            IF source.declared ->> 'actor' = 'required' AND NOT attribution.attributed THEN
                PERFORM threadline.refuse_unattributed(found_run.table_schema, found_run.table_name);
            END IF;
        END IF;
        EXECUTE format(
            'INSERT INTO threadline.audit_changes ('
            'id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,'
            ' table_pk, row_key, data_after)'
            ' SELECT nextval(''threadline.audit_changes_id_seq''), $2, $3, $4, $5, ''baseline'','
            ' $6, $7, %s, %s, %s FROM ONLY %s AS r WHERE r.ctid = ANY ($1)',
            stored.table_pk, stored.row_key, stored.image, leaf::regclass
        ) USING locked, clock_timestamp(), v_transaction, attribution.action_id,
            attribution.actor_ref, found_run.table_schema, found_run.table_name;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        rows_recorded := rows_recorded + inserted;
    END LOOP;
    PERFORM set_config('threadline.actor_ref', COALESCE(before[1], ''), true),
            set_config('threadline.context', COALESCE(before[2], ''), true),
            set_config('threadline.action_id', COALESCE(before[3], ''), true);

    reached_end := keys IS NULL AND rows_seen < batch_size;
    PERFORM threadline.sanction(true);
    UPDATE threadline.audit_baseline_runs AS this_run
    SET rows_seen = this_run.rows_seen + CASE WHEN keys IS NULL THEN baseline_batch.rows_seen ELSE 0 END,
        rows_recorded = this_run.rows_recorded + baseline_batch.rows_recorded,
        rows_left = this_run.rows_left + jsonb_array_length(left_behind)
            - COALESCE(jsonb_array_length(keys), 0),
        last_key = CASE WHEN keys IS NULL THEN COALESCE(v_position, this_run.last_key) ELSE this_run.last_key END,
        reached_end = this_run.reached_end OR baseline_batch.reached_end
    WHERE this_run.id = run;
    PERFORM threadline.sanction(false);
END
$batch$;

-- Ends a run: finished if it went through the whole table and left nothing behind, stopped otherwise.
CREATE OR REPLACE FUNCTION threadline.end_baseline(run bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $end$
DECLARE
    ended text;
BEGIN
    PERFORM threadline.sanction(true);
    UPDATE threadline.audit_baseline_runs AS this_run
    SET state = CASE WHEN this_run.reached_end AND this_run.rows_left = 0 THEN 'finished' ELSE 'stopped' END,
        ended_at = clock_timestamp()
    WHERE this_run.id = run AND this_run.state = 'running'
    RETURNING this_run.state INTO ended;
    PERFORM threadline.sanction(false);
    RETURN ended;
END
$end$;

-- The captured tables, or one of them: since when each is known, and whether a baseline ran.
CREATE OR REPLACE FUNCTION threadline.continuity(of_schema text DEFAULT NULL, of_table text DEFAULT NULL)
RETURNS TABLE (
    table_schema text, table_name text, captured boolean, has_key boolean,
    captured_since timestamptz, first_recorded_at timestamptz,
    baseline_run bigint, baseline_state text, baseline_started_at timestamptz,
    baseline_ended_at timestamptz, baseline_started_by text, baselined_rows bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        policy.table_schema, policy.table_name,
        COALESCE(threadline.is_captured(policy.relation), false),
        cardinality(threadline.declared_key(policy.declared)) > 0,
        (
            SELECT CASE enrolment.event WHEN 'attached' THEN enrolment.enrolled_at END
            FROM threadline.audit_enrolments AS enrolment
            WHERE enrolment.table_schema = policy.table_schema
                AND enrolment.table_name = policy.table_name
            ORDER BY enrolment.id DESC LIMIT 1
        ),
        (
            SELECT min(change.captured_at) FROM threadline.audit_changes AS change
            WHERE change.table_name = policy.table_name AND change.table_schema = policy.table_schema
        ),
        last_run.id, last_run.state, last_run.started_at, last_run.ended_at, last_run.started_by,
        COALESCE((
            SELECT sum(run.rows_recorded) FROM threadline.audit_baseline_runs AS run
            WHERE run.table_name = policy.table_name AND run.table_schema = policy.table_schema
        ), 0)::bigint
    FROM threadline.deployed_policies AS policy
    LEFT JOIN LATERAL (
        SELECT run.* FROM threadline.audit_baseline_runs AS run
        WHERE run.table_name = policy.table_name AND run.table_schema = policy.table_schema
        ORDER BY run.id DESC LIMIT 1
    ) AS last_run ON true
    WHERE policy.by_row AND policy.relation IS NOT NULL
        AND (of_schema IS NULL OR policy.table_schema = of_schema)
        AND (of_table IS NULL OR policy.table_name = of_table)
    ORDER BY policy.table_schema, policy.table_name;
END;

-- How many rows a captured table has, and of how many of them nothing is known. Reads all of them.
CREATE OR REPLACE FUNCTION threadline.count_unknown_rows(
    of_schema text, of_table text, OUT row_count bigint, OUT unknown_count bigint
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, MDY'
SET IntervalStyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = '1'
SET lc_monetary = 'C'
AS $count$
DECLARE
    truncated bigint := threadline.last_truncate(of_schema, of_table);
    source record;
    stored record;
BEGIN
    SELECT * INTO source FROM threadline.baseline_source(of_schema, of_table);
    SELECT * INTO stored FROM threadline.captured_row(source.relation, source.declared);
    -- The last that was heard of every key, at once. Only where the row of a key left it after that
    -- has it to be looked at whether it was the row that is there.
    EXECUTE format(
        'SELECT count(*), count(*) FILTER (WHERE CASE'
        ' WHEN heard.last_id > %1$s AND heard.last_id <> heard.last_delete'
            ' THEN departed.last_id > heard.last_id AND NOT %2$s'
        ' ELSE true END)'
        ' FROM (SELECT %3$s AS row_key FROM %4$s AS r) AS present'
        ' LEFT JOIN ('
            'SELECT row_key, max(id) AS last_id, COALESCE(max(id) FILTER (WHERE op = ''delete''), 0) AS last_delete'
            ' FROM threadline.audit_changes WHERE table_name = %5$L AND table_schema = %6$L GROUP BY row_key'
        ') AS heard USING (row_key)'
        ' LEFT JOIN ('
            'SELECT previous_key AS row_key, max(id) AS last_id FROM threadline.audit_changes'
            ' WHERE table_name = %5$L AND table_schema = %6$L AND previous_key IS NOT NULL'
            ' GROUP BY previous_key'
        ') AS departed USING (row_key)',
        truncated,
        threadline.known_row(
            of_schema, of_table, 'present.row_key', truncated, threadline.instant_not_reached()
        ),
        stored.row_key, source.relation, of_table, of_schema
    ) INTO row_count, unknown_count;
END
$count$;

-- The feed: changes for named consumers, in order, none skipped and none of a rolled-back transaction.
--
-- A change takes its id when it is captured, and can be seen when its transaction commits, which may
-- be long after changes with greater ids. So a consumer never reads up to the greatest id it sees.
-- It reads up to a mark: the id that was last given out, and with it a transaction id that was given
-- out after it. Whoever holds an id up to the mark had a transaction id before, because whatever writes
-- changes takes its transaction's id first, and must. So once no transaction older than the mark's
-- runs any more, whatever is up to the mark is committed or gone: the mark is settled.
--
-- Only ids of changes are kept for good. The transaction id lives as long as a mark waits; in a
-- restored cluster, where it means nothing, it is either greater than any there, and the mark is made
-- again, or it delays the mark, which a restore has settled anyway.
--
-- Ids also follow the order of each row: whoever changes a row after somebody else waited for the
-- other's commit first, and took the id after it had waited.

CREATE TABLE IF NOT EXISTS threadline.audit_feed_consumers (
    name            text COLLATE "C" PRIMARY KEY
        CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    created_at      timestamptz NOT NULL,
    created_by      text        NOT NULL,
    acknowledged_to bigint      NOT NULL,
    seen_until      timestamptz NOT NULL,
    settled_to      bigint      NOT NULL,
    settled_at      timestamptz NOT NULL,
    mark_id         bigint,
    mark_xid        xid8,
    mark_at         timestamptz,
    lease_token     uuid,
    leased_to       bigint,
    leased_until    timestamptz,
    leased_by       text,
    attempt         integer     NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE threadline.audit_feed_consumers IS
    'One row for each named consumer of the feed: how far it is, and who works for it.';
COMMENT ON COLUMN threadline.audit_feed_consumers.acknowledged_to IS
    'Changes with ids up to this are done with.';
COMMENT ON COLUMN threadline.audit_feed_consumers.seen_until IS
    'About when the last of them was captured.';
COMMENT ON COLUMN threadline.audit_feed_consumers.settled_to IS
    'Changes with ids up to this are committed, or never will be.';
COMMENT ON COLUMN threadline.audit_feed_consumers.mark_id IS
    'An id that waits to be settled: for every transaction older than mark_xid to end.';
COMMENT ON COLUMN threadline.audit_feed_consumers.attempt IS
    'How often the changes after acknowledged_to were leased.';

-- The last id that a change was given.
CREATE OR REPLACE FUNCTION threadline.last_change_id() RETURNS bigint
LANGUAGE sql VOLATILE
RETURN COALESCE(
    pg_catalog.pg_sequence_last_value('threadline.audit_changes_id_seq'::pg_catalog.regclass), 0
);

-- Whether every transaction of this database with an older id than a mark's has ended. A snapshot
-- lists who runs below its xmax, except the transaction that asks; from its xmax on, nobody has ended.
CREATE OR REPLACE FUNCTION threadline.feed_is_settled(mark_xid xid8) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $settled$
    SELECT pg_snapshot_xmax(pg_current_snapshot()) >= mark_xid AND NOT EXISTS (
        SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS running (xid)
        WHERE running.xid < mark_xid
            -- Transactions of other databases cannot write here.
            AND NOT EXISTS (
                SELECT FROM pg_stat_get_activity(NULL) AS elsewhere
                WHERE elsewhere.backend_xid = running.xid::xid
                    AND elsewhere.datid <> (
                        SELECT oid FROM pg_database WHERE datname = current_database()
                    )
            )
            AND NOT EXISTS (
                SELECT FROM pg_prepared_xacts AS elsewhere
                WHERE elsewhere.transaction = running.xid::xid
                    AND elsewhere.database <> current_database()
            )
    )
$settled$;

-- Makes a consumer. It gets the changes after an id: all with 0, those captured from now on with
-- NULL. Returns false if there is one of this name.
CREATE OR REPLACE FUNCTION threadline.create_feed_consumer(
    consumer text, after_id bigint
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s'
AS $create$
DECLARE
    last_id bigint := threadline.last_change_id();
BEGIN
    IF after_id NOT BETWEEN 0 AND last_id THEN
        RAISE EXCEPTION 'no change has the id % yet: the last is %', after_id, last_id
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- "What came after this id?" Only hosts with a consumer pay for this index.
    IF to_regclass('threadline.audit_changes_feed_idx') IS NULL THEN
        BEGIN
            CREATE INDEX audit_changes_feed_idx ON threadline.audit_changes (id);
        EXCEPTION WHEN lock_not_available THEN
            RAISE EXCEPTION 'the index of the feed cannot be made while somebody writes for long'
                USING ERRCODE = 'lock_not_available',
                      HINT = 'Try again, or make it without a lock: see guides/feed.md.';
        END;
    END IF;
    INSERT INTO threadline.audit_feed_consumers (
        name, created_at, created_by, acknowledged_to, seen_until, settled_to, settled_at, attempt
    ) VALUES (
        consumer, clock_timestamp(), session_user, COALESCE(after_id, last_id),
        CASE WHEN after_id IS NULL THEN clock_timestamp() ELSE COALESCE(
            (SELECT change.captured_at FROM threadline.audit_changes AS change
             WHERE change.id = after_id),
            '-infinity'
        ) END,
        0, '-infinity', 0
    ) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$create$;

-- Drops a consumer, also one that is at work. Returns whether there was one.
CREATE OR REPLACE FUNCTION threadline.drop_feed_consumer(consumer text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $drop$
BEGIN
    DELETE FROM threadline.audit_feed_consumers AS feed WHERE feed.name = consumer;
    RETURN FOUND;
END
$drop$;

-- What would make the feed skip changes, refused.
CREATE OR REPLACE FUNCTION threadline.guard_feed(reached bigint, last_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    -- An older snapshot would pair a new id with an old transaction id.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'a lease takes a transaction at the level READ COMMITTED, not %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- The transaction's own changes would be read, which it may still roll back.
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION 'a lease takes a transaction that has written nothing'
            USING ERRCODE = 'invalid_transaction_state',
                  HINT = 'Lease outside of a transaction. To acknowledge inside one is fine.';
    END IF;
    IF last_id < reached THEN
        RAISE EXCEPTION 'the last change has the id %, and the consumer is at % already', last_id, reached
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'The sequence threadline.audit_changes_id_seq was set back, or not restored '
                      'with the trail. Set it beyond the greatest id: until then changes go unseen.';
    END IF;
    -- With a cache, a session takes ids that were given out to it long before.
    IF (SELECT seqcache FROM pg_sequence
        WHERE seqrelid = 'threadline.audit_changes_id_seq'::regclass) <> 1
    THEN
        RAISE EXCEPTION 'the sequence of changes has a cache, so the feed cannot know what is settled'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SEQUENCE threadline.audit_changes_id_seq CACHE 1';
    END IF;
END
$guard$;

-- Leases the next changes of a consumer: those with ids after `after_id`, up to `to_id`, at most
-- `batch` of them. Read them by these ids, in the order of id. `outcome` is
--
--   batch    there are some;
--   empty    there are none;
--   waiting  there may be some, as soon as transactions that run now have ended;
--   held     somebody else has the lease, until `leased_until` if that is known;
--   unknown  there is no such consumer.
--
-- `attempt` counts how often these changes were leased. Changes captured before `removed_before` may
-- have been removed by retention before the consumer saw them.
CREATE OR REPLACE FUNCTION threadline.feed_lease(
    consumer text, duration interval, batch integer,
    OUT outcome text, OUT token uuid, OUT after_id bigint, OUT to_id bigint,
    OUT leased_until timestamptz, OUT attempt integer, OUT removed_before timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $lease$
#variable_conflict use_variable
DECLARE
    last_id bigint := threadline.last_change_id();
    state threadline.audit_feed_consumers;
    found_rows bigint;
BEGIN
    IF (batch >= 1 AND duration > interval '0') IS NOT TRUE THEN
        RAISE EXCEPTION 'a lease takes a batch of at least one change, and a duration'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO state FROM threadline.audit_feed_consumers AS feed WHERE feed.name = consumer;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    PERFORM threadline.guard_feed(
        GREATEST(state.acknowledged_to, state.settled_to, state.mark_id), last_id
    );
    -- Whoever only waits writes nothing, and takes no transaction id.
    outcome := threadline.feed_idle(state, last_id);
    IF outcome IS NOT NULL THEN
        leased_until := CASE WHEN outcome = 'held' THEN state.leased_until END;
        RETURN;
    END IF;

    -- This takes a transaction id, the mark's, after last_id was read.
    SELECT * INTO state FROM threadline.audit_feed_consumers AS feed WHERE feed.name = consumer
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR state.leased_until > clock_timestamp() THEN
        outcome := 'held';
        leased_until := state.leased_until;
        RETURN;
    END IF;
    outcome := 'empty';
    -- Twice: there may be nothing up to an old mark, and something up to a new one.
    FOR step IN 1 .. 2 LOOP
        IF state.acknowledged_to >= state.settled_to THEN
            IF state.mark_id IS NULL
                OR state.mark_xid > pg_snapshot_xmax(pg_current_snapshot()) -- of another cluster
            THEN
                EXIT WHEN last_id <= state.settled_to;
                state.mark_id := last_id;
                state.mark_xid := pg_current_xact_id();
                state.mark_at := clock_timestamp();
            END IF;
            IF NOT threadline.feed_is_settled(state.mark_xid) THEN
                outcome := 'waiting';
                EXIT;
            END IF;
            state.settled_to := state.mark_id;
            state.settled_at := state.mark_at;
            state.mark_id := NULL;
            state.mark_xid := NULL;
            state.mark_at := NULL;
        END IF;
        SELECT max(next.id), count(*) INTO to_id, found_rows FROM (
            SELECT change.id FROM threadline.audit_changes AS change
            WHERE change.id > state.acknowledged_to AND change.id <= state.settled_to
            ORDER BY change.id LIMIT batch
        ) AS next;
        IF found_rows > 0 THEN
            outcome := 'batch';
            EXIT;
        END IF;
        state.acknowledged_to := GREATEST(state.acknowledged_to, state.settled_to);
        state.seen_until := GREATEST(state.seen_until, state.settled_at);
        state.attempt := 0;
    END LOOP;

    IF outcome = 'batch' THEN
        token := gen_random_uuid();
        after_id := state.acknowledged_to;
        IF found_rows < batch THEN
            to_id := state.settled_to;
        END IF;
        leased_until := clock_timestamp() + duration;
        attempt := state.attempt + 1;
        SELECT max((removal.scope ->> 'before')::timestamptz) INTO removed_before
        FROM threadline.audit_removals AS removal
        WHERE removal.kind = 'retention' AND removal.change_count > 0
            AND removal.removed_at > state.created_at
            AND (removal.scope ->> 'before')::timestamptz > state.seen_until;
    END IF;
    UPDATE threadline.audit_feed_consumers AS feed
    SET acknowledged_to = state.acknowledged_to, seen_until = state.seen_until,
        settled_to = state.settled_to, settled_at = state.settled_at,
        mark_id = state.mark_id, mark_xid = state.mark_xid, mark_at = state.mark_at,
        lease_token = token, leased_to = to_id, leased_until = leased_until,
        leased_by = CASE WHEN token IS NOT NULL THEN session_user END,
        attempt = COALESCE(attempt, state.attempt)
    WHERE feed.name = consumer;
END
$lease$;

-- Why there is nothing to lease, as far as that can be told without writing.
CREATE OR REPLACE FUNCTION threadline.feed_idle(
    state threadline.audit_feed_consumers, last_id bigint
) RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $idle$
    SELECT CASE
        WHEN state.leased_until > clock_timestamp() THEN 'held'
        WHEN state.acknowledged_to < state.settled_to THEN NULL
        WHEN state.mark_id IS NULL AND last_id <= state.settled_to THEN 'empty'
        WHEN state.mark_xid <= pg_snapshot_xmax(pg_current_snapshot())
            AND NOT threadline.feed_is_settled(state.mark_xid) THEN 'waiting'
    END
$idle$;

-- Says that what was leased is done with. Returns false, and does nothing, where the lease has run
-- out, was given up, or is not the consumer's.
CREATE OR REPLACE FUNCTION threadline.feed_acknowledge(consumer text, token uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $acknowledge$
BEGIN
    UPDATE threadline.audit_feed_consumers AS feed
    SET acknowledged_to = feed.leased_to,
        seen_until = GREATEST(feed.seen_until, CASE
            WHEN feed.leased_to = feed.settled_to THEN feed.settled_at
            ELSE (SELECT change.captured_at FROM threadline.audit_changes AS change
                  WHERE change.id = feed.leased_to)
        END),
        lease_token = NULL, leased_to = NULL, leased_until = NULL, leased_by = NULL, attempt = 0
    WHERE feed.name = consumer AND feed.lease_token = token
        AND feed.leased_until > clock_timestamp();
    RETURN FOUND;
END
$acknowledge$;

-- Has a lease last for a duration from now. Returns until when; NULL where it is refused as above.
CREATE OR REPLACE FUNCTION threadline.feed_renew(
    consumer text, token uuid, duration interval
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $renew$
DECLARE
    renewed timestamptz;
BEGIN
    UPDATE threadline.audit_feed_consumers AS feed
    SET leased_until = clock_timestamp() + duration
    WHERE feed.name = consumer AND feed.lease_token = token
        AND feed.leased_until > clock_timestamp()
    RETURNING feed.leased_until INTO renewed;
    RETURN renewed;
END
$renew$;

-- Gives a lease up, so that the same changes can be leased at once. Returns false where it is
-- refused as above.
CREATE OR REPLACE FUNCTION threadline.feed_release(consumer text, token uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $release$
BEGIN
    UPDATE threadline.audit_feed_consumers AS feed
    SET lease_token = NULL, leased_to = NULL, leased_until = NULL, leased_by = NULL
    WHERE feed.name = consumer AND feed.lease_token = token
        AND feed.leased_until > clock_timestamp();
    RETURN FOUND;
END
$release$;

-- How far consumers are, by name; one of them, or all.
--
-- `behind_at_most` counts ids, and ids are also taken by what is rolled back. `oldest_at` is when the
-- first change that is not acknowledged was captured. `settled` says whether everything up to
-- `acknowledged_to` is decided: not yet, where a consumer began at a change that others, captured
-- before it, may still follow. The last four tell of the oldest transaction of this database that
-- newer changes wait for, if they do: its id, its session, since when, and its name if it is prepared.
CREATE OR REPLACE FUNCTION threadline.feed_lag(consumer text DEFAULT NULL) RETURNS TABLE (
    name text, created_at timestamptz, acknowledged_to bigint, last_id bigint,
    behind_at_most bigint, oldest_at timestamptz, settled boolean,
    leased_until timestamptz, leased_by text, attempt integer,
    waiting_for bigint, waiting_for_pid integer, waiting_since timestamptz, waiting_for_prepared text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $lag$
    SELECT
        feed.name, feed.created_at, feed.acknowledged_to, last.id,
        GREATEST(last.id - feed.acknowledged_to, 0),
        (SELECT change.captured_at FROM threadline.audit_changes AS change
         WHERE change.id > feed.acknowledged_to ORDER BY change.id LIMIT 1),
        feed.settled_to >= feed.acknowledged_to,
        feed.leased_until, feed.leased_by, feed.attempt,
        running.xid, running.pid, running.since, running.prepared
    FROM threadline.audit_feed_consumers AS feed
    CROSS JOIN (SELECT threadline.last_change_id() AS id) AS last
    LEFT JOIN LATERAL (
        SELECT backend_xid::text::bigint, pid, xact_start, NULL::text, age(backend_xid)
        FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
        UNION ALL
        SELECT transaction::text::bigint, NULL, prepared, gid, age(transaction)
        FROM pg_prepared_xacts WHERE database = current_database()
        ORDER BY 5 DESC LIMIT 1
    ) AS running (xid, pid, since, prepared, age) ON feed.settled_to < last.id
    WHERE feed.name = consumer OR consumer IS NULL
    ORDER BY feed.name
$lag$;

-- Changes with ids up to this are done with by every consumer; NULL where there is none. What is to
-- be removed from the trail can be held against it.
CREATE OR REPLACE FUNCTION threadline.feed_horizon() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $horizon$
    SELECT min(feed.acknowledged_to) FROM threadline.audit_feed_consumers AS feed
$horizon$;

-- The consumers that have not acknowledged everything captured before an instant.
CREATE OR REPLACE FUNCTION threadline.feed_consumers_behind(instant timestamptz) RETURNS TABLE (
    name text, acknowledged_to bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $behind$
    SELECT feed.name, feed.acknowledged_to FROM threadline.audit_feed_consumers AS feed
    WHERE EXISTS (
        SELECT FROM threadline.audit_changes AS change
        WHERE change.id > feed.acknowledged_to AND change.captured_at < instant
    )
    ORDER BY feed.name
$behind$;

-- Partitions made ahead, and the default partitions emptied: one bounded step a call.
--
-- A month that has rows in the default partition cannot get a partition of its own while they are
-- there. So they are copied, some at a time, into a table beside the trail, while a trigger on the
-- default partition copies what is still written there. When all is copied, the default partition
-- is exchanged for those tables and a new one, which takes a moment. Readers see every row all the
-- time, once.

CREATE TABLE IF NOT EXISTS threadline.audit_partition_moves (
    partition_name text COLLATE "C" PRIMARY KEY,
    parent         text COLLATE "C" NOT NULL,
    from_instant   timestamptz NOT NULL,
    to_instant     timestamptz NOT NULL,
    moved_up_to    jsonb,
    is_copied      boolean     NOT NULL DEFAULT false
);

COMMENT ON TABLE threadline.audit_partition_moves IS
    'Months that are being copied out of a default partition, and how far that got.';

-- The name of a month's table while it is filled.
CREATE OR REPLACE FUNCTION threadline.moving_name(partition text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN pg_catalog.concat('moving_', partition);

-- Copies what is written into a default partition while its rows are moved.
CREATE OR REPLACE FUNCTION threadline.mirror_default() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $mirror$
DECLARE
    of_parent CONSTANT text := TG_ARGV[0];
    instant timestamptz;
    target regclass;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        instant := threadline.instant_of(of_parent, to_jsonb(OLD));
        SELECT to_regclass(format('threadline.%I', threadline.moving_name(move.partition_name)))
        INTO target FROM threadline.audit_partition_moves AS move
        WHERE move.parent = of_parent AND move.from_instant <= instant AND move.to_instant > instant;
        IF target IS NOT NULL THEN
            EXECUTE format('DELETE FROM %s AS copy WHERE copy.id = ($1).id', target)
                || CASE of_parent WHEN 'audit_changes' THEN ' AND copy.captured_at = ($1).captured_at' ELSE '' END
                USING OLD;
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        instant := threadline.instant_of(of_parent, to_jsonb(NEW));
        SELECT to_regclass(format('threadline.%I', threadline.moving_name(move.partition_name)))
        INTO target FROM threadline.audit_partition_moves AS move
        WHERE move.parent = of_parent AND move.from_instant <= instant AND move.to_instant > instant;
        IF target IS NOT NULL THEN
            EXECUTE format('INSERT INTO %s SELECT ($1).* ON CONFLICT DO NOTHING', target) USING NEW;
        END IF;
    END IF;
    RETURN NULL;
END
$mirror$;

-- The instant by which a row of the trail is partitioned.
CREATE OR REPLACE FUNCTION threadline.instant_of(parent text, recorded jsonb) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE parent
    WHEN 'audit_changes' THEN (recorded ->> 'captured_at')::timestamptz
    WHEN 'audit_transactions' THEN threadline.transaction_began_at((recorded ->> 'id')::uuid)
    ELSE threadline.action_recorded_at((recorded ->> 'id')::uuid)
END;

-- The first month that has rows in a default partition and is not being moved. Rows of no plausible
-- time belong to no month: see trail_span.
CREATE OR REPLACE FUNCTION threadline.unmoved_month(of_parent text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $month$
DECLARE
    column_name CONSTANT text := threadline.partition_column(of_parent);
    span CONSTANT record := threadline.trail_span(of_parent);
    lower_bound timestamptz := span.from_instant;
    bounds text[];
    first_row jsonb;
BEGIN
    WHILE lower_bound < span.to_instant LOOP
        bounds := threadline.partition_bounds(of_parent, lower_bound, span.to_instant);
        EXECUTE format(
            'SELECT jsonb_build_object(%2$L, d.%2$I) FROM threadline.%1$I AS d '
            'WHERE d.%2$I >= %3$s AND d.%2$I < %4$s ORDER BY d.%2$I LIMIT 1',
            of_parent || '_default', column_name, bounds[1], bounds[2]
        ) INTO first_row;
        IF first_row IS NULL THEN
            RETURN NULL;
        END IF;
        lower_bound := date_trunc('month', threadline.instant_of(of_parent, first_row));
        IF NOT EXISTS (
            SELECT FROM threadline.audit_partition_moves AS move
            WHERE move.parent = of_parent AND move.from_instant = lower_bound
        ) THEN
            RETURN lower_bound;
        END IF;
        lower_bound := lower_bound + interval '1 month';
    END LOOP;
    RETURN NULL;
END
$month$;

-- Gives up moves of months that get no partition after all: their rows are still in the default
-- partition.
CREATE OR REPLACE FUNCTION threadline.abandon_implausible_moves(of_parent text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $abandon$
DECLARE
    span CONSTANT record := threadline.trail_span(of_parent);
    partition text;
BEGIN
    FOR partition IN
        SELECT move.partition_name FROM threadline.audit_partition_moves AS move
        WHERE move.parent = of_parent
            AND (move.from_instant < span.from_instant OR move.to_instant > span.to_instant)
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS threadline.%I', threadline.moving_name(partition));
        DELETE FROM threadline.audit_partition_moves AS move WHERE move.partition_name = partition;
    END LOOP;
END
$abandon$;

-- Makes the table that a month is copied into, and the trigger that keeps it up to date. Waits, for a
-- moment, until nobody has uncommitted rows in the default partition: those would be missed.
CREATE OR REPLACE FUNCTION threadline.begin_move(of_parent text, month timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $begin$
DECLARE
    upper_bound CONSTANT timestamptz := month + interval '1 month';
    partition CONSTANT text := format('%s_%s', of_parent, to_char(month, 'YYYY_MM'));
    bounds CONSTANT text[] := threadline.partition_bounds(of_parent, month, upper_bound);
BEGIN
    EXECUTE format('LOCK TABLE threadline.%I IN SHARE ROW EXCLUSIVE MODE', of_parent || '_default');
    EXECUTE format(
        'CREATE TABLE threadline.%I (LIKE threadline.%I INCLUDING ALL, '
        'CONSTRAINT month CHECK (%I IS NOT NULL AND %3$I >= %4$s AND %3$I < %5$s))',
        threadline.moving_name(partition), of_parent, threadline.partition_column(of_parent),
        bounds[1], bounds[2]
    );
    PERFORM threadline.readable_as(
        format('threadline.%I', threadline.moving_name(partition))::regclass,
        format('threadline.%I', of_parent)::regclass
    );
    INSERT INTO threadline.audit_partition_moves (partition_name, parent, from_instant, to_instant)
    VALUES (partition, of_parent, month, upper_bound);
    IF NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = to_regclass(format('threadline.%I', of_parent || '_default'))
            AND tgname = 'mirror_default'
    ) THEN
        EXECUTE format(
            'CREATE TRIGGER mirror_default AFTER INSERT OR UPDATE OR DELETE ON threadline.%I '
            'FOR EACH ROW EXECUTE FUNCTION threadline.mirror_default(%L)',
            of_parent || '_default', of_parent
        );
    END IF;
    RETURN partition;
END
$begin$;

-- Copies the next rows of a month. Returns how many.
CREATE OR REPLACE FUNCTION threadline.copy_moving(
    move threadline.audit_partition_moves, batch integer
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $copy$
DECLARE
    bounds CONSTANT text[] := threadline.partition_bounds(move.parent, move.from_instant, move.to_instant);
    is_changes CONSTANT boolean := move.parent = 'audit_changes';
    place jsonb := move.moved_up_to;
    last jsonb;
    copied bigint;
BEGIN
    EXECUTE format(
        'WITH page AS MATERIALIZED ('
        '    SELECT d.* FROM threadline.%1$I AS d WHERE d.%2$I >= %3$s AND d.%2$I < %4$s AND %5$s '
        '    ORDER BY %6$s LIMIT $1 FOR SHARE'
        '), copied AS ('
        '    INSERT INTO threadline.%7$I SELECT * FROM page ON CONFLICT DO NOTHING'
        ') SELECT count(*), (SELECT %8$s FROM page AS d ORDER BY %9$s LIMIT 1) FROM page',
        move.parent || '_default', threadline.partition_column(move.parent), bounds[1], bounds[2],
        CASE
            WHEN place IS NULL THEN 'true'
            WHEN is_changes THEN format('(d.captured_at, d.id) > (%L, %L)', place ->> 'captured_at', place ->> 'id')
            ELSE format('d.id > %L', place ->> 'id')
        END,
        CASE WHEN is_changes THEN 'd.captured_at, d.id' ELSE 'd.id' END,
        threadline.moving_name(move.partition_name),
        CASE WHEN is_changes THEN 'jsonb_build_object(''captured_at'', d.captured_at, ''id'', d.id)'
            ELSE 'jsonb_build_object(''id'', d.id)' END,
        CASE WHEN is_changes THEN 'd.captured_at DESC, d.id DESC' ELSE 'd.id DESC' END
    ) INTO copied, last USING batch;
    UPDATE threadline.audit_partition_moves AS moving
    SET moved_up_to = COALESCE(last, moving.moved_up_to), is_copied = copied < batch
    WHERE moving.partition_name = move.partition_name;
    RETURN copied;
END
$copy$;

-- Copies the rows of a default partition that no month takes, because nothing plausible is known of
-- their time, into the one that takes its place.
CREATE OR REPLACE FUNCTION threadline.keep_implausible(of_parent text, exchanged text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $keep$
DECLARE
    move threadline.audit_partition_moves;
    bounds text[];
    lower_bound text := 'true';
    outside text[] := '{}';
    range text;
BEGIN
    -- What is between the months, one stretch of the index after another.
    FOR move IN
        SELECT * FROM threadline.audit_partition_moves AS m WHERE m.parent = of_parent ORDER BY m.from_instant
    LOOP
        bounds := threadline.partition_bounds(of_parent, move.from_instant, move.to_instant);
        outside := outside || format('%s AND d.%I < %s', lower_bound, threadline.partition_column(of_parent), bounds[1]);
        lower_bound := format('d.%I >= %s', threadline.partition_column(of_parent), bounds[2]);
    END LOOP;
    FOREACH range IN ARRAY outside || lower_bound LOOP
        EXECUTE format(
            'INSERT INTO threadline.%I SELECT d.* FROM threadline.%I AS d WHERE %s',
            of_parent || '_default', exchanged, range
        );
    END LOOP;
END
$keep$;

-- Exchanges a default partition for the months that were copied out of it, and one with what no month
-- takes: nothing, if all is well.
CREATE OR REPLACE FUNCTION threadline.exchange_default(of_parent text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $exchange$
DECLARE
    exchanged CONSTANT text := concat('exchanged_', of_parent, '_default');
    move threadline.audit_partition_moves;
    bounds text[];
BEGIN
    EXECUTE format('LOCK TABLE ONLY threadline.%I IN ACCESS EXCLUSIVE MODE', of_parent);
    EXECUTE format('LOCK TABLE threadline.%I IN ACCESS EXCLUSIVE MODE', of_parent || '_default');
    IF threadline.unmoved_month(of_parent) IS NOT NULL THEN
        RETURN false; -- another month has begun
    END IF;
    EXECUTE format('ALTER TABLE threadline.%I DETACH PARTITION threadline.%I', of_parent, of_parent || '_default');
    EXECUTE format('ALTER TABLE threadline.%I RENAME TO %I', of_parent || '_default', exchanged);
    FOR move IN SELECT * FROM threadline.audit_partition_moves AS m WHERE m.parent = of_parent LOOP
        bounds := threadline.partition_bounds(of_parent, move.from_instant, move.to_instant);
        EXECUTE format('ALTER TABLE threadline.%I RENAME TO %I',
            threadline.moving_name(move.partition_name), move.partition_name);
        EXECUTE format('ALTER TABLE threadline.%I ATTACH PARTITION threadline.%I FOR VALUES FROM (%s) TO (%s)',
            of_parent, move.partition_name, bounds[1], bounds[2]);
        EXECUTE format('ALTER TABLE threadline.%I DROP CONSTRAINT month', move.partition_name);
        PERFORM threadline.guard_partition(move.partition_name);
    END LOOP;
    PERFORM threadline.create_partition(of_parent, of_parent || '_default', 'DEFAULT');
    PERFORM threadline.keep_implausible(of_parent, exchanged);
    EXECUTE format('DROP TABLE threadline.%I', exchanged);
    DELETE FROM threadline.audit_partition_moves AS m WHERE m.parent = of_parent;
    RETURN true;
END
$exchange$;

-- One step of maintenance. Call it, each time in a transaction of its own, until `step` is done:
-- moved (rows copied out of a default partition), exchanged, created (how many partitions), locked
-- (somebody uses the table; try again), busy (somebody else is at it).
CREATE OR REPLACE FUNCTION threadline.maintain_partitions(
    months integer, batch integer, lock_wait interval
) RETURNS TABLE (step text, subject text, rows bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $maintain$
#variable_conflict use_column
DECLARE
    owner text;
    month timestamptz;
    move threadline.audit_partition_moves;
BEGIN
    rows := 0;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('threadline.maintain_partitions', 0)) THEN
        step := 'busy';
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM set_config('lock_timeout', (EXTRACT(EPOCH FROM lock_wait) * 1000)::integer || 'ms', true);
    -- What triggers of the host's stopped on its way to another partition.
    DELETE FROM threadline.audit_moving_rows AS stopped
    WHERE CASE WHEN stopped.xid < pg_snapshot_xmax(pg_current_snapshot())
        THEN pg_xact_status(stopped.xid) IS DISTINCT FROM 'in progress' END;
    BEGIN
        FOREACH owner IN ARRAY ARRAY['audit_changes', 'audit_transactions', 'audit_actions'] LOOP
            PERFORM threadline.abandon_implausible_moves(owner);
            month := threadline.unmoved_month(owner);
            IF month IS NOT NULL THEN
                step := 'moved';
                subject := threadline.begin_move(owner, month);
                RETURN NEXT;
                RETURN;
            END IF;
            SELECT * INTO move FROM threadline.audit_partition_moves AS m
            WHERE m.parent = owner AND NOT m.is_copied ORDER BY m.from_instant LIMIT 1;
            IF FOUND THEN
                step := 'moved';
                subject := move.partition_name;
                rows := threadline.copy_moving(move, batch);
                RETURN NEXT;
                RETURN;
            END IF;
            IF EXISTS (SELECT FROM threadline.audit_partition_moves AS m WHERE m.parent = owner) THEN
                subject := owner;
                step := CASE WHEN threadline.exchange_default(owner) THEN 'exchanged' ELSE 'locked' END;
                RETURN NEXT;
                RETURN;
            END IF;
        END LOOP;
        rows := threadline.create_partitions(now(), months);
        step := CASE WHEN rows > 0 THEN 'created' ELSE 'done' END;
        subject := NULL;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        step := 'locked';
        rows := 0;
    END;
    RETURN NEXT;
END
$maintain$;

-- All of maintenance by one command, for psql and cron: steps, each committed, until nothing is left
-- to do. Call it outside of a transaction. Gives up where somebody else is at it, or where a table
-- stays locked.
CREATE OR REPLACE PROCEDURE threadline.maintain(
    months integer DEFAULT 12, batch integer DEFAULT 5000, lock_wait interval DEFAULT '1 second'
)
LANGUAGE plpgsql AS $maintain$
DECLARE
    reached pg_catalog.text;
    refusals integer := 0;
BEGIN
    LOOP
        SELECT done.step INTO reached
        FROM threadline.maintain_partitions(months, batch, lock_wait) AS done;
        COMMIT;
        EXIT WHEN reached OPERATOR(pg_catalog.=) 'done';
        IF reached OPERATOR(pg_catalog.=) 'busy' THEN
            RAISE NOTICE 'somebody else is at it';
            EXIT;
        END IF;
        IF reached OPERATOR(pg_catalog.=) 'locked' THEN
            refusals := refusals OPERATOR(pg_catalog.+) 1;
            IF refusals OPERATOR(pg_catalog.>) 30 THEN
                RAISE EXCEPTION 'a table of the trail stays locked'
                    USING ERRCODE = 'lock_not_available', HINT = 'See who holds the lock, and call it again.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.1);
        END IF;
    END LOOP;
END
$maintain$;

-- Retention: how long what is kept, the record of every run, and from when on a table's trail is
-- complete. What a run does is in 25_retention_steps.sql.

CREATE TABLE IF NOT EXISTS threadline.audit_retention_runs (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state             text COLLATE "C" NOT NULL
        CHECK (state IN ('running', 'completed', 'stopped', 'failed', 'abandoned')),
    started_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    started_by        text        NOT NULL,
    lease_until       timestamptz NOT NULL,
    policy            jsonb       NOT NULL,
    cutoffs           jsonb       NOT NULL,
    progress          jsonb       NOT NULL DEFAULT '{"phase": "changes"}',
    step_count        bigint      NOT NULL DEFAULT 0,
    change_count      bigint      NOT NULL DEFAULT 0,
    transaction_count bigint      NOT NULL DEFAULT 0,
    action_count      bigint      NOT NULL DEFAULT 0,
    baseline_count    bigint      NOT NULL DEFAULT 0,
    partition_count   bigint      NOT NULL DEFAULT 0,
    postponed         text[]      NOT NULL DEFAULT '{}',
    failure           text
);

COMMENT ON TABLE threadline.audit_retention_runs IS
    'One row for each purge: under which policy, what it removed, and how it ended.';
COMMENT ON COLUMN threadline.audit_retention_runs.state IS
    'running; completed: nothing expired is left; stopped: asked to, go on with another run; failed; abandoned: its lease ran out.';
COMMENT ON COLUMN threadline.audit_retention_runs.lease_until IS
    'Until then nobody else purges; every step renews it.';
COMMENT ON COLUMN threadline.audit_retention_runs.cutoffs IS
    'The instants that the policy meant when the run began.';
COMMENT ON COLUMN threadline.audit_retention_runs.postponed IS
    'Expired partitions that were in use for so long that they are left to the next run.';
COMMENT ON COLUMN threadline.audit_retention_runs.failure IS
    'An SQLSTATE and where it happened; never a message, which could hold row values.';

-- One run at a time.
SELECT threadline.ensure_index($index$
CREATE UNIQUE INDEX audit_retention_runs_running_idx
    ON threadline.audit_retention_runs (state) WHERE state = 'running'
$index$);

-- From when on the trail of a table is complete, where something was purged from it.
CREATE TABLE IF NOT EXISTS threadline.audit_horizons (
    table_schema  text COLLATE "C" NOT NULL,
    table_name    text COLLATE "C" NOT NULL,
    purged_before timestamptz NOT NULL,
    PRIMARY KEY (table_name, table_schema)
);

COMMENT ON TABLE threadline.audit_horizons IS
    'The last cut-off of each table that retention removed changes of.';

-- Months of transactions that were searched for ones without changes; they need no second search.
CREATE TABLE IF NOT EXISTS threadline.audit_retention_sweeps (
    partition_name text COLLATE "C" PRIMARY KEY,
    swept_at       timestamptz NOT NULL
);

COMMENT ON TABLE threadline.audit_retention_sweeps IS
    'Expired months of transactions of which every one left has changes.';

-- A run's record changes while it runs, by the purge alone, and never again.
CREATE OR REPLACE FUNCTION threadline.guard_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'running' AND threadline.is_sanctioned() THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$guard$;

SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_run BEFORE DELETE OR UPDATE ON threadline.audit_retention_runs
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_run()
$guard$);
SELECT threadline.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_retention_runs
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate()
$guard$);

-- From when on the trail of a table is complete: everything captured since is there. The cut-off of
-- the last purge that took something; where nothing was purged, the table's first change; null
-- where nothing was ever captured. With the owner's rights, for whoever reads changes needs it.
CREATE OR REPLACE FUNCTION threadline.audit_horizon(of_schema text, of_table text)
RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT COALESCE(
        (
            SELECT horizon.purged_before FROM threadline.audit_horizons AS horizon
            WHERE horizon.table_name = of_table AND horizon.table_schema = of_schema
        ),
        (
            SELECT change.captured_at FROM threadline.audit_changes AS change
            WHERE change.table_name = of_table AND change.table_schema = of_schema
            ORDER BY change.captured_at LIMIT 1
        )
    );
END;

CREATE OR REPLACE FUNCTION threadline.advance_horizon(
    of_schema text, of_table text, cutoff timestamptz
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO threadline.audit_horizons AS horizon (table_schema, table_name, purged_before)
    VALUES (of_schema, of_table, cutoff)
    ON CONFLICT (table_name, table_schema) DO UPDATE SET purged_before = EXCLUDED.purged_before
    WHERE horizon.purged_before < EXCLUDED.purged_before;
END;

-- The instant before which something kept for a while is expired; null is never.
CREATE OR REPLACE FUNCTION threadline.cutoff_of_keep(keep jsonb, at_instant timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN keep ? 'days' THEN at_instant - make_interval(hours => (keep ->> 'days')::integer * 24)
    WHEN keep ? 'hours' THEN at_instant - make_interval(hours => (keep ->> 'hours')::integer)
END;

-- What a policy means at an instant:
-- `changes`, `actions`: expired before; `tables`: those that are different;
-- `transactions`: one without changes goes if it began before;
-- `empty_months`: months of transactions are searched for such if they end before;
-- `newest`: nothing is expired after.
CREATE OR REPLACE FUNCTION threadline.retention_cutoffs(policy jsonb, at_instant timestamptz)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $cutoffs$
DECLARE
    changes CONSTANT timestamptz := threadline.cutoff_of_keep(policy -> 'changes', at_instant);
    tables CONSTANT jsonb := COALESCE((
        SELECT jsonb_agg(jsonb_build_object(
            'schema', rule #>> '{table,schema}', 'name', rule #>> '{table,name}',
            'before', threadline.cutoff_of_keep(rule -> 'keep', at_instant)
        ))
        FROM jsonb_array_elements(policy -> 'tables') AS rule
    ), '[]');
    oldest timestamptz;
    newest timestamptz;
    has_forever boolean;
BEGIN
    SELECT min(before), max(before), bool_or(before IS NULL) INTO oldest, newest, has_forever
    FROM (
        SELECT changes UNION ALL
        SELECT (rule ->> 'before')::timestamptz FROM jsonb_array_elements(tables) AS rule
    ) AS every (before);
    RETURN jsonb_build_object(
        'changes', changes,
        'tables', tables,
        'newest', newest,
        'transactions', CASE
            WHEN jsonb_typeof(policy -> 'transactions') <> 'null'
                THEN threadline.cutoff_of_keep(policy -> 'transactions', at_instant)
            ELSE 'infinity'::timestamptz
        END,
        'empty_months', CASE
            WHEN jsonb_typeof(policy -> 'transactions') <> 'null'
                THEN threadline.cutoff_of_keep(policy -> 'transactions', at_instant)
            ELSE changes
        END,
        -- An action is kept as long as any change could be that it explains.
        'actions', CASE
            WHEN jsonb_typeof(policy -> 'actions') <> 'null'
                THEN threadline.cutoff_of_keep(policy -> 'actions', at_instant)
            WHEN NOT has_forever THEN oldest
        END,
        'last_images', COALESCE(policy ->> 'last_images', 'purged')
    );
END
$cutoffs$;

-- The instant before which changes of a table are expired; null is never.
CREATE OR REPLACE FUNCTION threadline.cutoff_of_table(
    cutoffs jsonb, of_schema text, of_table text
) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $cutoff$
DECLARE
    rule jsonb;
BEGIN
    FOR rule IN SELECT * FROM jsonb_array_elements(cutoffs -> 'tables') LOOP
        IF rule ->> 'name' = of_table AND rule ->> 'schema' = of_schema THEN
            RETURN (rule ->> 'before')::timestamptz;
        END IF;
    END LOOP;
    RETURN (cutoffs ->> 'changes')::timestamptz;
END
$cutoff$;

-- The latest instant before which a run removes changes of any table.
CREATE OR REPLACE FUNCTION threadline.latest_cutoff(cutoffs jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT max(cutoff.before) FROM (
        SELECT (cutoffs ->> 'changes')::timestamptz
        UNION ALL
        SELECT (rule ->> 'before')::timestamptz FROM jsonb_array_elements(cutoffs -> 'tables') AS rule
    ) AS cutoff (before)
);

-- The tables that have changes in a partition, each found by one step down the index.
CREATE OR REPLACE FUNCTION threadline.tables_in(partition regclass)
RETURNS TABLE (table_schema text, table_name text)
LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $tables$
#variable_conflict use_column
DECLARE
    found_schema text := '';
    found_name text := '';
BEGIN
    LOOP
        EXECUTE format(
            'SELECT c.table_schema, c.table_name FROM %s AS c '
            'WHERE (c.table_name, c.table_schema) > ($1, $2) '
            'ORDER BY c.table_name, c.table_schema LIMIT 1', partition
        ) INTO found_schema, found_name USING found_name, found_schema;
        EXIT WHEN found_name IS NULL;
        table_schema := found_schema;
        table_name := found_name;
        RETURN NEXT;
    END LOOP;
END
$tables$;

-- Whether changes are expired that consumers of the change feed have not done with, where the feed is
-- installed: `feed_horizon()` is the last change that all of them have done with. Nothing after it is
-- purged without saying so.
CREATE OR REPLACE FUNCTION threadline.purge_overtakes_feed(cutoffs jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $overtakes$
DECLARE
    newest CONSTANT timestamptz := (cutoffs ->> 'newest')::timestamptz;
    horizon text;
    horizon_type regtype;
    newest_id bigint;
BEGIN
    IF newest IS NULL OR to_regprocedure('threadline.feed_horizon()') IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE 'SELECT horizon::text, pg_typeof(horizon) FROM threadline.feed_horizon() AS horizon'
        INTO horizon, horizon_type;
    IF horizon IS NULL THEN
        RETURN false; -- nobody consumes
    ELSIF horizon_type = 'timestamptz'::regtype THEN
        RETURN horizon::timestamptz < newest;
    END IF;
    SELECT max(last.id) INTO newest_id FROM (
        SELECT change.id FROM threadline.audit_changes AS change
        WHERE change.captured_at < newest
        ORDER BY change.captured_at DESC, change.id DESC LIMIT 1000
    ) AS last;
    RETURN COALESCE(horizon::bigint < newest_id, false);
END
$overtakes$;

-- The same for a policy as it is now, for whoever may plan.
CREATE OR REPLACE FUNCTION threadline.retention_overtakes_feed(policy jsonb) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN threadline.purge_overtakes_feed(threadline.retention_cutoffs(policy, clock_timestamp()));

-- Begins a run, if nobody else's is at work. One whose lease has run out is marked as abandoned.
-- `refusal` says why there is no run: at_work (with whose run, until when), or feed.
CREATE OR REPLACE FUNCTION threadline.begin_purge(
    policy jsonb, lease interval, feed_consumers text DEFAULT 'respected'
) RETURNS TABLE (run bigint, refusal text, held_by bigint, held_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $begin$
#variable_conflict use_column
DECLARE
    at_instant CONSTANT timestamptz := clock_timestamp();
    new_cutoffs CONSTANT jsonb := threadline.retention_cutoffs(policy, at_instant);
    other record;
    is_abandoned boolean;
BEGIN
    IF (policy -> 'enabled') IS DISTINCT FROM 'true' THEN
        RAISE EXCEPTION 'retention is not enabled in this policy' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF feed_consumers = 'respected' AND threadline.purge_overtakes_feed(new_cutoffs) THEN
        refusal := 'feed';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT running.id, running.lease_until INTO other
    FROM threadline.audit_retention_runs AS running WHERE running.state = 'running';
    IF FOUND THEN
        -- A step that is at work holds the row, whatever became of the lease.
        PERFORM FROM threadline.audit_retention_runs AS running
        WHERE running.id = other.id AND running.state = 'running' AND running.lease_until <= at_instant
        FOR UPDATE SKIP LOCKED;
        is_abandoned := FOUND;
        IF NOT is_abandoned THEN
            refusal := 'at_work';
            held_by := other.id;
            held_until := other.lease_until;
            RETURN NEXT;
            RETURN;
        END IF;
        PERFORM threadline.sanction(true);
        UPDATE threadline.audit_retention_runs AS abandoned
        SET state = 'abandoned', finished_at = at_instant, failure = 'its lease ran out'
        WHERE abandoned.id = other.id;
        PERFORM threadline.sanction(false);
    END IF;
    INSERT INTO threadline.audit_retention_runs (state, started_at, started_by, lease_until, policy, cutoffs)
    VALUES ('running', at_instant, session_user, at_instant + lease, policy, new_cutoffs)
    ON CONFLICT (state) WHERE state = 'running' DO NOTHING
    RETURNING id INTO run;
    IF run IS NULL THEN
        refusal := 'at_work'; -- somebody was quicker
    END IF;
    RETURN NEXT;
END
$begin$;

-- Ends a run: `stopped` by whoever ran it, or `failed` outside of a step.
CREATE OR REPLACE FUNCTION threadline.end_purge(run bigint, as_state text, because text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $end$
DECLARE
    ended boolean;
BEGIN
    IF as_state NOT IN ('stopped', 'failed') THEN
        RAISE EXCEPTION 'a purge ends as stopped or failed, not as %', as_state
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM threadline.sanction(true);
    UPDATE threadline.audit_retention_runs AS ending
    SET state = as_state, finished_at = clock_timestamp(), failure = because
    WHERE ending.id = run AND ending.state = 'running';
    ended := FOUND;
    PERFORM threadline.sanction(false);
    RETURN ended;
END
$end$;

-- How expired rows and partitions are removed, a bounded piece a call. 25_retention_steps.sql puts the
-- pieces into an order.
--
-- Where an index is what makes a query cheap, the function forbids sequential scans, so that no stale
-- statistics can bring one about; and just-in-time compilation with it, which the cost that stands
-- for the prohibition would set off.

DO $types$
BEGIN
    IF pg_catalog.to_regtype('threadline.purge_result') IS NULL THEN
        CREATE TYPE threadline.purge_result AS (
            step         text,    -- removed, dropped, locked, postponed, finished, failed, lost
            subject      text,    -- which partition, or what failed
            changes      bigint,
            transactions bigint,
            actions      bigint,
            baselines    bigint,
            tables       jsonb,   -- how many changes of which table
            progress     jsonb
        );
    END IF;
END
$types$;

-- What a step did that removed nothing (yet).
CREATE OR REPLACE FUNCTION threadline.purge_result_of(step text, subject text, progress jsonb)
RETURNS threadline.purge_result
LANGUAGE sql IMMUTABLE
RETURN ROW(step, subject, 0, 0, 0, 0, '{}', progress)::threadline.purge_result;

-- Removes transactions that have lost their last change. `partition` is where changes of theirs were
-- removed; others of theirs can be elsewhere only if the transaction went on past a month's end,
-- which one look at each partition's index of transactions tells.
CREATE OR REPLACE FUNCTION threadline.remove_emptied_transactions(
    candidates uuid[], before timestamptz,
    partition regclass, from_instant timestamptz, to_instant timestamptz
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $emptied$
#variable_conflict use_variable
DECLARE
    emptied uuid[];
    lowest uuid;
    highest uuid;
    is_elsewhere boolean;
    removed bigint;
BEGIN
    IF before IS NULL THEN
        RETURN 0; -- kept for ever
    END IF;
    -- The LIMITs keep these what they are meant to be: a look-up for each transaction.
    EXECUTE format(
        'SELECT array_agg(candidate.id ORDER BY candidate.id) FROM unnest($1) AS candidate (id) '
        'LEFT JOIN LATERAL ('
        '    SELECT true AS found FROM %s AS c WHERE c.transaction_id = candidate.id LIMIT 1'
        ') AS here ON true '
        'WHERE here.found IS NULL AND ($2 IS NULL OR candidate.id < $2)', partition
    ) INTO emptied USING candidates,
        CASE WHEN before < 'infinity' THEN threadline.transaction_id_from(before) END;
    IF emptied IS NULL THEN
        RETURN 0;
    END IF;
    lowest := emptied[1];
    highest := emptied[cardinality(emptied)];
    is_elsewhere := to_instant IS NULL
        OR EXISTS (
            SELECT FROM threadline.audit_changes AS c
            WHERE c.transaction_id BETWEEN lowest AND highest AND c.captured_at >= to_instant
        )
        OR EXISTS (
            SELECT FROM threadline.audit_changes AS c
            WHERE c.transaction_id BETWEEN lowest AND highest AND c.captured_at < from_instant
        );
    IF is_elsewhere THEN
        SELECT array_agg(candidate.id) INTO emptied
        FROM unnest(emptied) AS candidate (id)
        LEFT JOIN LATERAL (
            SELECT true AS found FROM threadline.audit_changes AS c
            WHERE c.transaction_id = candidate.id LIMIT 1
        ) AS anywhere ON true
        WHERE anywhere.found IS NULL;
    END IF;
    DELETE FROM threadline.audit_transactions AS t
    WHERE t.id BETWEEN lowest AND highest AND t.id = ANY (emptied);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$emptied$;

-- Removes expired changes of one table from one partition, those after a place, at most `page`.
-- `examined` less than `page` means that no more are expired there.
CREATE OR REPLACE FUNCTION threadline.remove_expired(
    partition regclass, of_schema text, of_table text, cutoff timestamptz,
    after_at timestamptz, after_id bigint, page integer,
    OUT examined bigint, OUT removed bigint, OUT baselines bigint, OUT transactions uuid[],
    OUT last_at timestamptz, OUT last_id bigint
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $expired$
BEGIN
    EXECUTE format(
        'WITH gone AS ('
        '    DELETE FROM %1$s WHERE ctid = ANY (ARRAY('
        '        SELECT c.ctid FROM %1$s AS c '
        '        WHERE c.table_name = $1 AND c.table_schema = $2 AND c.captured_at < $3 '
        '            AND (c.captured_at, c.id) > ($4, $5) '
        '        ORDER BY c.captured_at, c.id LIMIT $6'
        '    )) RETURNING captured_at, id, transaction_id'
        ') '
        'SELECT count(*), array_agg(DISTINCT transaction_id), '
        '(SELECT last.captured_at FROM gone AS last ORDER BY last.captured_at DESC, last.id DESC LIMIT 1), '
        '(SELECT last.id FROM gone AS last ORDER BY last.captured_at DESC, last.id DESC LIMIT 1) '
        'FROM gone', partition
    ) INTO examined, transactions, last_at, last_id
    USING of_table, of_schema, cutoff, after_at, after_id, page;
    removed := examined;
    baselines := 0;
END
$expired$;

-- The same, but keeps the last image of every row that still had one at the cut-off: that change
-- becomes a baseline. In delta form an image is made whole on the way: what a change that goes knows,
-- and the next one does not say, is added to the next one.
CREATE OR REPLACE FUNCTION threadline.reduce_expired(
    partition regclass, of_schema text, of_table text, cutoff timestamptz,
    after_at timestamptz, after_id bigint, page integer,
    OUT examined bigint, OUT removed bigint, OUT baselines bigint, OUT transactions uuid[],
    OUT last_at timestamptz, OUT last_id bigint
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $reduce$
#variable_conflict use_variable
DECLARE
    truncated_by bigint;
    change record;
    going_at timestamptz[] := '{}';
    going_id bigint[] := '{}';
    staying_at timestamptz[] := '{}';
    staying_id bigint[] := '{}';
BEGIN
    examined := 0;
    SELECT c.id INTO truncated_by FROM threadline.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
        AND c.op = 'truncate' AND c.partition_name IS NULL AND c.captured_at < cutoff
    ORDER BY c.id DESC LIMIT 1;
    -- What came next for the key of a change: another change of it, or the row left it.
    FOR change IN EXECUTE format(
        'SELECT c.captured_at, c.id, c.op, c.row_key, next.captured_at AS next_at, '
        'next.id AS next_id, COALESCE(next.is_delta, false) AS next_is_delta '
        'FROM %s AS c LEFT JOIN LATERAL ('
        '    SELECT n.captured_at, n.id, n.op = ''update'' '
        '        AND (n.previous_key IS NULL OR n.previous_key = c.row_key) '
        '        AND n.data_after - ARRAY(SELECT jsonb_object_keys(n.changed_from)) = ''{}'' AS is_delta '
        '    FROM ('
        '        (SELECT * FROM threadline.audit_changes AS same '
        '        WHERE same.table_name = $1 AND same.table_schema = $2 AND same.row_key = c.row_key '
        '            AND same.id > c.id AND same.captured_at < $3 ORDER BY same.id LIMIT 1) '
        '        UNION ALL '
        '        (SELECT * FROM threadline.audit_changes AS left_by '
        '        WHERE left_by.table_name = $1 AND left_by.table_schema = $2 '
        '            AND left_by.previous_key = c.row_key '
        '            AND left_by.id > c.id AND left_by.captured_at < $3 ORDER BY left_by.id LIMIT 1) '
        '    ) AS n ORDER BY n.id LIMIT 1'
        ') AS next ON true '
        'WHERE c.table_name = $1 AND c.table_schema = $2 AND c.captured_at < $3 '
        '    AND (c.captured_at, c.id) > ($4, $5) '
        'ORDER BY c.captured_at, c.id LIMIT $6', partition
    ) USING of_table, of_schema, cutoff, after_at, after_id, page LOOP
        examined := examined + 1;
        last_at := change.captured_at;
        last_id := change.id;
        IF change.op NOT IN ('insert', 'update', 'baseline') OR change.row_key IS NULL
            OR change.next_id IS NOT NULL OR change.id < truncated_by
        THEN
            going_at := going_at || change.captured_at;
            going_id := going_id || change.id;
            IF change.next_is_delta AND change.op IN ('insert', 'update', 'baseline') THEN
                UPDATE threadline.audit_changes AS next
                SET data_after = (
                    SELECT base.data_after || next.data_after FROM threadline.audit_changes AS base
                    WHERE base.captured_at = change.captured_at AND base.id = change.id
                )
                WHERE next.captured_at = change.next_at AND next.id = change.next_id;
            END IF;
        ELSIF change.op <> 'baseline' THEN
            staying_at := staying_at || change.captured_at;
            staying_id := staying_id || change.id;
        END IF;
    END LOOP;
    EXECUTE format(
        'WITH gone AS ('
        '    DELETE FROM %s AS c USING unnest($1, $2) AS going (captured_at, id) '
        '    WHERE c.captured_at = going.captured_at AND c.id = going.id RETURNING c.transaction_id'
        ') SELECT count(*), array_agg(DISTINCT transaction_id) FROM gone', partition
    ) INTO removed, transactions USING going_at, going_id;
    EXECUTE format(
        'UPDATE %s AS c SET op = ''baseline'', changed_from = NULL, previous_key = NULL '
        'FROM unnest($1, $2) AS staying (captured_at, id) '
        'WHERE c.captured_at = staying.captured_at AND c.id = staying.id', partition
    ) USING staying_at, staying_id;
    GET DIAGNOSTICS baselines = ROW_COUNT;
END
$reduce$;

-- Whether every change in a partition is expired.
CREATE OR REPLACE FUNCTION threadline.partition_is_expired(
    partition regclass, to_instant timestamptz, cutoffs jsonb
) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN COALESCE(to_instant <= (cutoffs ->> 'newest')::timestamptz, false) AND COALESCE((
    SELECT bool_and(COALESCE(
        to_instant <= threadline.cutoff_of_table(cutoffs, found.table_schema, found.table_name), false
    ))
    FROM threadline.tables_in(partition) AS found
), to_instant <= (cutoffs ->> 'changes')::timestamptz, false);

-- Drops one partition, if `still` (a query) says yes once nobody else uses it. Waits for the lock for
-- a moment only: whoever writes meanwhile waits as long, and no longer. False if it did not get it.
CREATE OR REPLACE FUNCTION threadline.drop_partition(
    parent text, partition regclass, lock_wait interval, still text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $drop$
DECLARE
    is_still_so boolean;
BEGIN
    PERFORM set_config('lock_timeout', (EXTRACT(EPOCH FROM lock_wait) * 1000)::integer || 'ms', true);
    -- First the table, then its partition, as everybody else does.
    EXECUTE format('LOCK TABLE ONLY threadline.%I IN ACCESS EXCLUSIVE MODE', parent);
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', partition);
    EXECUTE still INTO is_still_so;
    IF is_still_so THEN
        EXECUTE format('DROP TABLE %s', partition);
    END IF;
    RETURN is_still_so;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RETURN false;
END
$drop$;

-- The result of trying to drop a partition: dropped, locked (to be tried again), or postponed after
-- too many attempts.
CREATE OR REPLACE FUNCTION threadline.try_to_drop(
    parent text, partition regclass, partition_name text, from_instant timestamptz,
    lock_wait interval, attempts integer, still text, counted jsonb, progress jsonb
) RETURNS threadline.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $try$
DECLARE
    result threadline.purge_result := threadline.purge_result_of('dropped', partition_name, progress);
    place CONSTANT jsonb := jsonb_build_object('phase', progress -> 'phase', 'from', from_instant);
    attempt CONSTANT integer := COALESCE((progress ->> 'attempt')::integer, 0) + 1;
BEGIN
    IF threadline.drop_partition(parent, partition, lock_wait, still) THEN
        result.progress := place;
    ELSIF attempt < attempts THEN
        result.step := 'locked';
        result.progress := place
            || jsonb_build_object('attempt', attempt, 'counted', counted, 'partition', partition_name);
    ELSE
        result.step := 'postponed';
        result.progress := place || jsonb_build_object('skip', partition_name);
    END IF;
    RETURN result;
END
$try$;


-- What a purge does: one bounded step a call, each a transaction of its own, so that it can be killed
-- at any point. A step finds its place by the run's progress and by what is left; nothing is counted
-- twice, because the counts are written in the transaction that removes.
--
-- Writers do not wait for it: rows are deleted oldest first, some at a time; a partition that is
-- expired as a whole is dropped under a lock that is given up after a moment and asked for again.

-- The changes, oldest partition first.
CREATE OR REPLACE FUNCTION threadline.purge_changes(
    cutoffs jsonb, progress jsonb, batch integer, lock_wait interval, attempts integer
) RETURNS threadline.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $changes$
DECLARE
    deadline CONSTANT timestamptz := clock_timestamp() + interval '50 milliseconds';
    page CONSTANT integer := 500;
    newest CONSTANT timestamptz := (cutoffs ->> 'newest')::timestamptz;
    keeps_images CONSTANT boolean := cutoffs ->> 'last_images' = 'kept';
    place_from CONSTANT timestamptz := COALESCE((progress ->> 'from')::timestamptz, '-infinity');
    result threadline.purge_result := threadline.purge_result_of('removed', NULL, progress);
    left_in_batch integer := batch;
    part record;
    tab record;
    chunk record;
    cutoff timestamptz;
    at_here timestamptz;
    id_here bigint;
    counted jsonb;
    of_table bigint;
BEGIN
    FOR part IN
        SELECT p.partition, p.partition_name, p.from_instant, p.to_instant,
            COALESCE(p.from_instant, 'infinity') AS place
        FROM threadline.trail_partitions() AS p
        WHERE p.parent = 'audit_changes' AND COALESCE(p.from_instant, 'infinity') >= place_from
            AND (p.from_instant IS NULL OR p.from_instant < newest)
        ORDER BY 5
    LOOP
        CONTINUE WHEN part.partition_name = progress ->> 'skip';
        IF threadline.partition_is_expired(part.partition, part.to_instant, cutoffs)
            AND (NOT keeps_images OR NOT EXISTS (SELECT FROM threadline.tables_in(part.partition)))
        THEN
            -- What this step did so far is counted before a drop counts for itself.
            IF result.changes + result.baselines > 0 THEN
                result.progress := jsonb_build_object('phase', 'changes', 'from', part.place);
                RETURN result;
            END IF;
            IF progress ->> 'partition' = part.partition_name THEN
                counted := progress -> 'counted';
            ELSE
                EXECUTE format(
                    'SELECT COALESCE(jsonb_agg(jsonb_build_array(c.table_schema, c.table_name, c.n)), ''[]'') '
                    'FROM (SELECT table_schema, table_name, count(*) AS n FROM %s GROUP BY 1, 2) AS c',
                    part.partition
                ) INTO counted;
            END IF;
            -- Transactions may be left behind without a change; their months are searched again.
            DELETE FROM threadline.audit_retention_sweeps AS swept
            USING threadline.trail_partitions() AS month
            WHERE month.partition_name = swept.partition_name AND month.parent = 'audit_transactions'
                AND month.from_instant < part.to_instant
                AND month.to_instant > threadline.first_transaction_began_at(part.partition);
            result := threadline.try_to_drop(
                'audit_changes', part.partition, part.partition_name, part.place, lock_wait, attempts,
                format('SELECT threadline.partition_is_expired(%L, %L, %L)',
                    part.partition, part.to_instant, cutoffs),
                counted, progress
            );
            IF result.step = 'dropped' THEN
                SELECT COALESCE(sum((entry ->> 2)::bigint), 0), COALESCE(jsonb_object_agg(
                    format('%I.%I', entry ->> 0, entry ->> 1), entry -> 2), '{}')
                INTO result.changes, result.tables
                FROM jsonb_array_elements(counted) AS entry;
                PERFORM threadline.advance_horizon(entry ->> 0, entry ->> 1,
                    threadline.cutoff_of_table(cutoffs, entry ->> 0, entry ->> 1))
                FROM jsonb_array_elements(counted) AS entry;
            END IF;
            RETURN result;
        END IF;
        FOR tab IN SELECT t.table_schema, t.table_name FROM threadline.tables_in(part.partition) AS t LOOP
            at_here := '-infinity';
            id_here := -1;
            IF part.place = place_from AND progress ? 'table' THEN
                CONTINUE WHEN (tab.table_name COLLATE "C", tab.table_schema COLLATE "C")
                    < (progress ->> 'table', progress ->> 'schema');
                IF tab.table_name = progress ->> 'table' AND tab.table_schema = progress ->> 'schema' THEN
                    at_here := (progress ->> 'at')::timestamptz;
                    id_here := (progress ->> 'id')::bigint;
                END IF;
            END IF;
            cutoff := threadline.cutoff_of_table(cutoffs, tab.table_schema, tab.table_name);
            CONTINUE WHEN cutoff IS NULL OR part.from_instant >= cutoff;
            of_table := 0;
            LOOP
                IF keeps_images THEN
                    chunk := threadline.reduce_expired(part.partition, tab.table_schema,
                        tab.table_name, cutoff, at_here, id_here, LEAST(page, left_in_batch));
                ELSE
                    chunk := threadline.remove_expired(part.partition, tab.table_schema,
                        tab.table_name, cutoff, at_here, id_here, LEAST(page, left_in_batch));
                END IF;
                EXIT WHEN chunk.examined = 0;
                at_here := chunk.last_at;
                id_here := chunk.last_id;
                of_table := of_table + chunk.removed;
                left_in_batch := left_in_batch - chunk.examined;
                result.changes := result.changes + chunk.removed;
                result.baselines := result.baselines + chunk.baselines;
                IF chunk.removed > 0 THEN
                    result.transactions := result.transactions + threadline.remove_emptied_transactions(
                        chunk.transactions, (cutoffs ->> 'transactions')::timestamptz,
                        part.partition, part.from_instant, part.to_instant
                    );
                END IF;
                EXIT WHEN left_in_batch <= 0 OR clock_timestamp() > deadline
                    OR chunk.examined < LEAST(page, left_in_batch + chunk.examined);
            END LOOP;
            IF of_table > 0 THEN
                PERFORM threadline.advance_horizon(tab.table_schema, tab.table_name, cutoff);
                result.tables := result.tables || jsonb_build_object(
                    format('%I.%I', tab.table_schema, tab.table_name), of_table);
            END IF;
            result.subject := part.partition_name;
            IF left_in_batch <= 0 OR clock_timestamp() > deadline THEN
                result.progress := jsonb_build_object(
                    'phase', 'changes', 'from', part.place, 'schema', tab.table_schema,
                    'table', tab.table_name, 'at', at_here, 'id', id_here
                );
                RETURN result;
            END IF;
        END LOOP;
    END LOOP;
    -- Renames say keys, which are kept no longer than the changes that gave them.
    DELETE FROM threadline.audit_renames AS rename
    WHERE rename.captured_at < threadline.latest_cutoff(cutoffs)
        AND rename.captured_at < threadline.cutoff_of_table(
            cutoffs, rename.table_schema, rename.table_name
        );
    result.progress := '{"phase": "transactions"}';
    RETURN result;
END
$changes$;

-- When the oldest transaction began that has changes in a partition.
CREATE OR REPLACE FUNCTION threadline.first_transaction_began_at(partition regclass)
RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $first$
DECLARE
    first_id uuid;
BEGIN
    EXECUTE format('SELECT transaction_id FROM %s ORDER BY transaction_id LIMIT 1', partition) INTO first_id;
    RETURN threadline.transaction_began_at(first_id);
END
$first$;

-- The expired months of transactions: a month of which no change is left is dropped; another is
-- searched, once, for transactions without changes.
CREATE OR REPLACE FUNCTION threadline.purge_transactions(
    cutoffs jsonb, progress jsonb, batch integer, lock_wait interval, attempts integer
) RETURNS threadline.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $months$
DECLARE
    deadline CONSTANT timestamptz := clock_timestamp() + interval '50 milliseconds';
    page CONSTANT integer := 500;
    place_from CONSTANT timestamptz := COALESCE((progress ->> 'from')::timestamptz, '-infinity');
    result threadline.purge_result := threadline.purge_result_of('removed', NULL, progress);
    left_in_batch integer := batch;
    part record;
    still text;
    is_empty boolean;
    counted jsonb;
    id_here uuid;
    ids uuid[];
BEGIN
    FOR part IN
        SELECT p.partition, p.partition_name, p.from_instant, p.to_instant
        FROM threadline.trail_partitions() AS p
        WHERE p.parent = 'audit_transactions' AND p.from_instant >= place_from
            AND p.to_instant <= (cutoffs ->> 'empty_months')::timestamptz
        ORDER BY p.from_instant
    LOOP
        CONTINUE WHEN part.partition_name = progress ->> 'skip';
        still := format(
            'SELECT NOT EXISTS (SELECT FROM threadline.audit_changes WHERE transaction_id >= %L AND transaction_id < %L)',
            threadline.transaction_id_from(part.from_instant), threadline.transaction_id_from(part.to_instant)
        );
        EXECUTE still INTO is_empty;
        IF is_empty THEN
            IF result.transactions > 0 THEN
                result.progress := jsonb_build_object('phase', 'transactions', 'from', part.from_instant);
                RETURN result;
            END IF;
            IF progress ->> 'partition' = part.partition_name THEN
                counted := progress -> 'counted';
            ELSE
                counted := threadline.rows_in(part.partition);
            END IF;
            result := threadline.try_to_drop(
                'audit_transactions', part.partition, part.partition_name, part.from_instant,
                lock_wait, attempts, still, counted, progress
            );
            IF result.step = 'dropped' THEN
                result.transactions := counted::bigint;
                DELETE FROM threadline.audit_retention_sweeps AS swept
                WHERE swept.partition_name = part.partition_name;
            END IF;
            RETURN result;
        END IF;
        CONTINUE WHEN EXISTS (
            SELECT FROM threadline.audit_retention_sweeps AS swept
            WHERE swept.partition_name = part.partition_name
        );
        id_here := CASE WHEN part.from_instant = place_from AND progress ? 'id'
            THEN (progress ->> 'id')::uuid ELSE '00000000-0000-0000-0000-000000000000' END;
        LOOP
            EXECUTE format(
                'SELECT array_agg(t.id ORDER BY t.id) FROM ('
                '    SELECT id FROM %s WHERE id > $1 ORDER BY id LIMIT $2) AS t', part.partition
            ) INTO ids USING id_here, LEAST(page, left_in_batch);
            EXIT WHEN ids IS NULL;
            id_here := ids[cardinality(ids)];
            left_in_batch := left_in_batch - cardinality(ids);
            result.transactions := result.transactions + threadline.remove_emptied_transactions(
                ids, 'infinity', 'threadline.audit_changes', NULL, NULL
            );
            EXIT WHEN left_in_batch <= 0 OR clock_timestamp() > deadline;
        END LOOP;
        result.subject := part.partition_name;
        IF ids IS NOT NULL THEN
            result.progress := jsonb_build_object(
                'phase', 'transactions', 'from', part.from_instant, 'id', id_here);
            RETURN result;
        END IF;
        INSERT INTO threadline.audit_retention_sweeps (partition_name, swept_at)
        VALUES (part.partition_name, clock_timestamp());
    END LOOP;
    result.progress := '{"phase": "actions"}';
    RETURN result;
END
$months$;

-- How many rows a partition has, as a JSON number.
CREATE OR REPLACE FUNCTION threadline.rows_in(partition regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $rows$
DECLARE
    counted bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', partition) INTO counted;
    RETURN to_jsonb(counted);
END
$rows$;

-- The actions: expired months are dropped, the rest goes by rows, oldest first.
CREATE OR REPLACE FUNCTION threadline.purge_actions(
    cutoffs jsonb, progress jsonb, batch integer, lock_wait interval, attempts integer
) RETURNS threadline.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $actions$
DECLARE
    deadline CONSTANT timestamptz := clock_timestamp() + interval '50 milliseconds';
    page CONSTANT integer := 500;
    cutoff CONSTANT timestamptz := (cutoffs ->> 'actions')::timestamptz;
    place_from CONSTANT timestamptz := COALESCE((progress ->> 'from')::timestamptz, '-infinity');
    result threadline.purge_result := threadline.purge_result_of('removed', NULL, progress);
    left_in_batch integer := batch;
    part record;
    counted jsonb;
    id_here uuid;
    last_id uuid;
    removed bigint;
BEGIN
    FOR part IN
        SELECT p.partition, p.partition_name, p.from_instant, p.to_instant,
            COALESCE(p.from_instant, 'infinity') AS place
        FROM threadline.trail_partitions() AS p
        WHERE p.parent = 'audit_actions' AND COALESCE(p.from_instant, 'infinity') >= place_from
            AND cutoff IS NOT NULL AND (p.from_instant IS NULL OR p.from_instant < cutoff)
        ORDER BY 5
    LOOP
        CONTINUE WHEN part.partition_name = progress ->> 'skip';
        IF part.to_instant <= cutoff THEN
            IF progress ->> 'partition' = part.partition_name THEN
                counted := progress -> 'counted';
            ELSE
                counted := threadline.rows_in(part.partition);
            END IF;
            result := threadline.try_to_drop(
                'audit_actions', part.partition, part.partition_name, part.place, lock_wait, attempts,
                'SELECT true', counted, progress
            );
            IF result.step = 'dropped' THEN
                result.actions := counted::bigint;
            END IF;
            RETURN result;
        END IF;
        id_here := CASE WHEN part.place = place_from AND progress ? 'id'
            THEN (progress ->> 'id')::uuid ELSE '00000000-0000-0000-0000-000000000000' END;
        LOOP
            EXECUTE format(
                'WITH gone AS ('
                '    DELETE FROM %1$s WHERE id = ANY (ARRAY('
                '        SELECT id FROM %1$s WHERE id < $1 AND id > $2 ORDER BY id LIMIT $3'
                '    )) RETURNING id'
                ') SELECT count(*), (SELECT last.id FROM gone AS last ORDER BY last.id DESC LIMIT 1) FROM gone',
                part.partition
            ) INTO removed, last_id USING threadline.action_id_from(cutoff), id_here, LEAST(page, left_in_batch);
            EXIT WHEN removed = 0;
            id_here := last_id;
            left_in_batch := left_in_batch - removed;
            result.actions := result.actions + removed;
            result.subject := part.partition_name;
            IF left_in_batch <= 0 OR clock_timestamp() > deadline THEN
                result.progress := jsonb_build_object('phase', 'actions', 'from', part.place, 'id', id_here);
                RETURN result;
            END IF;
        END LOOP;
    END LOOP;
    result.progress := '{"phase": "done"}';
    RETURN result;
END
$actions$;

-- One step of a run. Call it, each time in a transaction of its own, until `step` is finished,
-- failed, or lost (the run is not running any more: it was taken for dead).
CREATE OR REPLACE FUNCTION threadline.purge_step(
    run bigint, batch integer, lease interval, lock_wait interval, attempts integer
) RETURNS TABLE (
    step text, subject text, changes bigint, transactions bigint, actions bigint, baselines bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $step$
#variable_conflict use_column
DECLARE
    this threadline.audit_retention_runs;
    result threadline.purge_result;
BEGIN
    SELECT * INTO this FROM threadline.audit_retention_runs AS mine WHERE mine.id = run FOR UPDATE;
    IF this.state IS DISTINCT FROM 'running' THEN
        step := 'lost';
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM threadline.sanction(true);
    BEGIN
        CASE this.progress ->> 'phase'
            WHEN 'changes' THEN
                result := threadline.purge_changes(this.cutoffs, this.progress, batch, lock_wait, attempts);
            WHEN 'transactions' THEN
                result := threadline.purge_transactions(this.cutoffs, this.progress, batch, lock_wait, attempts);
            WHEN 'actions' THEN
                result := threadline.purge_actions(this.cutoffs, this.progress, batch, lock_wait, attempts);
            ELSE
                result := threadline.purge_result_of('finished', NULL, this.progress);
        END CASE;
        IF result.changes + result.transactions + result.actions + result.baselines > 0 THEN
            PERFORM threadline.record_removal(
                'retention', 'retention run ' || run,
                jsonb_build_object(
                    'run', run, 'partition', result.subject, 'dropped', result.step = 'dropped',
                    'before', threadline.latest_cutoff(this.cutoffs),
                    'tables', result.tables, 'transactions', result.transactions,
                    'actions', result.actions, 'baselines', result.baselines
                ),
                result.changes
            );
        END IF;
    EXCEPTION WHEN OTHERS THEN
        result := threadline.purge_result_of(
            'failed', format('%s at %s', SQLSTATE, this.progress - 'counted'), this.progress);
    END;
    UPDATE threadline.audit_retention_runs AS mine
    SET state = CASE result.step WHEN 'finished' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'running' END,
        finished_at = CASE WHEN result.step IN ('finished', 'failed') THEN clock_timestamp() END,
        lease_until = clock_timestamp() + lease,
        progress = result.progress,
        step_count = mine.step_count + 1,
        change_count = mine.change_count + result.changes,
        transaction_count = mine.transaction_count + result.transactions,
        action_count = mine.action_count + result.actions,
        baseline_count = mine.baseline_count + result.baselines,
        partition_count = mine.partition_count + (result.step = 'dropped')::integer,
        postponed = CASE WHEN result.step = 'postponed'
            THEN mine.postponed || result.subject ELSE mine.postponed END,
        failure = CASE WHEN result.step = 'failed' THEN result.subject END
    WHERE mine.id = run;
    PERFORM threadline.sanction(false);
    step := result.step;
    subject := result.subject;
    changes := result.changes;
    transactions := result.transactions;
    actions := result.actions;
    baselines := result.baselines;
    RETURN NEXT;
END
$step$;

-- What a purge under a policy would remove, and what that would leave. Reads, and changes nothing.

-- One row for each expired part: `drop` (a partition that goes as a whole) or `batch` (rows of it),
-- for each table in it; `transactions` and `actions` for each month of them. Bytes of a batch are its
-- share of the partition.
CREATE OR REPLACE FUNCTION threadline.retention_plan(policy jsonb)
RETURNS TABLE (
    part text, partition_name text, from_instant timestamptz, to_instant timestamptz,
    table_schema text, table_name text, before timestamptz, rows bigint, bytes bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $plan$
#variable_conflict use_column
DECLARE
    cutoffs CONSTANT jsonb := threadline.retention_cutoffs(policy, clock_timestamp());
    newest CONSTANT timestamptz := (cutoffs ->> 'newest')::timestamptz;
    actions_before CONSTANT timestamptz := (cutoffs ->> 'actions')::timestamptz;
    transactions_before CONSTANT timestamptz := (cutoffs ->> 'transactions')::timestamptz;
    found record;
    tab record;
    size bigint;
    every bigint;
BEGIN
    FOR found IN
        SELECT p.* FROM threadline.trail_partitions() AS p
        WHERE p.parent = 'audit_changes' AND newest IS NOT NULL
            AND (p.from_instant IS NULL OR p.from_instant < newest)
        ORDER BY p.from_instant
    LOOP
        partition_name := found.partition_name;
        from_instant := found.from_instant;
        to_instant := found.to_instant;
        part := CASE
            WHEN threadline.partition_is_expired(found.partition, found.to_instant, cutoffs)
                AND cutoffs ->> 'last_images' <> 'kept'
            THEN 'drop' ELSE 'batch'
        END;
        size := pg_total_relation_size(found.partition);
        SELECT GREATEST(class.reltuples, 1)::bigint INTO every
        FROM pg_class AS class WHERE class.oid = found.partition;
        IF part = 'drop' AND NOT EXISTS (SELECT FROM threadline.tables_in(found.partition)) THEN
            table_schema := NULL;
            table_name := NULL;
            before := found.to_instant;
            rows := 0;
            bytes := size;
            RETURN NEXT;
        END IF;
        FOR tab IN SELECT t.table_schema, t.table_name FROM threadline.tables_in(found.partition) AS t LOOP
            before := threadline.cutoff_of_table(cutoffs, tab.table_schema, tab.table_name);
            CONTINUE WHEN before IS NULL OR found.from_instant >= before;
            table_schema := tab.table_schema;
            table_name := tab.table_name;
            EXECUTE format(
                'SELECT count(*) FROM %s AS c WHERE c.table_name = $1 AND c.table_schema = $2 AND c.captured_at < $3',
                found.partition
            ) INTO rows USING table_name, table_schema, before;
            CONTINUE WHEN rows = 0;
            bytes := (size * LEAST(rows::numeric / GREATEST(every, rows), 1))::bigint;
            RETURN NEXT;
        END LOOP;
    END LOOP;

    table_schema := NULL;
    table_name := NULL;
    part := 'transactions';
    before := newest;
    bytes := NULL;
    FOR partition_name, from_instant, to_instant, rows IN
        SELECT p.partition_name, p.from_instant, p.to_instant, count(*)
        FROM (
            -- Those of which every change is expired, and that did not go on after the newest cut-off.
            SELECT change.transaction_id AS id
            FROM threadline.audit_changes AS change
            WHERE change.captured_at < newest
            GROUP BY change.transaction_id
            HAVING bool_and(COALESCE(change.captured_at < threadline.cutoff_of_table(
                cutoffs, change.table_schema, change.table_name), false))
        ) AS ended
        JOIN threadline.audit_transactions AS t ON t.id = ended.id
        LEFT JOIN threadline.trail_partitions() AS p
            ON p.parent = 'audit_transactions'
                AND threadline.transaction_began_at(ended.id) >= p.from_instant
                AND threadline.transaction_began_at(ended.id) < p.to_instant
        WHERE (transactions_before = 'infinity'
                OR ended.id < threadline.transaction_id_from(transactions_before))
            AND cutoffs ->> 'last_images' <> 'kept'
            AND ended.id NOT IN (
                SELECT later.transaction_id FROM threadline.audit_changes AS later
                WHERE later.captured_at >= newest
                    AND later.transaction_id < threadline.transaction_id_from(newest)
            )
        GROUP BY 1, 2, 3
        ORDER BY 2
    LOOP
        RETURN NEXT;
    END LOOP;

    part := 'actions';
    before := actions_before;
    FOR found IN
        SELECT p.* FROM threadline.trail_partitions() AS p
        WHERE p.parent = 'audit_actions' AND actions_before IS NOT NULL
            AND (p.from_instant IS NULL OR p.from_instant < actions_before)
        ORDER BY p.from_instant
    LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE id < $1', found.partition)
            INTO rows USING threadline.action_id_from(LEAST(actions_before, found.to_instant));
        CONTINUE WHEN rows = 0;
        partition_name := found.partition_name;
        from_instant := found.from_instant;
        to_instant := found.to_instant;
        bytes := CASE WHEN found.to_instant <= actions_before THEN pg_total_relation_size(found.partition) END;
        RETURN NEXT;
    END LOOP;
END
$plan$;

-- What was, as of an instant: of one row, and of whole tables for any query.
--
-- A change is visible as of an instant if it was captured then or before, whenever its transaction
-- was committed. Of a row's visible changes the last in capture order (by id) counts. Everything
-- here runs with the caller's rights and reads the trail only, never the tables themselves.

-- Whether an update was captured in delta form: its image holds nothing but what changed.
CREATE OR REPLACE FUNCTION threadline.is_delta(op text, data_after jsonb, changed_from jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN op OPERATOR(pg_catalog.=) 'update' AND data_after OPERATOR(pg_catalog.-) ARRAY(
    SELECT pg_catalog.jsonb_object_keys(changed_from)
) OPERATOR(pg_catalog.=) '{}'::jsonb;

-- The image of a row after a change, put together from updates in delta form and the last whole
-- image before them. Columns of which nothing is known, because that image was removed or came
-- before capture, are missing in it.
CREATE OR REPLACE FUNCTION threadline.whole_image(
    of_schema text, of_table text, of_key text, of_change bigint
) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $whole$
DECLARE
    here text := of_key;
    upper_id bigint := of_change;
    image jsonb := '{}';
    change record;
BEGIN
    LOOP
        FOR change IN
            SELECT c.id, c.op, c.previous_key, c.data_after,
                threadline.is_delta(c.op, c.data_after, c.changed_from) AS is_delta
            FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = here
                AND c.id <= upper_id
            ORDER BY c.id DESC
        LOOP
            IF change.op = 'delete' THEN
                RETURN image;
            END IF;
            image := change.data_after || image;
            IF NOT change.is_delta THEN
                RETURN image;
            END IF;
            EXIT WHEN change.previous_key IS NOT NULL;
        END LOOP;
        IF change.previous_key IS NULL THEN
            RETURN image;
        END IF;
        here := change.previous_key;
        upper_id := change.id - 1;
        change := NULL;
    END LOOP;
END
$whole$;

-- The table with a name, by the catalogs: who may read the trail need not enter the table's schema.
CREATE OR REPLACE FUNCTION threadline.relation_named(of_schema text, of_table text) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT class.oid
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = of_schema AND class.relname = of_table
);

-- Whether a key tells the rows of a table apart at every moment: not where uniqueness is checked at
-- the commit, nor where children of the table have rows with the same keys.
CREATE OR REPLACE FUNCTION threadline.tells_rows_apart(relation regclass, key text[])
RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN cardinality(key) > 0 AND threadline.is_unique_key(relation, key) AND NOT EXISTS (
    SELECT FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = relation AND NOT child.relispartition
);

-- Rows as of an instant where no key tells them apart at every moment: every change adds the image
-- after it and takes away the one before. What is left over are the rows; what is missing were
-- rows that the trail does not know, and then nothing is answered. `of_key` asks for one key only.
CREATE OR REPLACE FUNCTION threadline.rows_by_counting(
    of_schema text, of_table text, instant timestamptz, of_key text DEFAULT NULL
) RETURNS TABLE (change_id bigint, image jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $counting$
#variable_conflict use_column
DECLARE
    emptied bigint := (
        SELECT max(t.id) FROM threadline.audit_changes AS t
        WHERE t.table_name = of_table AND t.table_schema = of_schema AND t.row_key IS NULL
            AND t.op = 'truncate' AND t.partition_name IS NULL AND t.captured_at <= instant
    );
    counted record;
BEGIN
    FOR counted IN
        WITH visible AS (
            SELECT c.id, c.op, c.row_key, COALESCE(c.previous_key, c.row_key) AS key_before,
                c.data_after, c.changed_from
            FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.captured_at <= instant
                AND c.id > COALESCE(emptied, -1) AND c.op <> 'truncate'
                AND (of_key IS NULL OR c.row_key = of_key OR c.previous_key = of_key)
        ),
        image AS (
            SELECT id, 1 AS step, data_after AS image, is_delta
            FROM visible, threadline.is_delta(op, data_after, changed_from) AS is_delta
            WHERE data_after IS NOT NULL AND (of_key IS NULL OR row_key = of_key)
            UNION ALL
            -- An unclassified column is in changed_from alone, and in no image.
            SELECT id, -1, COALESCE(
                data_after || (changed_from - ARRAY(
                    SELECT name FROM jsonb_object_keys(changed_from) AS name WHERE NOT data_after ? name
                )),
                changed_from
            ), false
            FROM visible
            WHERE changed_from IS NOT NULL AND (of_key IS NULL OR key_before = of_key)
        )
        SELECT max(id) FILTER (WHERE step = 1) AS id, sum(step) AS copies,
            (array_agg(image.image ORDER BY step DESC, id DESC))[1] AS image,
            bool_or(is_delta) AS is_delta
        FROM image
        -- As text, for 1.0 is not 1.00; without nulls, for a column added since was not there before.
        GROUP BY (
            SELECT jsonb_object_agg(field.key, field.value)::text
            FROM jsonb_each(image.image) AS field WHERE field.value <> 'null'
        )
        HAVING sum(step) <> 0 OR bool_or(is_delta)
    LOOP
        IF counted.copies < 0 OR counted.is_delta THEN
            RAISE EXCEPTION 'the rows of %.% as of % cannot be told exactly', of_schema, of_table, instant
                USING ERRCODE = 'data_exception',
                      HINT = 'No key tells its rows apart at every moment, and changes are recorded of rows that the trail does not know whole.';
        END IF;
        FOR copy IN 1 .. counted.copies LOOP
            change_id := counted.id;
            image := counted.image;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$counting$;

-- Whether the row of an image was in a partition, by the partition's bounds as they are now.
CREATE OR REPLACE FUNCTION threadline.was_in_partition(
    partition text, relation regclass, key_image jsonb
) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $partition$
DECLARE
    bounds text := pg_get_partition_constraintdef(to_regclass(partition));
    inside boolean;
BEGIN
    IF bounds IS NULL THEN
        RAISE EXCEPTION '% was emptied alone, and is no partition any more or never was one: which rows it held cannot be told', partition
            USING ERRCODE = 'data_exception';
    END IF;
    EXECUTE format('SELECT (%s) FROM threadline.row_from_image(NULL::%s, $1)', bounds, relation)
        INTO inside USING key_image;
    RETURN inside IS NOT FALSE;
END
$partition$;

-- The columns of a table, as it is now, whose values an image does not tell, each with the reason:
-- masked, excluded, erased, not_captured.
CREATE OR REPLACE FUNCTION threadline.unknown_columns(relation regclass, image jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $unknown$
DECLARE
    -- In a body whose plans are kept: this is most of what one row as of an instant costs.
    policy jsonb := COALESCE((
        SELECT obj_description(t.tgfoid, 'pg_proc') FROM pg_trigger AS t
        WHERE t.tgrelid = relation AND t.tgname = '00_threadline_update'
            AND obj_description(t.tgfoid, 'pg_proc') LIKE '{%'
    )::jsonb -> 'table', '{}');
    rules jsonb := COALESCE((
        SELECT jsonb_object_agg(col ->> 'name', col ->> 'rule')
        FROM jsonb_array_elements(policy -> 'columns') AS col
    ), '{}');
BEGIN
    RETURN COALESCE((
        SELECT jsonb_object_agg(found.name, found.reason)
        FROM (
            SELECT attribute.attname AS name, CASE
                WHEN NOT image ? attribute.attname THEN
                    CASE rules ->> attribute.attname WHEN 'exclude' THEN 'excluded' ELSE 'not_captured' END
                WHEN image ->> attribute.attname = '[ERASED]' THEN 'erased'
                WHEN rules ->> attribute.attname = 'mask'
                    OR image ->> attribute.attname IN ('[REDACTED]', policy ->> 'mask_with')
                    THEN 'masked'
            END AS reason
            FROM pg_attribute AS attribute
            WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
        ) AS found
        WHERE found.reason IS NOT NULL
    ), '{}');
END
$unknown$;

-- What one row was as of an instant: the row that has a key now or had it last, followed back
-- through its keys.
--
-- `state` is `row` (with its image, and the change that made it so), `deleted` (with the change
-- that did it), or `not_yet_known` (with the first change known of the row, if there is one).
CREATE OR REPLACE FUNCTION threadline.row_as_of(
    of_schema text, of_table text, of_key text, instant timestamptz,
    OUT state text, OUT change_id bigint, OUT captured_at timestamptz, OUT op text,
    OUT transaction_id uuid, OUT actor_ref jsonb, OUT image jsonb, OUT unknown jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
-- To plan for every month takes longer than to look into it.
SET plan_cache_mode = force_generic_plan AS $row$
#variable_conflict use_column
DECLARE
    relation regclass := threadline.relation_named(of_schema, of_table);
    last threadline.audit_changes;
    left_over record;
    emptied threadline.audit_changes;
    row_image jsonb;
BEGIN
    SELECT found.* INTO last
    FROM threadline.row_segments(of_schema, of_table, of_key) AS segment
    CROSS JOIN LATERAL (
        SELECT c.* FROM threadline.audit_changes AS c
        WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
            AND c.id BETWEEN segment.first_id AND segment.last_id AND c.captured_at <= instant
        ORDER BY c.id DESC LIMIT 1
    ) AS found
    ORDER BY found.id DESC LIMIT 1;

    IF last.id IS NULL THEN
        state := 'not_yet_known';
        SELECT found.* INTO last
        FROM threadline.row_segments(of_schema, of_table, of_key) AS segment
        CROSS JOIN LATERAL (
            SELECT c.* FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
                AND c.id BETWEEN segment.first_id AND segment.last_id
            ORDER BY c.id LIMIT 1
        ) AS found
        ORDER BY found.id LIMIT 1;
    ELSIF last.op = 'delete' THEN
        state := 'deleted';
        -- Where keys are unique at the commit only, the row that was deleted may have shared its key.
        IF relation IS NOT NULL AND NOT threadline.tells_rows_apart(
            relation, ARRAY(SELECT jsonb_object_keys(last.table_pk))
        ) THEN
            SELECT r.change_id, r.image INTO left_over
            FROM threadline.rows_by_counting(of_schema, of_table, instant, last.row_key) AS r
            ORDER BY r.change_id DESC LIMIT 1;
            IF left_over.image IS NOT NULL THEN
                state := 'row';
                SELECT c.* INTO last FROM threadline.audit_changes AS c
                WHERE c.table_name = of_table AND c.table_schema = of_schema
                    AND c.row_key = last.row_key AND c.id = left_over.change_id;
            END IF;
        END IF;
    ELSE
        state := 'row';
    END IF;

    IF state = 'row' THEN
        row_image := CASE
            WHEN last.op = 'update'
                AND (last.previous_key IS NOT NULL OR NOT last.data_after ?& ARRAY(SELECT jsonb_object_keys(last.table_pk)))
                AND threadline.is_delta(last.op, last.data_after, last.changed_from)
                THEN threadline.whole_image(of_schema, of_table, last.row_key, last.id)
            ELSE last.data_after
        END;
        FOR emptied IN
            SELECT c.* FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
                AND c.op = 'truncate' AND c.id > last.id AND c.captured_at <= instant
            ORDER BY c.id
        LOOP
            IF emptied.partition_name IS NULL OR threadline.was_in_partition(
                emptied.partition_name, relation, (
                    SELECT jsonb_object_agg(field.key, field.value)
                    FROM jsonb_each(row_image) AS field WHERE last.table_pk ? field.key
                )
            ) THEN
                state := 'deleted';
                last := emptied;
                EXIT;
            END IF;
        END LOOP;
    END IF;

    IF state = 'row' THEN
        image := row_image;
        unknown := threadline.unknown_columns(relation, row_image);
    END IF;
    change_id := last.id;
    captured_at := last.captured_at;
    op := last.op;
    transaction_id := last.transaction_id;
    actor_ref := NULLIF(COALESCE(last.actor_ref, (
        SELECT t.actor_ref FROM threadline.audit_transactions AS t WHERE t.id = last.transaction_id
    )), 'null');
END
$row$;

-- What stands for a value that is not there: NULL if the image says null, an error if the image
-- does not tell.
CREATE OR REPLACE FUNCTION threadline.known_null(image jsonb, name text, shown_table text)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $known$
BEGIN
    IF (image OPERATOR(pg_catalog.->) name) OPERATOR(pg_catalog.=) 'null'::pg_catalog.jsonb THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'column "%" of % is not known of every row as of the instant', name, shown_table
        USING ERRCODE = 'data_exception',
              HINT = 'It was masked, erased, excluded, or was not there then. Leave it out of the query, or allow unknown columns.';
END
$known$;

-- The expressions that turn images into the columns of a table as it is now, and the columns that
-- were left out with the reason. Values are read by the input functions of their types, without
-- limits of length or precision: those of today need not have held then.
CREATE OR REPLACE FUNCTION threadline.columns_from_image(
    relation regclass, allow_unknown boolean, OUT expressions text, OUT names text, OUT unknown jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $columns$
BEGIN
    -- In a body whose plan is kept: it takes longer to make than to use.
    SELECT
        COALESCE(string_agg(
            format(
                'CASE WHEN (%1$s) OPERATOR(pg_catalog.<>) ALL (%2$L::pg_catalog.text[]) THEN %3$s ELSE %4$s END AS %5$I',
                col.as_text, col.placeholders, col.value,
                CASE
                    WHEN NOT allow_unknown THEN format(
                        'threadline.known_null("image", %L, %L)::%s', col.name, relation, col.type_name)
                    WHEN col.is_text THEN format('(%s)::%s', col.as_text, col.type_name)
                    ELSE format('NULL::%s', col.type_name)
                END,
                col.name
            ), ', ' ORDER BY col.attnum
        ) FILTER (WHERE allow_unknown OR col.reason IS NULL), ''),
        COALESCE(string_agg(quote_ident(col.name), ', ' ORDER BY col.attnum)
            FILTER (WHERE allow_unknown OR col.reason IS NULL), ''),
        COALESCE(jsonb_object_agg(col.name, col.reason) FILTER (WHERE col.reason IS NOT NULL), '{}')
    INTO expressions, names, unknown
    FROM (
        SELECT
            attribute.attnum, attribute.attname AS name, format_type(type.oid, -1) AS type_name,
            type.typcategory = 'S' AS is_text,
            format('"image" OPERATOR(pg_catalog.->>) %L', attribute.attname) AS as_text,
            array_remove(ARRAY['[ERASED]', '[REDACTED]', deployed.policy ->> 'mask_with'], NULL) AS placeholders,
            CASE
                WHEN type.oid = 'jsonb'::regtype
                    THEN format('"image" OPERATOR(pg_catalog.->) %L', attribute.attname)
                WHEN 'money'::regtype IN (type.oid, type.typelem)
                    THEN format(
                        '(threadline.row_from_image(NULL::%s, pg_catalog.jsonb_build_object(%L, "image" OPERATOR(pg_catalog.->) %2$L))).%I::%s',
                        relation, attribute.attname, attribute.attname, format_type(type.oid, -1))
                WHEN type.typcategory = 'A' AND type.typelem NOT IN ('json'::regtype, 'jsonb'::regtype)
                    THEN format(
                        '(pg_catalog.jsonb_populate_record(NULL::%s, pg_catalog.jsonb_build_object(%L, "image" OPERATOR(pg_catalog.->) %2$L))).%I::%s',
                        relation, attribute.attname, attribute.attname, format_type(type.oid, -1))
                ELSE format('("image" OPERATOR(pg_catalog.->>) %L)::%s', attribute.attname, format_type(type.oid, -1))
            END AS value,
            -- Where capture was taken off, the images alone tell.
            CASE WHEN deployed.policy ? 'columns' THEN
                CASE declared.rule WHEN 'clear' THEN NULL WHEN 'mask' THEN 'masked'
                    WHEN 'exclude' THEN 'excluded' ELSE 'not_captured' END
            END AS reason
        FROM threadline.deployed_policy(relation) AS deployed (policy)
        CROSS JOIN pg_attribute AS attribute
        JOIN pg_type AS own ON own.oid = attribute.atttypid
        JOIN pg_type AS type
            ON type.oid = CASE WHEN own.typtype = 'd' THEN threadline.base_type(own.oid) ELSE own.oid END
        LEFT JOIN LATERAL (
            SELECT listed ->> 'rule' AS rule
            FROM jsonb_array_elements(deployed.policy -> 'columns') AS listed
            WHERE listed ->> 'name' = attribute.attname
        ) AS declared ON true
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS col;
END
$columns$;

-- The images of the rows of a table as of an instant, as a query of "change id" and "image".
--
-- The last change of each key is found by one pass over the visible changes (faster, measured, than
-- DISTINCT ON, which sorts images, and than a look-up a key); rows that left a key later go.
CREATE OR REPLACE FUNCTION threadline.images_as_of(
    relation regclass, of_schema text, of_table text, key text[], instant timestamptz
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN threadline.tells_rows_apart(relation, key) THEN format(
    $query$SELECT change.id AS "change id",
    CASE
        WHEN change.op OPERATOR(pg_catalog.=) 'update'
            AND (NOT change.data_after OPERATOR(pg_catalog.?) %4$L OR change.previous_key IS NOT NULL)
            AND threadline.is_delta(change.op, change.data_after, change.changed_from)
        THEN threadline.whole_image(%1$L, %2$L, change.row_key, change.id)
        ELSE change.data_after
    END AS "image"
FROM threadline.audit_changes AS change
WHERE change.table_name OPERATOR(pg_catalog.=) %2$L AND change.table_schema OPERATOR(pg_catalog.=) %1$L
    AND change.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    AND change.op OPERATOR(pg_catalog.<>) 'delete'
    -- Not a join: the set of last changes is what is to be hashed, not the changes.
    AND change.id OPERATOR(pg_catalog.=) ANY (
        SELECT pg_catalog.max(visible.id) FROM threadline.audit_changes AS visible
        WHERE visible.table_name OPERATOR(pg_catalog.=) %2$L AND visible.table_schema OPERATOR(pg_catalog.=) %1$L
            AND visible.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
            AND visible.row_key IS NOT NULL
        GROUP BY visible.row_key
    )
    AND change.id OPERATOR(pg_catalog.>) COALESCE((
        SELECT pg_catalog.max(emptied.id) FROM threadline.audit_changes AS emptied
        WHERE emptied.table_name OPERATOR(pg_catalog.=) %2$L AND emptied.table_schema OPERATOR(pg_catalog.=) %1$L
            AND emptied.row_key IS NULL AND emptied.op OPERATOR(pg_catalog.=) 'truncate'
            AND emptied.partition_name IS NULL
            AND emptied.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    ), -1)
    AND NOT EXISTS (
        SELECT FROM threadline.audit_renames AS departed
        WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
            AND departed.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
            AND departed.previous_key OPERATOR(pg_catalog.=) change.row_key
            AND departed.change_id OPERATOR(pg_catalog.>) change.id
    )
-- A fence: what a query asks of columns must only ever be asked of the images that count.
OFFSET 0$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', key[1]
) ELSE format(
    'SELECT counted.change_id AS "change id", counted.image AS "image" '
    'FROM threadline.rows_by_counting(%L, %L, %L::pg_catalog.timestamptz) AS counted',
    of_schema, of_table, to_jsonb(instant) #>> '{}'
) END;

-- What stands for a table in a query as of an instant: `sql`, or the `problem` why there is none.
-- `unknown` names the columns that were not captured; they are left out unless allowed, and then
-- hold the placeholder (texts) or NULL.
CREATE OR REPLACE FUNCTION threadline.table_as_of(
    of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    OUT problem text, OUT detail text, OUT horizon timestamptz, OUT unknown jsonb, OUT sql text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $table$
DECLARE
    relation regclass := threadline.relation_named(of_schema, of_table);
    key text[];
    columns record;
    emptied record;
    bounds text;
    conditions text := '';
BEGIN
    horizon := threadline.audit_horizon(of_schema, of_table);
    IF relation IS NULL THEN
        problem := 'no_such_table';
        RETURN;
    ELSIF horizon IS NULL OR instant < horizon THEN
        problem := 'before_horizon';
        RETURN;
    END IF;
    -- The columns by which the trail identifies rows.
    key := ARRAY(SELECT jsonb_object_keys((
        SELECT c.table_pk FROM threadline.audit_changes AS c
        WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NOT NULL
            AND c.captured_at <= instant
        ORDER BY c.captured_at DESC LIMIT 1
    )));
    columns := threadline.columns_from_image(relation, allow_unknown);
    unknown := columns.unknown;
    FOR emptied IN
        SELECT c.partition_name, max(c.id) AS id FROM threadline.audit_changes AS c
        WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
            AND c.op = 'truncate' AND c.partition_name IS NOT NULL AND c.captured_at <= instant
        GROUP BY c.partition_name
    LOOP
        bounds := pg_get_partition_constraintdef(to_regclass(emptied.partition_name));
        IF bounds IS NULL OR NOT threadline.tells_rows_apart(relation, key) THEN
            problem := 'inexact';
            detail := format('%s was emptied alone, and which rows it held cannot be told any more', emptied.partition_name);
            RETURN;
        END IF;
        conditions := conditions || format(
            ' AND NOT ("change id" OPERATOR(pg_catalog.<) %s AND (%s) IS NOT FALSE)', emptied.id, bounds
        );
    END LOOP;
    sql := format(
        'SELECT %s FROM (%s) AS "state"', columns.expressions,
        threadline.images_as_of(relation, of_schema, of_table, key, instant)
    );
    IF conditions <> '' THEN
        sql := format(
            'SELECT %s FROM (SELECT "change id", %s FROM (%s) AS "state") AS "typed" WHERE true%s',
            columns.names, columns.expressions,
            threadline.images_as_of(relation, of_schema, of_table, key, instant), conditions
        );
    END IF;
END
$table$;

-- Of the functions with these names, those that could read tables behind a query's back: a host's
-- own unless they are immutable, and PostgreSQL's own that run queries or read sequences.
CREATE OR REPLACE FUNCTION threadline.functions_that_may_read(names text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(
    SELECT DISTINCT format('%I.%I', namespace.nspname, function.proname)
    FROM pg_proc AS function
    JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
    WHERE function.proname = ANY (names) AND CASE
        WHEN namespace.nspname <> 'pg_catalog' THEN function.provolatile <> 'i'
        ELSE function.proname ~ '_to_xml' OR function.proname IN (
            'ts_stat', 'ts_rewrite', 'nextval', 'currval', 'lastval', 'setval'
        )
    END
    ORDER BY 1
);

-- Tables as of an instant by way of the present: what was not changed since then is as it is now, so
-- only what was changed since is looked up in the trail. What that costs grows with the changes since
-- the instant, not with those before it; and a condition on the table's columns finds its rows by the
-- table's own indexes.
--
-- It is right only while nothing but captured changes can have made the present from the past. Where
-- that is not certain, the trail alone answers, as in table_as_of.

-- Whether a change that was visible as of an instant bears witness that the table has not been
-- altered since: it was written by this very cluster (its row shows the transaction that its id
-- names, or a savepoint of that), after every alteration of the table's columns; and it tells the
-- same columns as the table has now, by the same rules and the same key.
--
-- Here and below in bodies whose plans are kept: making them takes several times as long as asking.
CREATE OR REPLACE FUNCTION threadline.is_unaltered_since(
    relation regclass, of_schema text, of_table text, policy jsonb, instant timestamptz
) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $unaltered$
DECLARE
    key text[] := ARRAY(
        SELECT jsonb_array_elements_text(
            CASE WHEN jsonb_typeof(policy -> 'key') = 'object' THEN policy #> '{key,columns}' ELSE '[]' END
        )
    );
    newest bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    altered bigint;
    witness record;
BEGIN
    -- A row shows half of an xid: the newest transaction that it can mean is the one to beware of.
    SELECT max(shown.xid - CASE WHEN shown.xid > newest THEN 4294967296 ELSE 0 END) INTO altered
    FROM (
        SELECT (newest & ~4294967295) | attribute.xmin::text::bigint AS xid FROM pg_attribute AS attribute
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS shown;
    FOR witness IN
        SELECT recent.xmin::text::bigint AS shown,
            ('x' || right(replace(recent.transaction_id::text, '-', ''), 16))::bit(64)::bigint AS xid,
            CASE WHEN recent.op = 'delete' THEN recent.changed_from ELSE recent.data_after END AS image,
            recent.table_pk
        FROM threadline.audit_changes AS recent
        WHERE recent.table_name = of_table AND recent.table_schema = of_schema
            AND recent.captured_at <= instant
        ORDER BY recent.captured_at DESC LIMIT 20
    LOOP
        CONTINUE WHEN (witness.shown - witness.xid) & 4294967295 >= 1000 OR witness.xid <= altered;
        IF witness.table_pk ?& key AND witness.table_pk - key = '{}' AND NOT EXISTS (
            SELECT FROM pg_attribute AS attribute
            LEFT JOIN jsonb_array_elements(policy -> 'columns') AS declared
                ON declared ->> 'name' = attribute.attname
            WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
                AND CASE declared ->> 'rule'
                    WHEN 'exclude' THEN witness.image ? attribute.attname
                    WHEN 'mask' THEN (witness.image ->> attribute.attname = policy ->> 'mask_with') IS NOT TRUE
                    WHEN 'clear' THEN NOT witness.image ? attribute.attname
                        OR witness.image ->> attribute.attname IN ('[REDACTED]', policy ->> 'mask_with')
                    ELSE true
                END
        ) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$unaltered$;

-- The policy that a table's capture was generated from.
CREATE OR REPLACE FUNCTION threadline.kept_policy(relation regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $policy$
BEGIN
    RETURN COALESCE((
        SELECT obj_description(tgfoid, 'pg_proc')::jsonb -> 'table' FROM pg_trigger
        WHERE tgrelid = relation AND tgname = '00_threadline_update'
            AND obj_description(tgfoid, 'pg_proc') LIKE '{%'
        LIMIT 1
    ), '{}');
END
$policy$;

-- Why the present cannot tell a table's past; null if it can. With the owner's rights, for whoever
-- reads changes needs it.
CREATE OR REPLACE FUNCTION threadline.rewinding_obstacle(
    of_schema text, of_table text, instant timestamptz
) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $obstacle$
DECLARE
    relation regclass := threadline.relation_named(of_schema, of_table);
    policy jsonb := threadline.kept_policy(relation);
    enrolled record;
BEGIN
    -- Partitions that are attached or detached bring and take rows without a change.
    IF NOT EXISTS (
        SELECT FROM pg_class AS class
        WHERE class.oid = relation AND class.relkind = 'r' AND class.relpersistence = 'p'
            AND NOT class.relispartition
    ) OR EXISTS (SELECT FROM pg_inherits WHERE relation IN (inhparent, inhrelid)) THEN
        RETURN 'it is partitioned, inherits, or is not logged';
    ELSIF 4 <> (
        SELECT count(*) FROM pg_trigger
        WHERE tgrelid = relation AND tgenabled IN ('O', 'A') AND tgname IN (
            '00_threadline_insert', '00_threadline_update', '00_threadline_delete', '00_threadline_truncate'
        )
    ) THEN
        RETURN 'it is not captured now';
    ELSIF NOT threadline.tells_rows_apart(relation, threadline.declared_key(policy)) THEN
        RETURN 'no key tells its rows apart at every moment';
    END IF;
    SELECT enrolment.event, enrolment.enrolled_at INTO enrolled
    FROM threadline.audit_enrolments AS enrolment
    WHERE enrolment.table_name = of_table AND enrolment.table_schema = of_schema
    ORDER BY enrolment.id DESC LIMIT 1;
    IF (enrolled.event = 'attached' AND enrolled.enrolled_at <= instant) IS NOT TRUE THEN
        RETURN 'it has not been captured ever since';
    ELSIF EXISTS (
        SELECT FROM threadline.audit_suspended_writes AS unseen
        -- When the statement began; a day is more than one takes.
        WHERE unseen.table_name = of_table AND unseen.table_schema = of_schema
            AND unseen.statement_at > instant - interval '1 day'
    ) THEN
        RETURN 'capture was suspended';
    ELSIF EXISTS (
        SELECT FROM threadline.audit_changes AS emptied
        WHERE emptied.table_name = of_table AND emptied.table_schema = of_schema
            AND emptied.row_key IS NULL AND emptied.captured_at > instant
    ) OR EXISTS (
        SELECT FROM threadline.audit_changes AS emptied
        WHERE emptied.table_name = of_table AND emptied.table_schema = of_schema
            AND emptied.row_key IS NULL AND emptied.partition_name IS NOT NULL
    ) THEN
        RETURN 'it was emptied';
    ELSIF NOT threadline.is_unaltered_since(relation, of_schema, of_table, policy, instant) THEN
        RETURN 'its columns were altered, or may have been';
    END IF;
    RETURN NULL;
END
$obstacle$;

-- Stands in every query that rewinds, so that it is never run where its ground is gone.
CREATE OR REPLACE FUNCTION threadline.can_still_rewind(
    of_schema text, of_table text, instant timestamptz
) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $still$
DECLARE
    obstacle text := threadline.rewinding_obstacle(of_schema, of_table, instant);
BEGIN
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table %.% cannot be rewound to % any more: %', of_schema, of_table, instant, obstacle
            USING ERRCODE = 'serialization_failure', HINT = 'Ask again: the trail alone will answer.';
    END IF;
    RETURN true;
END
$still$;

-- Whether the trail tells every row that a table had at an instant since when it is captured: because
-- the table was empty when capture began, or a baseline had been finished by then.
CREATE OR REPLACE FUNCTION threadline.is_known_whole(
    of_schema text, of_table text, instant timestamptz
) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN COALESCE((
    SELECT enrolment.table_was_empty OR EXISTS (
        SELECT FROM threadline.audit_baseline_runs AS run
        WHERE run.table_name = of_table AND run.table_schema = of_schema AND run.state = 'finished'
            AND run.started_at > enrolment.enrolled_at AND run.ended_at <= instant
    )
    FROM threadline.audit_enrolments AS enrolment
    WHERE enrolment.table_name = of_table AND enrolment.table_schema = of_schema
    ORDER BY enrolment.id DESC LIMIT 1
), false);

-- The columns of a table as they are now, in the types and the order of columns_from_image. What
-- capture does not store shows as it would in an image, never in clear. `row_key` is the expression
-- for the key as capture writes it.
CREATE OR REPLACE FUNCTION threadline.columns_of_present(
    relation regclass, allow_unknown boolean, OUT expressions text, OUT row_key text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $present$
DECLARE
    policy jsonb := threadline.kept_policy(relation);
BEGIN
    SELECT
        COALESCE(string_agg(
            CASE
                WHEN col.rule = 'clear' AND col.is_plain THEN col.value
                WHEN col.rule = 'clear' THEN format('%s::%s AS %I', col.value, col.type_name, col.name)
                WHEN col.rule = 'mask' AND col.is_text
                    THEN format('%L::%s AS %I', policy ->> 'mask_with', col.type_name, col.name)
                ELSE format('NULL::%s AS %I', col.type_name, col.name)
            END, ', ' ORDER BY col.attnum
        ) FILTER (WHERE allow_unknown OR col.rule = 'clear'), ''),
        format(
            CASE WHEN bool_and(col.is_short) FILTER (WHERE col.is_key)
                    AND count(*) FILTER (WHERE col.is_key) = 1
                THEN '%s COLLATE pg_catalog."C"'
                ELSE 'threadline.row_key(%s) COLLATE pg_catalog."C"' END,
            string_agg(
                CASE WHEN col.is_short OR col.shown_as_text THEN format('%s::pg_catalog.text', col.value)
                    ELSE format('(pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.#>>) ''{}'')',
                        threadline.lossless(col.value, col.base_name)) END,
                ', ' ORDER BY col.name COLLATE "C"
            ) FILTER (WHERE col.is_key)
        )
    INTO expressions, row_key
    FROM (
        SELECT attribute.attnum, attribute.attname AS name, declared ->> 'rule' AS rule,
            format('"as it is now".%I', attribute.attname) AS value,
            format_type(type.oid, -1) AS type_name,
            type.oid = attribute.atttypid AS is_plain, type.typname::text AS base_name, type.typcategory = 'S' AS is_text,
            COALESCE(policy #> '{key,columns}' ? attribute.attname::text, false) AS is_key,
            -- Never too long for an index, and the same as text as in JSON.
            attribute.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype) AS is_short,
            declared -> 'column_type' ? 'other' AS shown_as_text
        FROM pg_attribute AS attribute
        JOIN pg_type AS own ON own.oid = attribute.atttypid
        JOIN pg_type AS type
            ON type.oid = CASE WHEN own.typtype = 'd' THEN threadline.base_type(own.oid) ELSE own.oid END
        LEFT JOIN jsonb_array_elements(policy -> 'columns') AS declared
            ON declared ->> 'name' = attribute.attname
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS col;
END
$present$;

-- What stands for a table in a query that rewinds it; on what ground that may be done, 28_rewinding.sql
-- says.

-- The images, as of an instant, of the rows that have certain keys, as a query of "image". `keys` is a
-- query of row_key. The last change before the instant tells.
CREATE OR REPLACE FUNCTION threadline.images_of_keys(
    of_schema text, of_table text, key_column text, instant timestamptz, keys text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $images$
BEGIN
    RETURN format(
    $query$SELECT CASE
        WHEN before.op OPERATOR(pg_catalog.=) 'update'
            AND (NOT before.data_after OPERATOR(pg_catalog.?) %4$L OR before.previous_key IS NOT NULL)
            AND threadline.is_delta(before.op, before.data_after, before.changed_from)
        THEN threadline.whole_image(%1$L, %2$L, before.row_key, before.id)
        ELSE before.data_after
    END AS "image"
FROM (%5$s) AS asked
CROSS JOIN LATERAL (
    SELECT visible.id, visible.op, visible.row_key, visible.previous_key, visible.data_after, visible.changed_from
    FROM threadline.audit_changes AS visible
    WHERE visible.table_name OPERATOR(pg_catalog.=) %2$L AND visible.table_schema OPERATOR(pg_catalog.=) %1$L
        AND visible.row_key OPERATOR(pg_catalog.=) asked.row_key
        AND visible.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    ORDER BY visible.id DESC LIMIT 1
) AS before
WHERE before.op OPERATOR(pg_catalog.<>) 'delete'
    AND before.id OPERATOR(pg_catalog.>) COALESCE((
        SELECT pg_catalog.max(emptied.id) FROM threadline.audit_changes AS emptied
        WHERE emptied.table_name OPERATOR(pg_catalog.=) %2$L AND emptied.table_schema OPERATOR(pg_catalog.=) %1$L
            AND emptied.row_key IS NULL AND emptied.op OPERATOR(pg_catalog.=) 'truncate'
            AND emptied.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    ), -1)
    AND NOT EXISTS (
        SELECT FROM threadline.audit_renames AS departed
        WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
            AND departed.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
            AND departed.previous_key OPERATOR(pg_catalog.=) asked.row_key
            AND departed.change_id OPERATOR(pg_catalog.>) before.id
    )
-- A fence: what a query asks of columns must only ever be asked of the images that count.
OFFSET 0$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', key_column, keys
);
END
$images$;

-- The same of rows that are older than the trail: none of these keys has a change before the instant.
-- The first change after it tells what was there, unless it is an insert, or the row came from
-- another key.
CREATE OR REPLACE FUNCTION threadline.images_of_older_keys(
    of_schema text, of_table text, instant timestamptz, keys text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $images$
BEGIN
    RETURN format(
    $query$SELECT first.image AS "image"
FROM (%4$s) AS asked
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN event.op OPERATOR(pg_catalog.=) 'baseline' THEN event.data_after
        WHEN event.op OPERATOR(pg_catalog.=) 'delete' THEN event.changed_from
        -- An unclassified column is in changed_from alone, and in no image.
        WHEN event.op OPERATOR(pg_catalog.=) 'update' AND event.previous_key IS NOT DISTINCT FROM event.left_key
        THEN event.data_after OPERATOR(pg_catalog.||) (event.changed_from OPERATOR(pg_catalog.-) ARRAY(
            SELECT name FROM pg_catalog.jsonb_object_keys(event.changed_from) AS name
            WHERE NOT event.data_after OPERATOR(pg_catalog.?) name
        ))
    END AS image
    FROM (
        (
            SELECT later.id, later.op, later.previous_key, NULL AS left_key, later.data_after, later.changed_from
            FROM threadline.audit_changes AS later
            WHERE later.table_name OPERATOR(pg_catalog.=) %2$L AND later.table_schema OPERATOR(pg_catalog.=) %1$L
                AND later.row_key OPERATOR(pg_catalog.=) asked.row_key
                AND later.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
            ORDER BY later.id LIMIT 1
        )
        UNION ALL
        (
            SELECT later.id, later.op, later.previous_key, departed.previous_key, later.data_after, later.changed_from
            FROM threadline.audit_renames AS departed
            JOIN threadline.audit_changes AS later
                ON later.captured_at OPERATOR(pg_catalog.=) departed.captured_at
                AND later.id OPERATOR(pg_catalog.=) departed.change_id
            WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
                AND departed.previous_key OPERATOR(pg_catalog.=) asked.row_key
                AND departed.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
            ORDER BY departed.change_id LIMIT 1
        )
    ) AS event
    ORDER BY event.id LIMIT 1
) AS first
WHERE first.image IS NOT NULL
OFFSET 0$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', keys
);
END
$images$;

-- The keys of the rows of which values were erased from the trail: these rows are what the trail says
-- and not what the table holds.
CREATE OR REPLACE FUNCTION threadline.erased_keys(of_schema text, of_table text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS $erased$
BEGIN
    RETURN QUERY
    SELECT DISTINCT segment.row_key
    FROM threadline.audit_removals AS removal
    CROSS JOIN LATERAL threadline.row_segments(of_schema, of_table, removal.scope ->> 'row_key') AS segment
    WHERE removal.kind = 'erasure' AND removal.scope ->> 'table_name' = of_table
        AND removal.scope ->> 'table_schema' = of_schema;
END
$erased$;

-- The keys that were touched since an instant, as a query of row_key. `condition` narrows them.
CREATE OR REPLACE FUNCTION threadline.touched_keys(
    of_schema text, of_table text, instant timestamptz, condition text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $keys$
BEGIN
    RETURN format(
    $query$SELECT touched.row_key FROM (
        SELECT change.row_key FROM threadline.audit_changes AS change
        WHERE change.table_name OPERATOR(pg_catalog.=) %2$L AND change.table_schema OPERATOR(pg_catalog.=) %1$L
            AND change.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
        UNION
        SELECT departed.previous_key FROM threadline.audit_renames AS departed
        WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
            AND departed.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
        UNION
        SELECT erased.row_key FROM threadline.erased_keys(%1$L, %2$L) AS erased (row_key)
    ) AS touched
    WHERE %4$s$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', condition
);
END
$keys$;

-- The rows of a table as it is now whose keys have no change, or none since an instant. PostgreSQL
-- chooses by the rows that are asked for between a look-up of each and one pass over the changes, as it
-- could not if this were a join.
CREATE OR REPLACE FUNCTION threadline.rows_without_changes(
    relation regclass, of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    since timestamptz
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $rows$
DECLARE
    present record := threadline.columns_of_present(relation, allow_unknown);
BEGIN
    RETURN format(
        $query$SELECT %1$s FROM %2$s AS "as it is now"
WHERE CASE WHEN EXISTS (
    SELECT FROM threadline.audit_changes AS later
    WHERE (SELECT threadline.can_still_rewind(%3$L, %4$L, %5$L::pg_catalog.timestamptz))
        AND later.table_name OPERATOR(pg_catalog.=) %4$L AND later.table_schema OPERATOR(pg_catalog.=) %3$L
        AND later.row_key OPERATOR(pg_catalog.=) %6$s
        AND later.captured_at OPERATOR(pg_catalog.>) %7$L::pg_catalog.timestamptz
) THEN false ELSE true END%8$s$query$,
        present.expressions, relation, of_schema, of_table, to_jsonb(instant) #>> '{}', present.row_key,
        to_jsonb(since) #>> '{}',
        -- There is hardly ever one, and asking costs.
        CASE WHEN EXISTS (SELECT FROM threadline.erased_keys(of_schema, of_table)) THEN format(
            ' AND %s OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT threadline.erased_keys(%L, %L)))',
            present.row_key, of_schema, of_table
        ) END
    );
END
$rows$;

-- A table as of an instant, made from the table as it is now: the rows that were not touched since,
-- and the images of those that were. A row that is there now and whose key was left since was touched
-- by whatever came to that key. `condition` narrows touched.row_key.
CREATE OR REPLACE FUNCTION threadline.rewound_table(
    relation regclass, of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    known_whole boolean, condition text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $rewound$
DECLARE
    columns text := (threadline.columns_from_image(relation, allow_unknown)).expressions;
    touched text := threadline.touched_keys(of_schema, of_table, instant, condition);
    sql text := format(
        E'%s\nUNION ALL\nSELECT %s FROM (%s) AS "state"',
        threadline.rows_without_changes(relation, of_schema, of_table, instant, allow_unknown, instant),
        columns,
        threadline.images_of_keys(
            of_schema, of_table, threadline.kept_policy(relation) #>> '{key,columns,0}', instant, touched
        )
    );
BEGIN
    IF known_whole THEN
        RETURN sql;
    END IF;
    RETURN format(
        E'%s\nUNION ALL\nSELECT %s FROM (%s) AS "state"', sql, columns,
        threadline.images_of_older_keys(of_schema, of_table, instant, format(
            $query$%4$s AND NOT EXISTS (
        SELECT FROM threadline.audit_changes AS known
        WHERE known.table_name OPERATOR(pg_catalog.=) %2$L AND known.table_schema OPERATOR(pg_catalog.=) %1$L
            AND known.row_key OPERATOR(pg_catalog.=) touched.row_key
            AND known.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    )$query$,
            of_schema, of_table, to_jsonb(instant) #>> '{}', touched
        ))
    );
END
$rewound$;

-- A table as of an instant, made from the trail, with the rows that are older than the trail.
CREATE OR REPLACE FUNCTION threadline.completed_table(
    relation regclass, of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    from_trail text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $completed$
BEGIN
    RETURN format(
        E'%s\nUNION ALL\n%s\nUNION ALL\nSELECT %s FROM (%s) AS "state"', from_trail,
        threadline.rows_without_changes(relation, of_schema, of_table, instant, allow_unknown, '-infinity'),
        (threadline.columns_from_image(relation, allow_unknown)).expressions,
        threadline.images_of_older_keys(of_schema, of_table, instant, format(
            $query$SELECT touched.row_key FROM (%4$s EXCEPT
    SELECT known.row_key FROM threadline.audit_changes AS known
    WHERE known.table_name OPERATOR(pg_catalog.=) %2$L AND known.table_schema OPERATOR(pg_catalog.=) %1$L
        AND known.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz) AS touched$query$,
            of_schema, of_table, to_jsonb(instant) #>> '{}',
            threadline.touched_keys(of_schema, of_table, instant, 'true')
        ))
    );
END
$completed$;

-- How many changes of a table PostgreSQL expects before or after an instant.
CREATE OR REPLACE FUNCTION threadline.expected_changes(
    of_schema text, of_table text, side text, instant timestamptz
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $expected$
DECLARE
    plan json;
BEGIN
    EXECUTE format(
        'EXPLAIN (FORMAT JSON) SELECT FROM threadline.audit_changes AS change '
        'WHERE change.table_name = %L AND change.table_schema = %L AND change.captured_at %s %L',
        of_table, of_schema, side, instant
    ) INTO plan;
    RETURN (plan #>> '{0,Plan,Plan Rows}')::numeric;
END
$expected$;

-- What stands for a table in a query as of an instant: as table_as_of, but by way of the present where
-- that is certain and not dearer, unless the trail only is to tell.
--
-- `rewound` says whether the table itself is read, under the name "as it is now". `probe` stands for
-- the table in a query whose plan shows which keys are asked for, by values of `key_column`, and that
-- is what table_of_keys wants to know; it is null where that would gain nothing.
CREATE OR REPLACE FUNCTION threadline.table_rewound(
    of_schema text, of_table text, instant timestamptz, allow_unknown boolean, trail_only boolean,
    OUT problem text, OUT detail text, OUT horizon timestamptz, OUT unknown jsonb, OUT sql text,
    OUT rewound boolean, OUT probe text, OUT key_column text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $rewound$
DECLARE
    relation regclass := threadline.relation_named(of_schema, of_table);
    sees_whole_table boolean := COALESCE(threadline.sees_whole_table(relation), false);
    is_certain boolean := NOT trail_only AND sees_whole_table
        AND threadline.rewinding_obstacle(of_schema, of_table, instant) IS NULL;
    known_whole boolean := is_certain AND threadline.is_known_whole(of_schema, of_table, instant);
    after bigint := 0;
BEGIN
    IF sees_whole_table THEN
        after := threadline.expected_changes(of_schema, of_table, '>', instant);
    END IF;
    -- A look-up of a key takes as long as reading ten changes in passing.
    rewound := is_certain
        AND (after <= 100 OR after * 10 < threadline.expected_changes(of_schema, of_table, '<=', instant) + 1000);
    horizon := threadline.audit_horizon(of_schema, of_table);
    IF rewound AND instant >= horizon THEN
        unknown := (threadline.columns_from_image(relation, allow_unknown)).unknown;
        sql := threadline.rewound_table(relation, of_schema, of_table, instant, allow_unknown, known_whole, 'true');
    ELSE
        SELECT found.* INTO problem, detail, horizon, unknown, sql
        FROM threadline.table_as_of(of_schema, of_table, instant, allow_unknown) AS found;
        rewound := problem IS NULL AND is_certain AND NOT known_whole;
        IF rewound THEN
            sql := threadline.completed_table(relation, of_schema, of_table, instant, allow_unknown, sql);
        END IF;
    END IF;
    IF problem IS NULL AND sees_whole_table AND (after > 100 OR NOT is_certain) THEN
        key_column := threadline.narrowing_column(relation);
        IF key_column IS NOT NULL THEN
            probe := format(
                'SELECT %s FROM %s AS "as it is now"',
                (threadline.columns_of_present(relation, allow_unknown)).expressions, relation
            );
        END IF;
    END IF;
END
$rewound$;

-- Whether the current role sees every row of a table. Who does not must not be told by it of the past.
CREATE OR REPLACE FUNCTION threadline.sees_whole_table(relation regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT has_schema_privilege(class.relnamespace, 'USAGE') AND has_table_privilege(relation, 'SELECT')
        AND NOT row_security_active(relation)
    FROM pg_class AS class WHERE class.oid = relation
);

-- The column whose values alone are a table's keys, if equal values of it are equal as texts.
CREATE OR REPLACE FUNCTION threadline.narrowing_column(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $narrowing$
DECLARE
    policy jsonb := threadline.kept_policy(relation);
    name text := policy #>> '{key,columns,0}';
BEGIN
    IF name IS NULL OR policy #> '{key,columns,1}' IS NOT NULL
        OR NOT threadline.tells_rows_apart(relation, ARRAY[name])
    THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT attribute.attname
        FROM pg_attribute AS attribute
        LEFT JOIN pg_collation AS "collation" ON "collation".oid = attribute.attcollation
        WHERE attribute.attrelid = relation AND attribute.attname = name AND NOT attribute.attisdropped
            AND attribute.atttypid IN (
                'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype, 'varchar'::regtype
            )
            AND "collation".collisdeterministic IS NOT FALSE
    );
END
$narrowing$;

-- What stands for a table in a query as of an instant that asks for certain keys only: `literal` is a
-- value, or an array of values, of a type. Otherwise as table_rewound, when that has found no problem.
CREATE OR REPLACE FUNCTION threadline.table_of_keys(
    of_schema text, of_table text, instant timestamptz, allow_unknown boolean, trail_only boolean,
    literal text, of_type regtype, is_array boolean, OUT sql text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $keys$
DECLARE
    relation regclass := threadline.relation_named(of_schema, of_table);
    keys text[];
BEGIN
    EXECUTE format(
        CASE WHEN is_array
            THEN 'SELECT array_agg(DISTINCT threadline.row_key(value::text)) FROM unnest(%L::%s[]) AS value WHERE value IS NOT NULL'
            ELSE 'SELECT ARRAY[threadline.row_key(%L::%s::text)]' END,
        literal, of_type
    ) INTO keys;
    keys := COALESCE(keys, '{}');
    IF NOT trail_only AND threadline.rewinding_obstacle(of_schema, of_table, instant) IS NULL THEN
        sql := threadline.rewound_table(
            relation, of_schema, of_table, instant, allow_unknown,
            threadline.is_known_whole(of_schema, of_table, instant),
            format('touched.row_key OPERATOR(pg_catalog.=) ANY (%L::pg_catalog.text[])', keys)
        );
    ELSE
        sql := format(
            'SELECT %s FROM (%s) AS "state"',
            (threadline.columns_from_image(relation, allow_unknown)).expressions,
            threadline.images_of_keys(
                of_schema, of_table, threadline.narrowing_column(relation), instant,
                format('SELECT given.row_key FROM pg_catalog.unnest(%L::pg_catalog.text[]) AS given (row_key)', keys)
            )
        );
    END IF;
END
$keys$;

-- Changes that came late: long after their transaction began.

-- "Which change has this id?" and "Which changes came late?" Ids and instants grow with the table, so a
-- summary of its pages is enough.
SELECT threadline.ensure_index($index$
CREATE INDEX audit_changes_order_idx
    ON threadline.audit_changes USING brin (id, captured_at, transaction_id)
    WITH (autosummarize = on)
$index$);

-- The transactions that changed something between two instants, both inclusive, though they began before
-- a transaction, or, for a clock may be set back, after another.
CREATE OR REPLACE FUNCTION threadline.late_transactions_by_summary(
    from_instant timestamptz, to_instant timestamptz, began_before uuid, began_after uuid
) RETURNS TABLE (transaction_id uuid)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
-- The planner never expects the summary to be better than reading change by change.
SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off
SET plan_cache_mode = force_generic_plan SET jit = off AS $late$
BEGIN
    RETURN QUERY
    SELECT DISTINCT late.transaction_id
    FROM threadline.audit_changes AS late
    WHERE late.captured_at >= from_instant AND late.captured_at <= to_instant
        AND (late.transaction_id < began_before OR late.transaction_id >= began_after);
END
$late$;

-- The transactions that changed something between two instants, both inclusive, though they began before
-- a transaction. Who reads the newest transactions asks this before calling what they changed the newest
-- changes. Transactions that begin after the second instant are among them.
CREATE OR REPLACE FUNCTION threadline.late_transactions(
    from_instant timestamptz, to_instant timestamptz, began_before uuid
) RETURNS TABLE (transaction_id uuid)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET jit = off AS $late$
DECLARE
    at_a_time CONSTANT integer := 300;
    began_after uuid := threadline.transaction_id_from(to_instant + interval '1 microsecond');
    looked_at record;
BEGIN
    -- Often there are few changes between, and they are read faster than the summary.
    SELECT count(*) AS changes, min(c.captured_at) AS earliest,
        array_agg(DISTINCT c.transaction_id) FILTER (
            WHERE c.transaction_id < began_before OR c.transaction_id >= began_after
        ) AS late
    INTO looked_at
    FROM (
        SELECT c.captured_at, c.transaction_id
        FROM threadline.audit_changes AS c
        WHERE c.captured_at >= from_instant AND c.captured_at <= to_instant
        ORDER BY c.captured_at DESC, c.id DESC
        LIMIT at_a_time
    ) AS c;
    RETURN QUERY SELECT unnest(looked_at.late);
    IF looked_at.changes = at_a_time THEN
        RETURN QUERY SELECT * FROM threadline.late_transactions_by_summary(
            from_instant, looked_at.earliest, began_before, began_after
        );
    END IF;
END
$late$;

-- The application can cause changes and say why; it can neither write, alter nor read the trail
-- beyond that. Who may read is granted by the host: GRANT SELECT ON ALL TABLES IN SCHEMA ... .

-- Takes back every privilege that nobody meant to give: what default privileges gave on what is new, and
-- on what was there before whatever coverage would call an error. Who may read the trail, or call what
-- can be granted, goes on to.
CREATE OR REPLACE FUNCTION threadline.settle_privileges() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $settle$
DECLARE
    was_there CONSTANT oid[] := string_to_array(current_setting('threadline.installed_before', true), ' ');
    trail CONSTANT oid := 'threadline'::regnamespace;
    given record;
BEGIN
    FOR given IN
        SELECT class.oid::regclass::text AS object, privilege.grantee,
            CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
            -- A partition has the readers of its table.
            NOT COALESCE(inherits.inhparent, class.oid) = ANY (was_there)
                OR class.relname = 'capture_secret' OR privilege.grantee = 0 AS by_nobody,
            string_agg(privilege.type, ', ') FILTER (WHERE privilege.type NOT LIKE 'SELECT%') AS excess
        FROM pg_class AS class
        LEFT JOIN pg_inherits AS inherits ON inherits.inhrelid = class.oid
        CROSS JOIN LATERAL (
            SELECT of_all.grantee, of_all.privilege_type FROM aclexplode(class.relacl) AS of_all
            UNION ALL
            SELECT of_column.grantee, format('%s (%I)', of_column.privilege_type, attribute.attname)
            FROM pg_attribute AS attribute CROSS JOIN LATERAL aclexplode(attribute.attacl) AS of_column
            WHERE attribute.attrelid = class.oid
        ) AS privilege (grantee, type)
        WHERE class.relnamespace = trail AND class.relkind IN ('r', 'p', 'v', 'S')
            AND privilege.grantee <> class.relowner
        GROUP BY class.oid, inherits.inhparent, privilege.grantee
    LOOP
        IF given.by_nobody THEN
            PERFORM threadline.take_back(given.kind, given.object, given.grantee);
        ELSIF given.excess IS NOT NULL THEN
            EXECUTE format('REVOKE %s ON %s %s FROM %s CASCADE', given.excess, given.kind, given.object,
                threadline.shown_role(given.grantee));
        END IF;
    END LOOP;

    -- Trigger functions are nobody's to call. Who may was given everything, by default privileges for
    -- instance, so nothing that the role may call was given on purpose.
    FOR given IN
        SELECT DISTINCT privilege.grantee
        FROM pg_proc AS function
        CROSS JOIN LATERAL aclexplode(function.proacl) AS privilege
        WHERE function.pronamespace = trail AND function.prorettype = 'trigger'::regtype
            AND function.oid = ANY (was_there) AND privilege.grantee NOT IN (function.proowner, 0)
    LOOP
        RAISE WARNING 'role % could execute every function of the trail; it can no longer', threadline.shown_role(given.grantee)
            USING HINT = 'Look at the default privileges (\ddp in psql), and grant it what it has to call.';
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA threadline FROM %s CASCADE', threadline.shown_role(given.grantee));
    END LOOP;
    FOR given IN
        SELECT function.oid::regprocedure::text AS object, privilege.grantee
        FROM pg_proc AS function
        CROSS JOIN LATERAL aclexplode(COALESCE(function.proacl, acldefault('f', function.proowner))) AS privilege
        WHERE function.pronamespace = trail AND privilege.grantee <> function.proowner
            AND (privilege.grantee = 0 OR NOT function.oid = ANY (was_there))
    LOOP
        PERFORM threadline.take_back('ROUTINE', given.object, given.grantee);
    END LOOP;

    FOR given IN
        SELECT privilege.grantee FROM pg_namespace AS namespace
        CROSS JOIN LATERAL aclexplode(namespace.nspacl) AS privilege
        WHERE namespace.oid = trail AND privilege.privilege_type = 'CREATE' AND privilege.grantee <> namespace.nspowner
    LOOP
        EXECUTE format('REVOKE CREATE ON SCHEMA threadline FROM %s CASCADE', threadline.shown_role(given.grantee));
    END LOOP;
END
$settle$;

SELECT threadline.settle_privileges();

GRANT USAGE ON SCHEMA threadline TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.open_audited_work(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.leave_audited_work(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.close_audited_work(jsonb, uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.record_action(jsonb, jsonb, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.current_transaction_id() TO PUBLIC;
-- Readers need these to make use of what they were granted.
GRANT EXECUTE ON FUNCTION threadline.changed_fields(text, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.row_key(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.transaction_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.action_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.looked_up(uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.looked_up(bigint) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.row_from_image(anyelement, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.base_type(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.row_segments(text, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.late_transactions(timestamptz, timestamptz, uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.late_transactions_by_summary(timestamptz, timestamptz, uuid, uuid) TO PUBLIC;
-- Coverage is for whoever may read deployed_policies; what it is made of shows only the catalog.
GRANT EXECUTE ON FUNCTION threadline.policy_of(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.captured_tables() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.installation() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.trail_functions() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.shown_role(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.expected_triggers() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.trigger_arguments(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.is_declared_type(jsonb, text, "char") TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.is_unique_key(regclass, text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.comes_between(name, int2) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.function_findings(integer) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.trigger_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.table_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.captured_above(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.installation_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.rights_findings() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.writer_findings(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.server_findings(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.record_findings(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.default_partition_query(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.change_ids_are_behind() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.trail_span(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.trail_partitions() TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.partition_bounds(text, timestamptz, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.partition_column(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.transaction_began_at(uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.action_recorded_at(uuid) TO PUBLIC;
-- As of an instant: they read the trail with the caller's rights.
GRANT EXECUTE ON FUNCTION threadline.is_delta(text, jsonb, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.whole_image(text, text, text, bigint) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.relation_named(text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.tells_rows_apart(regclass, text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.rows_by_counting(text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.was_in_partition(text, regclass, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.deployed_policy(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.unknown_columns(regclass, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.row_as_of(text, text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.known_null(jsonb, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.columns_from_image(regclass, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.images_as_of(regclass, text, text, text[], timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.table_as_of(text, text, timestamptz, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.functions_that_may_read(text[]) TO PUBLIC;
-- By way of the present.
GRANT EXECUTE ON FUNCTION threadline.kept_policy(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.rewinding_obstacle(text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.can_still_rewind(text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.is_known_whole(text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.columns_of_present(regclass, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.images_of_keys(text, text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.images_of_older_keys(text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.erased_keys(text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.touched_keys(text, text, timestamptz, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.rows_without_changes(regclass, text, text, timestamptz, boolean, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.rewound_table(regclass, text, text, timestamptz, boolean, boolean, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.completed_table(regclass, text, text, timestamptz, boolean, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.expected_changes(text, text, text, timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.table_rewound(text, text, timestamptz, boolean, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.sees_whole_table(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.narrowing_column(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.table_of_keys(text, text, timestamptz, boolean, boolean, text, regtype, boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.declared_key(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.lossless(text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.audit_horizon(text, text) TO PUBLIC;

-- What this installation is, for coverage to compare with later.
SELECT threadline.note_installation('0.1.0', '35c532a4c5ea467deb72bb6568283ef7dc62494bb6cc5205230bcbe3915fc57d');
$threadline_trail$;
            is_done := true;
        EXCEPTION
            WHEN SQLSTATE 'TL090' THEN
                -- A table has to change that is to be locked first. What is locked is let go, and all
                -- is begun again.
                GET STACKED DIAGNOSTICS message = TABLE_NAME;
                to_change := ARRAY(SELECT unnest(to_change || message) ORDER BY 1);
            WHEN lock_not_available OR deadlock_detected THEN
                PERFORM pg_sleep(0.05 + random() * 0.1);
            WHEN OTHERS THEN
                -- The context would be all of the above.
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                    explanation = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
                RAISE EXCEPTION '%', message USING
                    ERRCODE = state,
                    DETAIL = concat_ws(E'\n', NULLIF(explanation, ''), 'Nothing was changed.'),
                    HINT = COALESCE(NULLIF(advice, ''), 'See guides/upgrading.md.');
        END;
        EXIT WHEN is_done;
    END LOOP;
    IF NOT is_done THEN
        RAISE EXCEPTION 'the trail is too busy to be brought up to date'
            USING ERRCODE = 'lock_not_available',
                  HINT = 'Run this again at a quieter time; nothing was changed.';
    END IF;
    PERFORM set_config('lock_timeout', patience, true);
    PERFORM set_config('client_min_messages', loudness, true);
    PERFORM set_config('search_path', path, true);
END
$threadline_install$;
