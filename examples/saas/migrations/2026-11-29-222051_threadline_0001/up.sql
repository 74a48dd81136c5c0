-- The audit trail: three tables partitioned by time, and tables with records about the trail.
--
-- The names of audit_transactions, audit_changes and audit_actions and of their columns are public and
-- stable.

DO $$
BEGIN
    IF to_regclass('threadline.audit_changes') IS NOT NULL THEN
        RAISE EXCEPTION 'the audit trail is already installed in schema threadline'
            USING ERRCODE = 'duplicate_schema',
                  HINT = 'No action is needed. A newer release adds a migration of its own.';
    END IF;
    -- Unqualified names resolve to pg_catalog only, until 99_privileges.sql restores the search path.
    PERFORM set_config('threadline.path_before', current_setting('search_path'), true),
        set_config('search_path', 'pg_catalog, pg_temp', true);
END
$$;

CREATE SCHEMA IF NOT EXISTS threadline;

COMMENT ON SCHEMA threadline IS 'Threadline: the audit trail, its functions and views.';

CREATE TABLE threadline.audit_transactions (
    id               uuid        NOT NULL,
    occurred_at      timestamptz NOT NULL,
    actor            text COLLATE "C",
    on_behalf_of     text COLLATE "C",
    action_id        uuid,
    request_id       text COLLATE "C",
    correlation_id   text COLLATE "C",
    job_id           text COLLATE "C",
    context          jsonb,
    xid              xid8        NOT NULL,
    db_user          text        NOT NULL,
    application_name text,
    client_addr      inet,
    backend_pid      integer     NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

COMMENT ON TABLE threadline.audit_transactions IS
    'One row for each database transaction that changed audited rows: actor, time and context.';
COMMENT ON COLUMN threadline.audit_transactions.id IS
    'Start of the transaction (8 bytes, microseconds since 2000-01-01 UTC), then its xid (8 bytes); ordered by time.';
COMMENT ON COLUMN threadline.audit_transactions.occurred_at IS
    'When the first change was captured; not the time of the commit.';
COMMENT ON COLUMN threadline.audit_transactions.actor IS
    'The first actor that the application named: type:id, or anonymous. Unverified: any role can set it.';
COMMENT ON COLUMN threadline.audit_transactions.on_behalf_of IS 'The actor that was represented: type:id, or anonymous.';
COMMENT ON COLUMN threadline.audit_transactions.context IS
    'The rest of the context: source, remote_addr, meta; context_error lists the fields that were malformed.';
COMMENT ON COLUMN threadline.audit_transactions.xid IS
    'The transaction id in the cluster that captured it; another cluster may use it again.';
COMMENT ON COLUMN threadline.audit_transactions.db_user IS 'The session_user of the transaction.';

-- Orders changes, actions and the records about the trail. A transaction gets its xid before it takes a
-- value: the feed relies on that.
CREATE SEQUENCE threadline.audit_changes_id_seq AS bigint;

CREATE TABLE threadline.audit_changes (
    id             bigint      NOT NULL DEFAULT nextval('threadline.audit_changes_id_seq'),
    captured_at    timestamptz NOT NULL,
    transaction_id uuid        NOT NULL,
    action_id      uuid,
    command_id     integer,
    actor          text COLLATE "C",
    op             text COLLATE "C" NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    row_key        text COLLATE "C",
    previous_key   text COLLATE "C",
    table_pk       jsonb,
    data_after     jsonb,
    changed_from   jsonb,
    partition_name text,
    PRIMARY KEY (captured_at, id)
) PARTITION BY RANGE (captured_at);

COMMENT ON TABLE threadline.audit_changes IS
    'One row for each captured change of a row, or of a table (truncate). Ordered by id.';
COMMENT ON COLUMN threadline.audit_changes.op IS
    'insert, update, delete, truncate, or baseline (the image of a row, recorded without a change).';
COMMENT ON COLUMN threadline.audit_changes.actor IS 'The actor in force: type:id, or anonymous; null if none was named.';
COMMENT ON COLUMN threadline.audit_changes.command_id IS
    'The command of the transaction that made the row version. Internal: orders changes within a statement.';
COMMENT ON COLUMN threadline.audit_changes.row_key IS
    'The values of the primary key as text: the value itself, or a JSON array in the order of the key''s columns.';
COMMENT ON COLUMN threadline.audit_changes.table_pk IS
    'The key after the change (delete: before it): column name to value as text.';
COMMENT ON COLUMN threadline.audit_changes.data_after IS
    'The stored columns of the row after the change; null for delete and truncate.';
COMMENT ON COLUMN threadline.audit_changes.changed_from IS
    'Update: old values of the changed columns. Delete: the last image of the row.';
COMMENT ON COLUMN threadline.audit_changes.partition_name IS
    'Truncate: the partition or child table that was truncated alone.';

CREATE TABLE threadline.audit_actions (
    id             uuid        NOT NULL,
    order_id       bigint      NOT NULL,
    transaction_id uuid        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    name           text COLLATE "C" NOT NULL,
    actor          text COLLATE "C",
    on_behalf_of   text COLLATE "C",
    status         text COLLATE "C" NOT NULL,
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
    'One row for each action that the application recorded, whether or not it changed rows.';
COMMENT ON COLUMN threadline.audit_actions.id IS 'A version 7 uuid; ordered by time.';
COMMENT ON COLUMN threadline.audit_actions.order_id IS 'A value of the sequence of audit_changes.id: orders actions among changes.';
COMMENT ON COLUMN threadline.audit_actions.transaction_id IS
    'The database transaction that recorded the action; audit_transactions has its row if it changed audited rows.';

-- Updates that changed a key, to follow a row to its earlier and later keys. A separate table, because
-- indexes on audit_changes for these few rows would slow down every captured change.
CREATE TABLE threadline.audit_key_changes (
    change_id      bigint      NOT NULL,
    captured_at    timestamptz NOT NULL,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    row_key        text COLLATE "C" NOT NULL,
    previous_key   text COLLATE "C" NOT NULL,
    PRIMARY KEY (captured_at, change_id)
);

COMMENT ON TABLE threadline.audit_key_changes IS
    'One row for each update that changed a key; copies columns of audit_changes, for two indexes.';

CREATE TABLE threadline.audit_enrolments (
    order_id          bigint      PRIMARY KEY,
    transaction_id    uuid        NOT NULL,
    table_schema      text COLLATE "C" NOT NULL,
    table_name        text COLLATE "C" NOT NULL,
    event             text COLLATE "C" NOT NULL CHECK (event IN ('enabled', 'disabled')),
    recorded_at       timestamptz NOT NULL,
    recorded_by       text        NOT NULL,
    relation          oid,
    policy_hash       text,
    key_columns       text[],
    key_attnums       smallint[],
    columns           jsonb,
    partition_columns text[],
    key_since         bigint,
    was_captured      boolean,
    table_was_empty   boolean
);

COMMENT ON TABLE threadline.audit_enrolments IS
    'One row each time a policy is deployed on a table, or capture of a table is disabled.';
COMMENT ON COLUMN threadline.audit_enrolments.order_id IS
    'Changes of the table with a greater id were captured under this policy.';
COMMENT ON COLUMN threadline.audit_enrolments.columns IS 'Array of {"name", "attnum", "type", "rule"}.';
COMMENT ON COLUMN threadline.audit_enrolments.key_since IS
    'Row keys of changes with a greater id have the columns key_columns; 0: all row keys of the table have.';
COMMENT ON COLUMN threadline.audit_enrolments.was_captured IS
    'Whether all capture triggers existed already; if false, earlier writes may be missing.';

CREATE TABLE threadline.audit_suspensions (
    order_id       bigint      PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    suspended_at   timestamptz NOT NULL,
    suspended_by   text        NOT NULL,
    reason         text        NOT NULL,
    tables         text[]      NOT NULL
);

COMMENT ON TABLE threadline.audit_suspensions IS
    'One row for each call of suspend_capture: changes of these tables in this transaction were not captured.';

CREATE TABLE threadline.audit_removals (
    order_id       bigint      PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    removed_at     timestamptz NOT NULL,
    removed_by     text        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('retention', 'erasure')),
    reason         text        NOT NULL,
    scope          jsonb       NOT NULL,
    change_count   bigint      NOT NULL
);

COMMENT ON TABLE threadline.audit_removals IS 'One row for each removal of records by retention, and for each erasure of values.';
COMMENT ON COLUMN threadline.audit_removals.scope IS
    'Retention: {"before": instant, "cutoffs": {table: instant}}. Erasure: {"table_schema", "table_name", "row_key", "columns"}.';

-- Indexes: each serves the query above it. deduplicate_items is off, because entries with an id are unique.

-- Changes of a row.
CREATE INDEX audit_changes_row_idx ON threadline.audit_changes
    (table_name, row_key, table_schema, id) WITH (deduplicate_items = off);
-- Recent changes of a table.
CREATE INDEX audit_changes_table_idx ON threadline.audit_changes
    (table_name, table_schema, captured_at, id) WITH (deduplicate_items = off);
-- Changes by an actor.
CREATE INDEX audit_changes_actor_idx ON threadline.audit_changes
    (actor, captured_at, id) WITH (deduplicate_items = off) WHERE actor IS NOT NULL;
-- Changes without an actor.
CREATE INDEX audit_changes_unattributed_idx ON threadline.audit_changes
    (captured_at, id) WITH (deduplicate_items = off) WHERE actor IS NULL;
-- Changes of a transaction.
CREATE INDEX audit_changes_transaction_idx ON threadline.audit_changes (transaction_id, id) WITH (deduplicate_items = off);
-- A change by its id; changes after an id (the feed).
CREATE INDEX audit_changes_id_idx ON threadline.audit_changes USING brin (id) WITH (autosummarize = on);

-- Transactions and actions of a correlation, request or job, or on behalf of an actor.
CREATE INDEX audit_transactions_correlation_idx ON threadline.audit_transactions
    (correlation_id, id) WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_transactions_request_idx ON threadline.audit_transactions
    (request_id, id) WITH (deduplicate_items = off) WHERE request_id IS NOT NULL;
CREATE INDEX audit_transactions_job_idx ON threadline.audit_transactions
    (job_id, id) WITH (deduplicate_items = off) WHERE job_id IS NOT NULL;
CREATE INDEX audit_transactions_represented_idx ON threadline.audit_transactions
    (on_behalf_of, id) WITH (deduplicate_items = off) WHERE on_behalf_of IS NOT NULL;
CREATE INDEX audit_actions_correlation_idx ON threadline.audit_actions
    (correlation_id, id) WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_actions_request_idx ON threadline.audit_actions
    (request_id, id) WITH (deduplicate_items = off) WHERE request_id IS NOT NULL;
CREATE INDEX audit_actions_job_idx ON threadline.audit_actions
    (job_id, id) WITH (deduplicate_items = off) WHERE job_id IS NOT NULL;
CREATE INDEX audit_actions_represented_idx ON threadline.audit_actions
    (on_behalf_of, id) WITH (deduplicate_items = off) WHERE on_behalf_of IS NOT NULL;
-- Actions of a transaction, by name, by actor; failed actions.
CREATE INDEX audit_actions_transaction_idx ON threadline.audit_actions (transaction_id, id) WITH (deduplicate_items = off);
CREATE INDEX audit_actions_name_idx ON threadline.audit_actions (name, id) WITH (deduplicate_items = off);
CREATE INDEX audit_actions_actor_idx ON threadline.audit_actions
    (actor, id) WITH (deduplicate_items = off) WHERE actor IS NOT NULL;
CREATE INDEX audit_actions_failed_idx ON threadline.audit_actions
    (id) WITH (deduplicate_items = off) WHERE status = 'error';
-- Actions after an order_id (the feed).
CREATE INDEX audit_actions_order_idx ON threadline.audit_actions USING brin (order_id) WITH (autosummarize = on);

-- The next key and the previous key of a row.
CREATE INDEX audit_key_changes_previous_key_idx ON threadline.audit_key_changes
    (table_name, previous_key, table_schema, change_id) WITH (deduplicate_items = off);
CREATE INDEX audit_key_changes_row_key_idx ON threadline.audit_key_changes
    (table_name, row_key, table_schema, change_id) WITH (deduplicate_items = off);
-- Policies of a table.
CREATE INDEX audit_enrolments_table_idx ON threadline.audit_enrolments (table_name, table_schema, order_id);
-- Suspensions of capture in a transaction.
CREATE INDEX audit_suspensions_transaction_idx ON threadline.audit_suspensions (transaction_id);

-- Its session value (currval) is the hash of the marker, the setting threadline.recorded, that this
-- session set last. A session can write the setting, but not this value. Unlogged, because session
-- values do not survive a crash.
CREATE UNLOGGED SEQUENCE threadline.capture_session AS bigint MINVALUE -9223372036854775808;

-- Partitions of the trail by time, and for each table a default partition for all other rows.

-- One row. A change of partition_width applies to partitions that are created later.
CREATE TABLE threadline.audit_settings (
    id              boolean PRIMARY KEY DEFAULT true CHECK (id),
    partition_width text NOT NULL CHECK (partition_width IN ('month', 'week', 'day'))
);
INSERT INTO threadline.audit_settings (partition_width) VALUES ('month');
COMMENT ON TABLE threadline.audit_settings IS 'Settings of the trail; one row.';

-- The smallest id of transactions that start at an instant or later.
CREATE FUNCTION threadline.transaction_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN encode(timestamptz_send(instant) || '\x0000000000000000'::bytea, 'hex')::uuid;

-- The smallest version 7 uuid of an instant, which is clamped to the range of such uuids.
CREATE FUNCTION threadline.action_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN rpad(lpad(to_hex(
    LEAST(GREATEST(floor(extract(epoch FROM instant) * 1000), 0), 281474976710655)::bigint
), 12, '0'), 32, '0')::uuid;

-- The start of a transaction, from its id; clamped to the range of timestamps.
CREATE FUNCTION threadline.transaction_began_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN '2000-01-01 00:00:00+00'::timestamptz + '1 microsecond'::interval * LEAST(GREATEST(
    ('x' || left(replace(id::text, '-', ''), 16))::bit(64)::bigint, -200000000000000000
), 9200000000000000000);

-- When an action was recorded, from its id, in milliseconds.
CREATE FUNCTION threadline.action_recorded_at(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN '1970-01-01 00:00:00+00'::timestamptz + '1 millisecond'::interval
    * ('x0000' || left(replace(id::text, '-', ''), 12))::bit(64)::bigint;

-- The partitions of the trail with their bounds; a default partition has null for both.
CREATE FUNCTION threadline.trail_partitions()
RETURNS TABLE (
    parent text, partition regclass, partition_name text, from_instant timestamptz, to_instant timestamptz
)
LANGUAGE sql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp AS $partitions$
    SELECT parent.relname, class.oid, class.relname, instants[1], instants[2]
    FROM pg_class AS parent
    JOIN pg_inherits AS inherits ON inherits.inhparent = parent.oid
    JOIN pg_class AS class ON class.oid = inherits.inhrelid
    CROSS JOIN regexp_match(
        pg_get_expr(class.relpartbound, class.oid), 'FROM \(''([^'']*)''\) TO \(''([^'']*)''\)'
    ) AS bounds
    CROSS JOIN LATERAL (
        SELECT array_agg(CASE parent.relname
            WHEN 'audit_changes' THEN bound::timestamptz
            WHEN 'audit_transactions' THEN threadline.transaction_began_at(bound::uuid)
            ELSE threadline.action_recorded_at(bound::uuid)
        END ORDER BY place)
        FROM unnest(bounds) WITH ORDINALITY AS unnested (bound, place)
    ) AS time (instants)
    WHERE parent.relnamespace = 'threadline'::regnamespace
        AND parent.relname IN ('audit_changes', 'audit_transactions', 'audit_actions')
$partitions$;

-- Raises an error for the statement that fires it. Rows that the current transaction inserted may be updated:
-- the argument of row triggers is the column with the id of the inserting transaction. TRUNCATE triggers are
-- not inherited, so each partition has its own.
CREATE FUNCTION threadline.guard_record() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) ->> TG_ARGV[0] = threadline.current_transaction_id()::text THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Retention removes expired changes; erase_values erases values of a row.';
END
$guard$;

-- Revokes all privileges on an object from all roles but its owner; default privileges may have granted some.
CREATE FUNCTION threadline.revoke_all(object text, owner oid, acl aclitem[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $revoke$
DECLARE
    grantees text := (
        SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ', ')
        FROM aclexplode(acl) WHERE grantee <> owner
    );
BEGIN
    IF grantees IS NOT NULL THEN
        EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', object, grantees);
    END IF;
END
$revoke$;

-- Creates the TRUNCATE guard of a new partition, copies the SELECT grants of its parent, and revokes all
-- other privileges.
CREATE FUNCTION threadline.protect_partition(parent regclass, partition regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $protect$
DECLARE
    readers text := (
        SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ', ')
        FROM pg_class CROSS JOIN aclexplode(relacl)
        WHERE oid = parent AND grantee <> relowner AND privilege_type = 'SELECT'
    );
BEGIN
    EXECUTE format(
        'CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record()', partition
    );
    PERFORM threadline.revoke_all(partition::text, relowner, relacl) FROM pg_class WHERE oid = partition;
    IF readers IS NOT NULL THEN
        EXECUTE format('GRANT SELECT ON %s TO %s', partition, readers);
    END IF;
END
$protect$;

-- Creates the partition of one table for the period that contains an instant, or for the part of it that
-- no partition covers. Moves up to `move_at_most` rows of that period out of the default partition, with
-- the table locked. Returns the number of moved rows; -1, without moving any, if there are more; null if
-- the period is covered already. The partition is created as a table and then attached, which does not
-- block writers of other partitions.
CREATE FUNCTION threadline.create_partition(
    parent text, instant timestamptz, move_at_most bigint
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $create$
DECLARE
    width CONSTANT text := (SELECT partition_width FROM threadline.audit_settings);
    lower_bound timestamptz := date_trunc(width, instant);
    upper_bound timestamptz := lower_bound + ('1 ' || width)::interval;
    partition CONSTANT text := parent || to_char(lower_bound, CASE width
        WHEN 'month' THEN '_YYYY_MM' WHEN 'week' THEN '_IYYY_"w"IW' ELSE '_YYYY_MM_DD' END);
    covered_until timestamptz;
    bounds text[];
    range text;
    to_move bigint;
BEGIN
    EXECUTE format('LOCK TABLE ONLY threadline.%I IN SHARE UPDATE EXCLUSIVE MODE', parent);
    LOOP
        SELECT part.to_instant INTO covered_until FROM threadline.trail_partitions() AS part
        WHERE part.parent = create_partition.parent
            AND part.from_instant <= lower_bound AND part.to_instant > lower_bound;
        EXIT WHEN NOT FOUND;
        lower_bound := covered_until;
    END LOOP;
    IF lower_bound >= upper_bound OR to_regclass(format('threadline.%I', partition)) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    SELECT LEAST(upper_bound, min(part.from_instant)) INTO upper_bound FROM threadline.trail_partitions() AS part
    WHERE part.parent = create_partition.parent AND part.from_instant > lower_bound;

    bounds := CASE parent
        WHEN 'audit_changes' THEN ARRAY[lower_bound::text, upper_bound::text]
        WHEN 'audit_transactions' THEN ARRAY[
            threadline.transaction_id_from(lower_bound)::text, threadline.transaction_id_from(upper_bound)::text]
        ELSE ARRAY[threadline.action_id_from(lower_bound)::text, threadline.action_id_from(upper_bound)::text]
    END;
    range := format('%1$I >= %2$L AND %1$I < %3$L',
        CASE parent WHEN 'audit_changes' THEN 'captured_at' ELSE 'id' END, bounds[1], bounds[2]);
    EXECUTE format('SELECT count(*) FROM (SELECT FROM threadline.%I WHERE %s LIMIT %s) AS found',
        parent || '_default', range, move_at_most + 1) INTO to_move;
    IF to_move > move_at_most THEN
        RETURN -1;
    END IF;
    EXECUTE format(
        'CREATE TABLE threadline.%I (LIKE threadline.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING STORAGE INCLUDING COMPRESSION)', partition, parent
    );
    PERFORM threadline.protect_partition(
        format('threadline.%I', parent)::regclass, format('threadline.%I', partition)::regclass
    );
    IF to_move > 0 THEN
        -- Lock the parent, too: a query planned without the new partition would miss the moved rows.
        EXECUTE format('LOCK TABLE ONLY threadline.%I, ONLY threadline.%I IN ACCESS EXCLUSIVE MODE',
            parent, parent || '_default');
        PERFORM threadline.allow_trail_delete(true);
        EXECUTE format(
            'WITH moved AS (DELETE FROM threadline.%I WHERE %s RETURNING *) '
            'INSERT INTO threadline.%I SELECT * FROM moved', parent || '_default', range, partition
        );
        GET DIAGNOSTICS to_move = ROW_COUNT;
        PERFORM threadline.allow_trail_delete(false);
    END IF;
    EXECUTE format(
        'ALTER TABLE threadline.%I ATTACH PARTITION threadline.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition, bounds[1], bounds[2]
    );
    RETURN to_move;
END
$create$;

-- Maintenance, for a scheduler: creates partitions ahead, and moves rows out of the default partitions, one
-- period for each call, because the table stays locked until the transaction ends. Returns one row for each
-- partition `created`, with the number of rows moved into it, and for each period that is `left` (it has
-- rows in a default partition: call again, or with a greater `move_at_most`) or `locked` (try again).
-- While it holds a lock, it does not wait for another one, which could cause a deadlock.
CREATE FUNCTION threadline.maintain(
    months integer DEFAULT 3, move_at_most bigint DEFAULT 50000, lock_wait interval DEFAULT '500 milliseconds'
) RETURNS TABLE (table_name text, period_start timestamptz, result text, rows_moved bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $maintain$
DECLARE
    width CONSTANT text := (SELECT partition_width FROM threadline.audit_settings);
    until CONSTANT timestamptz := now() + make_interval(months => months);
    periods timestamptz[];
BEGIN
    PERFORM set_config('lock_timeout', (extract(epoch FROM lock_wait) * 1000)::integer || 'ms', true);
    FOREACH table_name IN ARRAY ARRAY['audit_changes', 'audit_transactions', 'audit_actions'] LOOP
        -- Rows with impossible times (the clock was wrong) stay in the default partition.
        EXECUTE format(
            'SELECT array_agg(period ORDER BY period) FROM ('
            '    SELECT date_trunc($1, %1$s) AS period FROM threadline.%2$I '
            '    WHERE %1$s >= ''2001-01-01'' AND %1$s < $2 '
            '    UNION SELECT generate_series(date_trunc($1, now()), $2, (''1 '' || $1)::interval)'
            ') AS periods',
            CASE table_name
                WHEN 'audit_changes' THEN 'captured_at'
                WHEN 'audit_transactions' THEN 'threadline.transaction_began_at(id)'
                ELSE 'threadline.action_recorded_at(id)'
            END, table_name || '_default'
        ) INTO periods USING width, until;
        FOREACH period_start IN ARRAY periods LOOP
            BEGIN
                rows_moved := threadline.create_partition(table_name, period_start, move_at_most);
                CONTINUE WHEN rows_moved IS NULL;
                result := CASE WHEN rows_moved < 0 THEN 'left' ELSE 'created' END;
                PERFORM set_config('lock_timeout', '10ms', true) WHERE result = 'created';
                move_at_most := CASE WHEN rows_moved > 0 THEN 0 ELSE move_at_most END;
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                result := 'locked';
                rows_moved := 0;
            END;
            rows_moved := GREATEST(rows_moved, 0);
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$maintain$;

-- Creates the default partitions, and the partitions of this period and the next three months.
DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['audit_changes', 'audit_transactions', 'audit_actions'] LOOP
        EXECUTE format('CREATE TABLE threadline.%1$I PARTITION OF threadline.%2$I DEFAULT', parent || '_default', parent);
        PERFORM threadline.protect_partition('threadline.' || parent, 'threadline.' || parent || '_default');
        PERFORM threadline.create_partition(parent, period AT TIME ZONE 'UTC', 0)
        FROM threadline.audit_settings
        CROSS JOIN generate_series(date_trunc(partition_width, now() AT TIME ZONE 'UTC'),
            (now() + '3 months') AT TIME ZONE 'UTC', ('1 ' || partition_width)::interval) AS period;
    END LOOP;
END
$$;

-- The context: actor, action and request that the application sets for its transaction.
--
-- Any role can set the settings threadline.actor_ref, threadline.context and threadline.action_id, so
-- their values are untrusted input. record_transaction is the only function that parses them.

-- The id of the current transaction: its start, then its xid. It is computed, so no look-up is needed.
CREATE FUNCTION threadline.current_transaction_id() RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN encode(timestamptz_send(now()) || xid8send(pg_current_xact_id()), 'hex')::uuid;

-- Converts an actor {"type", "id"} to its stored form, type:id or anonymous; null if it is invalid.
-- The limit of an id is MAX_ACTOR_ID_BYTES in the library.
CREATE FUNCTION threadline.actor_text(actor jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN actor ->> 'type' = 'anonymous' THEN 'anonymous'
    WHEN actor ->> 'type' IN ('user', 'admin', 'service_account', 'job', 'system')
        AND jsonb_typeof(actor -> 'id') IN ('string', 'number')
        AND octet_length(actor ->> 'id') BETWEEN 1 AND 512
    THEN (actor ->> 'type') || ':' || (actor ->> 'id')
END;

-- The value of a setting as JSON; null if it is not JSON, or longer than 64 kB.
CREATE FUNCTION threadline.setting_as_jsonb(value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN CASE WHEN octet_length(value) <= 65536 THEN value::jsonb END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

-- Inserts or completes the row of the current transaction, and returns the actor in force. Called when the
-- marker does not match: at the first change of a transaction, and when the context has changed.
--
-- A malformed context is stored unchanged in the column `context`, with the problems in its field
-- context_error; the valid fields are used. An invalid setting never raises an error.
CREATE FUNCTION threadline.record_transaction(this_transaction uuid, settings text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    setting text;
    given jsonb;
    actor text;
    represented text;
    root_action uuid;
    request text;
    correlation text;
    job text;
    problem text;
    marker text;
    hash bigint;
BEGIN
    IF settings <> concat(txid_current(), '|||') THEN
        setting := current_setting('threadline.actor_ref', true);
        IF setting <> '' THEN
            given := threadline.setting_as_jsonb(setting);
            actor := threadline.actor_text(given);
            given := NULL;
            IF actor IS NULL THEN
                problem := concat('threadline.actor_ref: ', left(setting, 1024));
            END IF;
        END IF;
        setting := current_setting('threadline.action_id', true);
        IF setting <> '' THEN
            IF setting ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
                root_action := setting;
            ELSE
                problem := concat_ws(E'\n', problem, 'threadline.action_id: ' || left(setting, 1024));
            END IF;
        END IF;
        setting := current_setting('threadline.context', true);
        IF setting <> '' THEN
            given := threadline.setting_as_jsonb(setting);
            IF jsonb_typeof(given) IS DISTINCT FROM 'object' THEN
                problem := concat_ws(E'\n', problem, 'threadline.context: ' || left(setting, 1024));
                given := NULL;
            ELSE
                request := given ->> 'request_id';
                correlation := given ->> 'correlation_id';
                job := given ->> 'job_id';
                IF octet_length(setting) > 256 THEN -- MAX_ID_BYTES in the library
                    problem := concat_ws(E'\n', problem,
                        CASE WHEN octet_length(request) > 256 THEN 'request_id: longer than 256 bytes' END,
                        CASE WHEN octet_length(correlation) > 256 THEN 'correlation_id: longer than 256 bytes' END,
                        CASE WHEN octet_length(job) > 256 THEN 'job_id: longer than 256 bytes' END
                    );
                END IF;
                IF given ? 'on_behalf_of' THEN
                    represented := threadline.actor_text(given -> 'on_behalf_of');
                    IF represented IS NULL AND given ->> 'on_behalf_of' IS NOT NULL THEN
                        problem := concat_ws(E'\n', problem, 'on_behalf_of: not an actor');
                    END IF;
                END IF;
                IF given ? 'action_id' THEN
                    IF given ->> 'action_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
                        root_action := given ->> 'action_id';
                    ELSE
                        problem := concat_ws(E'\n', problem, 'action_id: not a uuid');
                    END IF;
                END IF;
                IF given - '{source,remote_addr,meta,request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[] <> '{}' THEN
                    problem := concat_ws(E'\n', problem, (
                        SELECT string_agg(left(field, 64) || ': not a field of the context', E'\n')
                        FROM jsonb_object_keys(given - '{source,remote_addr,meta,request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[]) AS field
                    ));
                END IF;
                IF coalesce(problem, '') = '' THEN
                    given := nullif(given - '{request_id,correlation_id,job_id,on_behalf_of,action_id}'::text[], '{}');
                END IF;
            END IF;
        END IF;
        IF problem <> '' THEN
            given := coalesce(given, '{}') || jsonb_build_object('context_error', problem);
            request := CASE WHEN octet_length(request) <= 256 THEN request END;
            correlation := CASE WHEN octet_length(correlation) <= 256 THEN correlation END;
            job := CASE WHEN octet_length(job) <= 256 THEN job END;
        END IF;
    END IF;

    INSERT INTO threadline.audit_transactions (
        id, occurred_at, actor, on_behalf_of, action_id, request_id, correlation_id, job_id, context,
        xid, db_user, application_name, client_addr, backend_pid
    ) VALUES (
        this_transaction, clock_timestamp(), actor, represented, root_action, request, correlation, job, given,
        pg_current_xact_id(), session_user, current_setting('application_name'), inet_client_addr(),
        pg_backend_pid()
    ) ON CONFLICT DO NOTHING;
    IF NOT FOUND AND current_setting('transaction_isolation') <> 'serializable' THEN
        -- The row exists and the context has changed: fill in fields that are null. Not under
        -- SERIALIZABLE, where reading the index could cause serialization failures of other writers.
        UPDATE threadline.audit_transactions AS recorded
        SET action_id = coalesce(recorded.action_id, root_action),
            request_id = coalesce(recorded.request_id, request),
            correlation_id = coalesce(recorded.correlation_id, correlation),
            job_id = coalesce(recorded.job_id, job),
            context = coalesce(given || recorded.context || CASE
                WHEN jsonb_typeof(given -> 'meta') = 'object' AND jsonb_typeof(recorded.context -> 'meta') = 'object'
                THEN jsonb_build_object('meta', (given -> 'meta') || (recorded.context -> 'meta'))
                ELSE '{}'
            END, recorded.context, given)
        WHERE recorded.id = this_transaction
            AND (
                recorded.action_id IS NULL AND root_action IS NOT NULL
                OR recorded.request_id IS NULL AND request IS NOT NULL
                OR recorded.correlation_id IS NULL AND correlation IS NOT NULL
                OR recorded.job_id IS NULL AND job IS NOT NULL
                OR given IS NOT NULL AND (recorded.context @> given) IS NOT TRUE
            );
    END IF;

    -- Set the marker, so that the next change in the same context does not call this function. When a
    -- savepoint is rolled back, PostgreSQL restores the setting together with the row. No marker is set
    -- while capture is suspended or the context is malformed: every change calls this function.
    IF coalesce(problem, '') = '' AND coalesce(current_setting('threadline.suspended', true), '') = '' THEN
        -- Assignments of simple expressions, which do not start the executor as PERFORM would.
        marker := set_config('threadline.recorded', concat(settings, '|', actor), true);
        hash := setval('threadline.capture_session', hashtextextended(marker, 0));
    END IF;
    RETURN actor;
END
$$;

-- The functions that the application calls around its writes. It has no privileges on the tables.

-- Returns a text field of an action, or raises an error if it is too long. The library has the same limits.
CREATE FUNCTION threadline.action_field(action jsonb, field text, max_bytes integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(action -> field) NOT IN ('string', 'null') OR octet_length(action ->> field) > max_bytes THEN
        RAISE EXCEPTION '%: not a text of at most % bytes: %', field, max_bytes, left(action ->> field, 100)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN action ->> field;
END
$$;

-- Records an action in the current transaction and returns its id. `action` has id and name, and
-- optionally status, verb, category, reason, comment and meta; the rest comes from `actor` and `context`.
CREATE FUNCTION threadline.record_action(action jsonb, actor jsonb, context jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    action_id uuid;
    id_time timestamptz;
    actor_given text := threadline.actor_text(actor);
    represented text := threadline.actor_text(context -> 'on_behalf_of');
    transaction_id uuid := threadline.current_transaction_id();
BEGIN
    IF jsonb_typeof(coalesce(context, '{}')) <> 'object' THEN
        RAISE EXCEPTION 'context: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF actor_given IS NULL AND jsonb_typeof(actor) <> 'null' THEN
        RAISE EXCEPTION 'actor: not an actor: %', left(actor::text, 200)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; an id has 1 to 512 bytes.';
    ELSIF represented IS NULL AND context ->> 'on_behalf_of' IS NOT NULL THEN
        RAISE EXCEPTION 'on_behalf_of: not an actor: %', left(context ->> 'on_behalf_of', 200)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_typeof(action -> 'meta') NOT IN ('object', 'null') THEN
        RAISE EXCEPTION 'meta: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(action ->> 'status', 'ok') NOT IN ('ok', 'error') THEN
        RAISE EXCEPTION 'status: not ok or error: %', left(action ->> 'status', 100)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF coalesce(trim(threadline.action_field(action, 'name', 128)), '') = '' THEN
        RAISE EXCEPTION 'name: an action has a name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Actions are partitioned by the time in their ids, so the id must be a recent version 7 uuid.
    IF action ->> 'id' ~* '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
        action_id := action ->> 'id';
        id_time := threadline.action_recorded_at(action_id);
    END IF;
    IF (id_time BETWEEN now() - interval '10 years' AND now() + interval '1 day') IS NOT TRUE THEN
        RAISE EXCEPTION 'id: not a version 7 uuid of the last ten years: %', left(action ->> 'id', 100)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO threadline.audit_actions (
        id, order_id, transaction_id, recorded_at, name, actor, on_behalf_of, status, verb, category,
        reason, comment, correlation_id, request_id, job_id, meta
    ) VALUES (
        action_id, nextval('threadline.audit_changes_id_seq'), transaction_id, clock_timestamp(),
        action ->> 'name', actor_given, represented, coalesce(action ->> 'status', 'ok'),
        threadline.action_field(action, 'verb', 1024),
        threadline.action_field(action, 'category', 1024),
        threadline.action_field(action, 'reason', 65536),
        threadline.action_field(action, 'comment', 65536),
        threadline.action_field(context, 'correlation_id', 256),
        threadline.action_field(context, 'request_id', 256),
        threadline.action_field(context, 'job_id', 256),
        nullif(action -> 'meta', 'null')
    );
    RETURN action_id;
END
$$;

-- Begins audited work in the current transaction: sets the context and records the action, if there is
-- one. `work` is {"actor_ref": ..., "context": {...}, "action": {...}}. Returns the previous settings, for
-- end_audited_work; {} if there were none.
CREATE FUNCTION threadline.begin_audited_work(work jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb;
    outer_context jsonb;
    context jsonb := coalesce(work -> 'context', '{}');
    action_id text;
BEGIN
    IF jsonb_typeof(work) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'work: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF jsonb_typeof(context) <> 'object' THEN
        RAISE EXCEPTION 'context: not a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF work ->> 'actor_ref' IS NOT NULL AND threadline.actor_text(work -> 'actor_ref') IS NULL THEN
        RAISE EXCEPTION 'actor_ref: not an actor: %', left(work ->> 'actor_ref', 200)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; an id has 1 to 512 bytes.';
    END IF;
    IF work ? 'action' THEN
        action_id := threadline.record_action(work -> 'action', work -> 'actor_ref', context);
    END IF;
    before := jsonb_strip_nulls(jsonb_build_object(
        'actor_ref', nullif(current_setting('threadline.actor_ref', true), ''),
        'context', nullif(current_setting('threadline.context', true), ''),
        'action_id', nullif(current_setting('threadline.action_id', true), '')
    ));
    IF before <> '{}' THEN
        outer_context := threadline.setting_as_jsonb(before ->> 'context');
        -- The context has the outermost action, the setting the action in force.
        context := context || jsonb_strip_nulls(jsonb_build_object('action_id', coalesce(
            outer_context ->> 'action_id', before ->> 'action_id', action_id
        )));
        action_id := coalesce(action_id, before ->> 'action_id');
    END IF;
    PERFORM set_config('threadline.actor_ref', coalesce(work ->> 'actor_ref', ''), true),
        set_config('threadline.context', CASE context WHEN '{}' THEN '' ELSE context::text END, true),
        set_config('threadline.action_id', coalesce(action_id, ''), true);
    RETURN before;
END
$$;

-- Ends audited work: restores the previous settings (null: leaves them to end with the transaction) and
-- returns the id of the audit transaction; null if nothing was captured in it.
CREATE FUNCTION threadline.end_audited_work(before jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF before IS NOT NULL THEN
        PERFORM set_config('threadline.actor_ref', coalesce(before ->> 'actor_ref', ''), true),
            set_config('threadline.context', coalesce(before ->> 'context', ''), true),
            set_config('threadline.action_id', coalesce(before ->> 'action_id', ''), true);
    END IF;
    -- The marker of record_transaction begins with the transaction's xid.
    RETURN CASE WHEN starts_with(current_setting('threadline.recorded', true), concat(txid_current_if_assigned(), '|'))
        THEN threadline.current_transaction_id() END;
END
$$;

-- Counts the captured changes of the current transaction: those of an action, or all if it is null. Reads
-- the trail, which can cause serialization failures under SERIALIZABLE.
CREATE FUNCTION threadline.count_audited_work(
    of_action uuid, OUT change_count bigint, OUT table_count bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- The condition on captured_at prunes partitions.
    SELECT count(*), count(DISTINCT (change.table_schema, change.table_name))
    FROM threadline.audit_changes AS change
    WHERE change.transaction_id = threadline.current_transaction_id()
        AND change.captured_at BETWEEN now() - interval '1 day' AND clock_timestamp() + interval '1 day'
        AND (of_action IS NULL OR change.action_id = of_action);
END;

-- The code that all generated capture functions share: it inserts one row into audit_changes for each
-- change, and one into audit_transactions for each transaction.
--
-- record_change and the functions that it calls run inside the capture functions, with the privileges of
-- the trail's owner and their search path (pg_catalog, pg_temp). No other role may execute them. They
-- have no SET clause, which would make every captured write about 10 % slower.

-- The row key of key values: the value itself, or a JSON array of several. A key that is too long for an
-- index, or begins like a digest, is replaced by its digest.
CREATE FUNCTION threadline.row_key(VARIADIC key_values text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    joined text := CASE WHEN cardinality(key_values) = 1 THEN key_values[1] ELSE to_jsonb(key_values)::text END;
BEGIN
    IF octet_length(joined) > 512 OR starts_with(joined, 'sha256:') THEN
        RETURN 'sha256:' || encode(sha256(convert_to(joined, CASE
            WHEN getdatabaseencoding() IN ('SQL_ASCII', 'MULE_INTERNAL') THEN getdatabaseencoding()
            ELSE 'UTF8'
        END)), 'hex');
    END IF;
    RETURN joined;
END
$$;

-- The newest enrolment of a table with a policy; null if the table was never captured.
CREATE FUNCTION threadline.current_enrolment(of_schema text, of_table text) RETURNS threadline.audit_enrolments
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT enrolled FROM threadline.audit_enrolments AS enrolled
    WHERE enrolled.table_name = of_table AND enrolled.table_schema = of_schema AND enrolled.event = 'enabled'
    ORDER BY enrolled.order_id DESC LIMIT 1;
END;

-- Records one change. Returns false if capture of the table is suspended.
--
-- The row of the transaction exists if the marker matches the current settings and currval of
-- capture_session is the hash of the marker. A session can write the marker, but not the sequence.
CREATE FUNCTION threadline.record_change(
    op text, table_schema text, table_name text, table_pk jsonb, row_key text, previous_key text,
    data_after jsonb, changed_from jsonb, actor_required boolean, command_id integer,
    partition_name text DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    this_transaction uuid := encode(timestamptz_send(now()) || xid8send(pg_current_xact_id()), 'hex')::uuid;
    settings text := concat(
        txid_current(),
        '|', current_setting('threadline.actor_ref', true),
        '|', current_setting('threadline.context', true),
        '|', current_setting('threadline.action_id', true)
    );
    marker text := current_setting('threadline.recorded', true);
    is_marked boolean;
    actor text;
    action_id uuid;
    moved_before timestamptz;
    captured_at timestamptz;
BEGIN
    IF starts_with(marker, settings) THEN
        BEGIN
            is_marked := currval('threadline.capture_session') = hashtextextended(marker, 0);
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            NULL; -- this session has recorded nothing, or has executed DISCARD SEQUENCES
        END;
    END IF;
    IF is_marked THEN
        actor := nullif(substr(marker, length(settings) + 2), '');
    ELSE
        -- The setting only selects rows of audit_suspensions, because any role can write it.
        IF current_setting('threadline.suspended', true) <> '' THEN
            IF EXISTS (
                SELECT FROM threadline.audit_suspensions AS suspension
                WHERE suspension.transaction_id = this_transaction
                    AND format('%I.%I', table_schema, table_name) = ANY (suspension.tables)
                    AND suspension.order_id::text = ANY (string_to_array(current_setting('threadline.suspended', true), ','))
            ) THEN
                RETURN false;
            END IF;
        END IF;
        actor := threadline.record_transaction(this_transaction, settings);
    END IF;
    IF current_setting('threadline.action_id', true) <> '' THEN
        -- The marker is set for valid settings only.
        IF is_marked OR current_setting('threadline.action_id', true) ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
            action_id := current_setting('threadline.action_id', true);
        END IF;
    END IF;
    IF actor_required AND actor IS NULL THEN
        RAISE EXCEPTION 'unattributed write to %.% refused: no valid actor is set in this transaction',
            table_schema, table_name
            USING ERRCODE = 'TL001',
                  HINT = 'Write through an audited transaction, or set the actor first: '
                      'SELECT set_config(''threadline.actor_ref'', ''{"type":"user","id":"42"}'', true).';
    END IF;
    IF command_id IS NOT NULL THEN
        PERFORM set_config('threadline.nested', 'on', true);
        SELECT min(change.captured_at) INTO moved_before FROM threadline.audit_changes AS change
        WHERE change.table_name = record_change.table_name AND change.row_key = record_change.row_key
            AND change.table_schema = record_change.table_schema
            AND change.transaction_id = this_transaction AND change.command_id > record_change.command_id;
    END IF;
    captured_at := coalesce(moved_before, clock_timestamp());
    INSERT INTO threadline.audit_changes (
        captured_at, transaction_id, action_id, command_id, actor, op, table_schema, table_name,
        table_pk, row_key, previous_key, data_after, changed_from, partition_name
    ) VALUES (
        captured_at, this_transaction, action_id, command_id, actor, op, table_schema, table_name,
        table_pk, row_key, previous_key, data_after, changed_from, partition_name
    );
    IF previous_key IS NOT NULL THEN
        INSERT INTO threadline.audit_key_changes (
            change_id, captured_at, transaction_id, table_schema, table_name, row_key, previous_key
        ) VALUES (
            currval('threadline.audit_changes_id_seq'), captured_at, this_transaction, table_schema,
            table_name, row_key, previous_key
        );
    END IF;
    IF moved_before IS NOT NULL THEN
        PERFORM threadline.move_later_changes(
            this_transaction, table_schema, table_name, row_key, command_id
        );
    END IF;
    RETURN true;
END
$$;

-- Corrects the order of changes within a statement. PostgreSQL fires the AFTER triggers of a foreign key
-- action at the end of the outer statement, but those of a statement in a trigger immediately. So if both
-- change one row, the later change is captured first. If triggers write audited rows, capture functions
-- pass the command id of a change, otherwise null. A change with a smaller command id than changes that
-- are recorded already gets the captured_at of the first of them, and this function gives them new ids.
CREATE FUNCTION threadline.move_later_changes(
    this_transaction uuid, of_schema text, of_table text, of_key text, command integer
) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    WITH later AS MATERIALIZED (
        SELECT ordered.*, nextval('threadline.audit_changes_id_seq') AS new_id FROM (
            SELECT change.captured_at, change.id FROM threadline.audit_changes AS change
            WHERE change.table_name = of_table AND change.row_key = of_key AND change.table_schema = of_schema
                AND change.transaction_id = this_transaction AND change.command_id > command
            ORDER BY change.id
        ) AS ordered
    ), key_changes AS (
        UPDATE threadline.audit_key_changes AS change SET change_id = later.new_id
        FROM later WHERE change.captured_at = later.captured_at AND change.change_id = later.id
    )
    UPDATE threadline.audit_changes AS change SET id = later.new_id
    FROM later WHERE change.captured_at = later.captured_at AND change.id = later.id;
END;

-- Capture of changes that the generated function of a table cannot store: a column was renamed or dropped
-- or its type was changed, or a value is too large for jsonb. Builds a query from the catalog and the
-- deployed policy. It is slow; coverage reports tables that need it.

-- The policy in the comment of a capture function; null if the comment has none.
CREATE FUNCTION threadline.policy_of(function_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    policy jsonb;
BEGIN
    policy := obj_description(function_oid, 'pg_proc');
    RETURN CASE
        WHEN jsonb_typeof(policy #> '{table,columns}') = 'array' AND policy #>> '{table,name,name}' <> ''
        THEN policy
    END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL; -- a comment that is not JSON
END
$$;

-- The table declaration in the policy of a relation's capture trigger; {} without a trigger, so that no
-- column has a rule.
CREATE FUNCTION threadline.deployed_policy(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce((
    SELECT threadline.policy_of(tgfoid) -> 'table' FROM pg_trigger
    WHERE tgrelid = relation AND tgname = '00_threadline_capture'
), '{}');

-- The base type of a type, through nested domains.
CREATE FUNCTION threadline.base_type(type_oid oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH RECURSIVE chain (oid, base, kind) AS (
        SELECT oid, typbasetype, typtype FROM pg_type WHERE oid = type_oid
        UNION ALL
        SELECT type.oid, type.typbasetype, type.typtype
        FROM chain JOIN pg_type AS type ON type.oid = chain.base
        WHERE chain.kind = 'd'
    )
    SELECT oid FROM chain WHERE kind <> 'd'
);

-- The expression that stores a value, equal to the generator's. JSON has no -0 and no array bounds, and
-- jsonb does not preserve json documents, so these values are stored as text.
CREATE FUNCTION threadline.stored_expression(value text, value_type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT CASE
        WHEN type.typnamespace <> 'pg_catalog'::regnamespace AND type.typtype <> 'e'
            OR type.typname IN ('json', '_json', '_jsonb')
        THEN format('%s::text', value)
        WHEN type.typname IN ('float4', 'float8')
        THEN format('CASE WHEN %1$s::text = ''-0'' THEN to_jsonb(%1$s::text) ELSE to_jsonb(%1$s) END', value)
        WHEN type.typcategory = 'A'
        THEN format(
            'CASE WHEN array_dims(%1$s) ~ ''[[](?!1:)'' OR %1$s::text ~ ''[{,]-0[,}]'' '
            'THEN to_jsonb(%1$s::text) ELSE to_jsonb(%1$s) END', value)
        ELSE value
    END
    FROM pg_type AS type WHERE type.oid = threadline.base_type(value_type)
);

-- The query that returns, for rows $1 (old) and $2 (new) of a relation, both images, the names of the
-- columns that differ, and both keys. Values longer than `max_bytes` are replaced by size and digest.
CREATE FUNCTION threadline.fallback_query(relation oid, policy jsonb, max_bytes integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH enrolment AS (
        SELECT * FROM threadline.current_enrolment(policy #>> '{name,schema}', policy #>> '{name,name}')
    ), key_column AS (
        -- Key columns are found by attribute number, which a rename does not change; partitions and
        -- children have the same names. If the table was created again, by a restore, they are found by name.
        SELECT part.position, coalesce(attribute.attname::text, part.name) AS name
        FROM enrolment
        CROSS JOIN unnest(enrolment.key_columns, enrolment.key_attnums)
            WITH ORDINALITY AS part (name, attnum, position)
        LEFT JOIN pg_attribute AS attribute
            ON attribute.attrelid = enrolment.relation AND attribute.attnum = part.attnum
                AND NOT attribute.attisdropped
                AND enrolment.relation IN (
                    SELECT fallback_query.relation
                    UNION ALL SELECT pg_partition_root(fallback_query.relation)
                    UNION ALL SELECT inhparent FROM pg_inherits WHERE inhrelid = fallback_query.relation
                )
    ), stored AS (
        SELECT attribute.attnum, attribute.attname::text AS name, declared.rule, side.alias,
            CASE WHEN attribute.atttypid = 'bytea'::regtype THEN '' ELSE '::text COLLATE "C"' END AS compared_as,
            CASE
                WHEN declared.rule = 'mask' THEN format('%L::text', policy ->> 'mask_with')
                WHEN declared.rule = 'mask_keep_null' THEN
                    format('CASE WHEN %s IS DISTINCT FROM NULL THEN %L END', column_ref, policy ->> 'mask_with')
                WHEN max_bytes IS NULL THEN threadline.stored_expression(column_ref, attribute.atttypid)
                ELSE format(
                    'CASE WHEN octet_length(%1$s) > %2$s THEN to_jsonb(format(''[TOO LARGE: %%s bytes, sha256:%%s]'', '
                    'octet_length(%1$s), encode(sha256(%1$s), ''hex''))) ELSE to_jsonb(%3$s) END',
                    CASE attribute.atttypid WHEN 'bytea'::regtype THEN column_ref
                        ELSE format('convert_to(%s::text, getdatabaseencoding())', column_ref) END,
                    max_bytes, threadline.stored_expression(column_ref, attribute.atttypid)
                )
            END AS expression
        FROM pg_attribute AS attribute
        CROSS JOIN (VALUES ('o'), ('n')) AS side (alias)
        CROSS JOIN format('%s.%I', side.alias, attribute.attname) AS column_ref
        LEFT JOIN jsonb_array_elements(policy -> 'columns') AS listed ON listed ->> 'name' = attribute.attname
        CROSS JOIN coalesce(listed ->> 'rule', 'unclassified') AS declared (rule)
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
            AND attribute.attgenerated <> 'v' -- triggers do not see the value
            AND declared.rule <> 'exclude'
    ), image AS (
        SELECT alias, string_agg(format('jsonb_build_object(%L, %s)', name, expression), ' || ' ORDER BY attnum) AS expression
        FROM stored WHERE rule <> 'unclassified' GROUP BY alias
    ), row_key AS (
        SELECT side.alias,
            string_agg(format('%L, %s.%I::text', name, side.alias, name), ', ' ORDER BY position) AS pairs,
            string_agg(format('%s.%I::text', side.alias, name), ', ' ORDER BY position) AS key_values
        FROM key_column CROSS JOIN (VALUES ('o'), ('n')) AS side (alias)
        GROUP BY side.alias
        HAVING bool_and(name IN (SELECT attname FROM pg_attribute WHERE attrelid = relation AND NOT attisdropped))
    )
    SELECT format(
        'SELECT %s, %s, array_remove(ARRAY[%s]::text[], NULL), %s, %s, %s FROM (SELECT ($1).*) AS o, (SELECT ($2).*) AS n',
        coalesce((SELECT expression FROM image WHERE alias = 'o'), '''{}''::jsonb'),
        coalesce((SELECT expression FROM image WHERE alias = 'n'), '''{}''::jsonb'),
        (SELECT string_agg(format('CASE WHEN o.%1$I%2$s IS DISTINCT FROM n.%1$I%2$s THEN %1$L END', name, compared_as), ', ')
            FROM stored WHERE alias = 'n' AND rule <> 'ignore'),
        coalesce((SELECT format('threadline.row_key(%s)', key_values) FROM row_key WHERE alias = 'o'), 'NULL::text'),
        coalesce((SELECT format('threadline.row_key(%s)', key_values) FROM row_key WHERE alias = 'n'), 'NULL::text'),
        coalesce((SELECT format('jsonb_build_object(%s)', pairs) FROM row_key WHERE alias = 'n'), 'NULL::jsonb')
    )
);

-- Builds the arguments of record_change for a change. The SET clauses fix every setting that affects the
-- text form of values. changed_from is null for an update that changed no stored column.
CREATE FUNCTION threadline.fallback_change(
    relation oid, op text, old_row record, new_row record,
    OUT table_pk jsonb, OUT row_key text, OUT previous_key text, OUT data_after jsonb, OUT changed_from jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET bytea_output = 'hex'
SET extra_float_digits = 1 SET lc_monetary = 'C' AS $$
DECLARE
    policy jsonb := threadline.deployed_policy(relation);
    old_image jsonb;
    new_image jsonb;
    changed text[];
    old_key text;
    new_key text;
BEGIN
    -- An insert has no old row and a delete no new row: use the same row for both.
    old_row := coalesce(old_row, new_row);
    new_row := coalesce(new_row, old_row);
    BEGIN
        EXECUTE threadline.fallback_query(relation, policy, NULL)
            INTO old_image, new_image, changed, old_key, new_key, table_pk USING old_row, new_row;
    EXCEPTION WHEN OTHERS THEN
        EXECUTE threadline.fallback_query(relation, policy, 1048576)
            INTO old_image, new_image, changed, old_key, new_key, table_pk USING old_row, new_row;
    END;
    row_key := CASE op WHEN 'DELETE' THEN old_key ELSE new_key END;
    data_after := CASE op WHEN 'DELETE' THEN NULL ELSE new_image END;
    IF op = 'DELETE' THEN
        changed_from := old_image;
    ELSIF op = 'UPDATE' AND (cardinality(changed) > 0 OR old_key IS DISTINCT FROM new_key) THEN
        -- Ignored columns are included if they differ. Of a column without a rule, such as a renamed one, the
        -- name is stored, but not the value.
        SELECT coalesce(jsonb_object_agg(name, coalesce(old_image -> name, '"[UNCLASSIFIED]"')), '{}') INTO changed_from
        FROM (
            SELECT unnest(changed)
            UNION SELECT key FROM jsonb_each(old_image) WHERE new_image -> key IS DISTINCT FROM value
        ) AS different (name);
        previous_key := nullif(old_key, new_key);
    END IF;
END
$$;

-- Captures TRUNCATE, which fires no row trigger. The trigger is on the audited table, its partitions and
-- its inheritance children. Its arguments are schema and name of the audited table, and whether an actor
-- is required ('true' or 'false').
--
-- partition_name is null if the whole table was truncated; otherwise it is the truncated part.
CREATE FUNCTION threadline.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $truncate$
DECLARE
    part text;
    last record;
BEGIN
    -- The audited table itself: it has the declared name or, after a rename, the enrolled oid.
    IF (TG_TABLE_SCHEMA, TG_TABLE_NAME) = (TG_ARGV[0], TG_ARGV[1])
        OR TG_RELID = (threadline.current_enrolment(TG_ARGV[0], TG_ARGV[1])).relation
    THEN
        -- TRUNCATE locks inheritance children, TRUNCATE ONLY does not. (If the transaction had locked them
        -- before, ONLY cannot be detected.)
        IF EXISTS (
            SELECT FROM pg_inherits AS inherits
            JOIN pg_class AS child ON child.oid = inherits.inhrelid AND child.relpersistence <> 't'
            WHERE inherits.inhparent = TG_RELID AND NOT EXISTS (
                SELECT FROM pg_locks AS held
                WHERE held.locktype = 'relation' AND held.relation = child.oid
                    AND held.pid = pg_backend_pid() AND held.mode = 'AccessExclusiveLock'
            )
        ) THEN
            part := TG_RELID::regclass;
        END IF;
    ELSE
        -- A detached partition keeps this trigger, but loses the row trigger.
        IF NOT EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = TG_RELID AND tgname = '00_threadline_capture'
        ) THEN
            RETURN NULL;
        END IF;
        part := TG_RELID::regclass;
        -- TRUNCATE of the table fires the triggers of its parts afterwards. A part needs no record if the
        -- last change of this transaction is that truncate and capture was not suspended.
        SELECT change.op, change.partition_name INTO last FROM threadline.audit_changes AS change
        WHERE change.transaction_id = threadline.current_transaction_id()
            AND change.table_schema = TG_ARGV[0] AND change.table_name = TG_ARGV[1]
            AND change.captured_at > now() - interval '1 day'
        ORDER BY change.id DESC LIMIT 1;
        IF last.op = 'truncate'
            AND (last.partition_name IS NULL OR last.partition_name IN (
                SELECT relid::text FROM pg_partition_ancestors(TG_RELID)
            ))
            AND NOT EXISTS (
                SELECT FROM threadline.audit_suspensions AS suspension
                WHERE suspension.transaction_id = threadline.current_transaction_id()
            )
        THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM threadline.record_change(
        'truncate', TG_ARGV[0], TG_ARGV[1], NULL, NULL, NULL, NULL, NULL, TG_ARGV[2]::boolean, NULL, part
    );
    RETURN NULL;
END
$truncate$;

-- Enabling and disabling capture of a table; called by generated migrations.

-- A relation with its partitions and inheritance children.
CREATE FUNCTION threadline.relations_of(root regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE family (oid, depth) AS (
        SELECT root::oid, 0
        UNION
        SELECT inhrelid, depth + 1 FROM pg_inherits JOIN family ON inhparent = family.oid
    )
    SELECT oid::regclass FROM family GROUP BY oid ORDER BY min(depth), oid;
END;

-- Locks all of the tables or, if an attempt fails, none. An attempt waits for less than the default
-- deadlock_timeout, so that no writer is aborted by a deadlock.
CREATE FUNCTION threadline.lock_tables_with_retry(tables regclass[], lock_mode text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relations text := (
        SELECT string_agg(relation::text, ', ')
        FROM (SELECT DISTINCT threadline.relations_of(root) AS relation FROM unnest(tables) AS root) AS found
    );
    timeout_before text := current_setting('lock_timeout');
BEGIN
    IF relations IS NULL THEN
        RETURN;
    END IF;
    FOR attempt IN 1 .. 100 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '250ms', true);
            EXECUTE format('LOCK TABLE %s IN %s MODE', relations, lock_mode);
            PERFORM set_config('lock_timeout', timeout_before, true);
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.05 + random() * 0.1);
        END;
    END LOOP;
    RAISE EXCEPTION 'tables are busy: %', relations
        USING ERRCODE = 'lock_not_available',
              HINT = 'Nothing was changed. Run the migration again when fewer long transactions are running.';
END
$$;

-- Called first by a generated migration. Serializes enrolments, and blocks writes to tables that get
-- triggers until the migration commits. Tables that have their triggers are not locked, so that replacing
-- a function does not block writers; enable_capture reports tables that do not exist.
CREATE FUNCTION threadline.lock_for_enrolment(VARIADIC tables text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('threadline enrolment', 0));
    PERFORM threadline.lock_tables_with_retry(
        ARRAY(
            SELECT to_regclass(given) FROM unnest(tables) AS given
            WHERE EXISTS (
                SELECT threadline.relations_of(to_regclass(given))
                EXCEPT
                SELECT tgrelid FROM pg_trigger WHERE tgname = '00_threadline_capture' AND tgenabled IN ('O', 'A')
            )
        ),
        'SHARE ROW EXCLUSIVE'
    );
END
$$;

-- Raises an error if a declaration contradicts the table.
CREATE FUNCTION threadline.check_declaration(shown text, relation regclass, declared jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    table_class pg_class;
    key text[] := ARRAY(SELECT jsonb_array_elements_text(declared #> '{key,columns}'));
    primary_key text[];
    key_is_unique boolean;
    wanted record;
BEGIN
    SELECT * INTO table_class FROM pg_class WHERE oid = relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % does not exist', shown
            USING HINT = 'Run the migration that creates it first, or correct its name in the code.';
    ELSIF table_class.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table, so its rows cannot be captured', shown
            USING HINT = 'Audit the tables that it reads.';
    ELSIF table_class.relispartition THEN
        RAISE EXCEPTION 'table % is a partition of %', shown, pg_partition_root(relation)
            USING HINT = format('Audit %s: its partitions are captured with it.', pg_partition_root(relation));
    END IF;
    -- Inheritance children have the capture triggers of their parent, so they cannot have their own.
    SELECT other AS name INTO wanted
    FROM threadline.relations_of(relation) AS holder
    CROSS JOIN LATERAL threadline.deployed_policy(holder) AS policy
    CROSS JOIN to_regclass(quote_ident(policy #>> '{name,schema}') || '.' || quote_ident(policy #>> '{name,name}')) AS other
    WHERE other <> relation;
    IF FOUND THEN
        RAISE EXCEPTION 'of the tables % and %, which would both be captured, one is an inheritance child of the other', shown, wanted.name
            USING HINT = 'Audit the parent: its children are captured with it. Disable capture of the other first.';
    END IF;
    FOR wanted IN
        SELECT col ->> 'name' AS name, col ->> 'rule' AS rule, type.typname AS found, attribute.attgenerated AS generated,
            coalesce(col #>> '{column_type,builtin}', '_' || (col #>> '{column_type,array}')) AS declared_type
        FROM jsonb_array_elements(declared -> 'columns') AS col
        LEFT JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation AND attribute.attname = col ->> 'name'
                AND attribute.attnum > 0 AND NOT attribute.attisdropped
        LEFT JOIN pg_type AS type ON type.oid = threadline.base_type(attribute.atttypid)
    LOOP
        IF wanted.found IS NULL THEN
            RAISE EXCEPTION 'table %: column "%" is declared in the code, but not in the database', shown, wanted.name
                USING HINT = 'Run the migration that adds it first, or take it out of the code (diesel print-schema) and generate again.';
        ELSIF wanted.generated = 'v' AND wanted.rule <> 'exclude' THEN
            RAISE EXCEPTION 'table %: column "%" is a virtual generated column, whose values no trigger sees', shown, wanted.name
                USING HINT = format('Exclude it, #[audited(exclude(%s))] or --exclude %1$s, and generate again; or have it stored: GENERATED ALWAYS AS (...) STORED.', wanted.name);
        ELSIF wanted.declared_type <> wanted.found
            AND NOT (ltrim(wanted.declared_type, '_') IN ('text', 'varchar', 'bpchar', 'name')
                AND wanted.found IN ('text', 'varchar', 'bpchar', 'name', 'citext', '_text', '_varchar', '_bpchar')
                AND starts_with(wanted.declared_type, '_') = starts_with(wanted.found, '_'))
        THEN
            RAISE EXCEPTION 'table %: column "%" is declared as %, but is % in the database',
                shown, wanted.name, wanted.declared_type, wanted.found
                USING HINT = 'Correct the type in the code (diesel print-schema) and generate again.';
        END IF;
    END LOOP;
    -- The primary key, and the unique indexes whose columns are the declared key.
    SELECT max(columns) FILTER (WHERE indisprimary), coalesce(bool_or(columns @> key AND key @> columns), false)
    INTO primary_key, key_is_unique
    FROM (
        SELECT indisprimary, array_agg(attname::text ORDER BY position) AS columns
        FROM pg_index
        CROSS JOIN unnest(indkey::smallint[]) WITH ORDINALITY AS part (number, position)
        JOIN pg_attribute ON attrelid = relation AND attnum = number
        WHERE indrelid = relation AND position <= indnkeyatts
            AND (indisprimary OR indisunique AND indisvalid AND indimmediate AND indpred IS NULL AND indexprs IS NULL)
        GROUP BY indexrelid, indisprimary
        HAVING bool_and(attnotnull)
    ) AS candidate;
    IF primary_key IS NOT NULL AND NOT (primary_key @> key AND key @> primary_key) THEN
        RAISE EXCEPTION 'table %: its primary key is (%), but the code declares %', shown, array_to_string(primary_key, ', '),
            coalesce('(' || nullif(array_to_string(key, ', '), '') || ')', 'no key')
            USING HINT = 'Correct the key in the code (diesel print-schema) and generate again.';
    ELSIF primary_key IS NULL AND cardinality(key) > 0 AND NOT key_is_unique THEN
        RAISE EXCEPTION 'table % has no primary key, and no unique index makes (%) one', shown, array_to_string(key, ', ')
            USING HINT = 'Add a primary key, or a plain unique index over columns that are NOT NULL, or declare the table without a key.';
    END IF;
END
$$;

-- Creates or replaces a trigger unless it exists with this definition, in the form of pg_get_triggerdef, and
-- is enabled. Returns whether it did.
CREATE FUNCTION threadline.create_trigger(relation regclass, name text, definition text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = relation AND tgname = name AND tgenabled IN ('O', 'A')
            AND pg_get_triggerdef(oid) = format('CREATE TRIGGER %I %s', name, definition)
    ) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE OR REPLACE TRIGGER %I %s', name, definition);
    EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', relation, name);
    RETURN true;
END
$$;

-- Creates capture triggers that are missing or differ. PostgreSQL copies row triggers of a partitioned
-- table to its partitions, also to those attached later, but neither truncate triggers nor triggers to
-- inheritance children. Returns whether all row triggers existed. The names begin with 00, because
-- PostgreSQL fires triggers in the order of their names.
CREATE FUNCTION threadline.create_triggers(root regclass, declared jsonb, function_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_partitioned boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = root);
    was_captured boolean := true;
    relation regclass;
BEGIN
    FOR relation IN SELECT threadline.relations_of(root) LOOP
        IF relation = root OR NOT is_partitioned THEN
            was_captured := NOT threadline.create_trigger(relation, '00_threadline_capture', format(
                'AFTER INSERT OR DELETE OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION threadline.%I()',
                relation, function_name
            )) AND was_captured;
        END IF;
        PERFORM threadline.create_trigger(relation, '00_threadline_truncate', format(
            'AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION threadline.capture_truncate(%L, %L, %L)',
            relation, declared #>> '{name,schema}', declared #>> '{name,name}', (declared ->> 'actor' = 'required')::text
        ));
    END LOOP;
    RETURN was_captured;
END
$$;

-- Enables capture of a table by its generated function, whose comment has the policy, or deploys a changed
-- policy. Also creates missing triggers, for example of a new child table.
CREATE FUNCTION threadline.enable_capture(table_schema text, table_name text, function_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown text := format('%I.%I', table_schema, table_name);
    root regclass := to_regclass(shown);
    policy jsonb := threadline.policy_of(format('threadline.%I()', function_name)::regprocedure);
    previous threadline.audit_enrolments := threadline.current_enrolment(table_schema, table_name);
    transaction_id uuid := threadline.current_transaction_id();
    order_id bigint;
    key_columns text[];
    key_attnums smallint[];
    key_since bigint;
    columns jsonb;
    was_captured boolean;
    table_was_empty boolean;
BEGIN
    PERFORM threadline.check_declaration(shown, root, policy -> 'table');
    PERFORM threadline.lock_for_enrolment(shown);
    -- A role with EXECUTE on a trigger function could create a trigger on its own table and forge changes.
    PERFORM threadline.revoke_all(format('FUNCTION threadline.%I()', function_name), proowner, coalesce(proacl, acldefault('f', proowner)))
    FROM pg_proc WHERE oid = format('threadline.%I()', function_name)::regprocedure;
    was_captured := threadline.create_triggers(root, policy -> 'table', function_name);

    SELECT coalesce(array_agg(part.name ORDER BY part.position), '{}'), coalesce(array_agg(attribute.attnum ORDER BY part.position), '{}')
    INTO key_columns, key_attnums
    FROM jsonb_array_elements_text(policy #> '{table,key,columns}') WITH ORDINALITY AS part (name, position)
    JOIN pg_attribute AS attribute ON attribute.attrelid = root AND attribute.attname = part.name;
    SELECT jsonb_agg(jsonb_build_object(
        'name', attribute.attname, 'attnum', attribute.attnum, 'rule', declared ->> 'rule',
        'type', format_type(attribute.atttypid, attribute.atttypmod)
    ) ORDER BY attribute.attnum) INTO columns
    FROM jsonb_array_elements(policy #> '{table,columns}') AS declared
    JOIN pg_attribute AS attribute ON attribute.attrelid = root AND attribute.attname = declared ->> 'name'
        AND NOT attribute.attisdropped;
    -- The key definition is unchanged if it has the same columns by attribute number, which allows renames;
    -- or, if the relation is another one (restored, created again), columns of the same names.
    key_since := CASE
        WHEN previous.order_id IS NULL THEN 0
        WHEN previous.relation = root::oid AND previous.key_attnums = key_attnums
            OR previous.relation <> root::oid AND previous.key_columns = key_columns
        THEN previous.key_since
    END;
    IF key_since IS NULL THEN
        -- Block writes, so that no change under the old key gets an id after the new definition.
        PERFORM threadline.lock_tables_with_retry(ARRAY[root], 'SHARE ROW EXCLUSIVE');
    END IF;
    order_id := nextval('threadline.audit_changes_id_seq');
    EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', root) INTO table_was_empty;
    INSERT INTO threadline.audit_enrolments (
        order_id, transaction_id, table_schema, table_name, event, recorded_at, recorded_by, relation, policy_hash,
        key_columns, key_attnums, key_since, columns, was_captured, table_was_empty, partition_columns
    ) VALUES (
        order_id, transaction_id, table_schema, table_name, 'enabled', clock_timestamp(), session_user, root,
        policy ->> 'hash', key_columns, key_attnums, coalesce(key_since, order_id), columns, was_captured, table_was_empty,
        ARRAY(
            SELECT attribute.attname::text FROM pg_partitioned_table AS partitioned
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = root AND attribute.attnum = ANY (partitioned.partattrs::smallint[])
            WHERE partitioned.partrelid = root
        )
    );
END
$$;

-- Disables capture of a table. Its records are kept.
CREATE FUNCTION threadline.disable_capture(table_schema text, table_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    root regclass := to_regclass(format('%I.%I', table_schema, table_name));
    transaction_id uuid := threadline.current_transaction_id();
    found_trigger record;
BEGIN
    IF root IS NOT NULL THEN
        PERFORM threadline.lock_tables_with_retry(ARRAY[root], 'ACCESS EXCLUSIVE');
        FOR found_trigger IN
            SELECT tgname, tgrelid::regclass AS relation FROM pg_trigger
            WHERE tgrelid IN (SELECT threadline.relations_of(root)) AND tgparentid = 0
                AND tgname IN ('00_threadline_capture', '00_threadline_truncate')
        LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', found_trigger.tgname, found_trigger.relation);
        END LOOP;
    END IF;
    INSERT INTO threadline.audit_enrolments (
        order_id, transaction_id, table_schema, table_name, event, recorded_at, recorded_by, relation
    ) VALUES (
        nextval('threadline.audit_changes_id_seq'), transaction_id, table_schema, table_name, 'disabled',
        clock_timestamp(), session_user, root
    );
END
$$;

-- The trail is append-only, also for its owner. Two exceptions: functions that record their removals, and
-- capture, which updates rows that the current transaction inserted.

-- Allows (true) or forbids (false) updates and deletes of the trail in this transaction.
CREATE FUNCTION threadline.allow_trail_delete(allowed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('threadline.trail_delete', CASE WHEN allowed THEN 'on' ELSE '' END, true);
END
$$;

-- Whether they are allowed. Any role can write the setting, but only the owner may execute this function:
-- the triggers below raise an error for other roles.
CREATE FUNCTION threadline.trail_delete_is_allowed() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(current_setting('threadline.trail_delete', true) = 'on', false)
$$;

CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_transactions
    FOR EACH ROW WHEN (NOT threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.guard_record('id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_changes
    FOR EACH ROW WHEN (NOT threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.guard_record('transaction_id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_actions
    FOR EACH ROW WHEN (NOT threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.guard_record('transaction_id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON threadline.audit_key_changes
    FOR EACH ROW WHEN (NOT threadline.trail_delete_is_allowed()) EXECUTE FUNCTION threadline.guard_record('transaction_id');

CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_changes
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_actions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_key_changes
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();

CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_enrolments
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_suspensions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON threadline.audit_removals
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();

-- Suspends capture for bulk maintenance, until the transaction ends or resume_capture is called. Needs
-- EXECUTE on suspend_capture, which no role has by default. The suspension is recorded with its tables,
-- role and reason; the changes made during it are not.

CREATE FUNCTION threadline.suspend_capture(tables regclass[], reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    transaction_id uuid := threadline.current_transaction_id();
    order_id bigint := nextval('threadline.audit_changes_id_seq');
    declared_names text[];
    not_captured regclass;
BEGIN
    IF coalesce(cardinality(tables), 0) = 0 OR coalesce(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'suspend_capture needs tables and a reason' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The declared names, which capture uses.
    SELECT array_agg(declared_name ORDER BY declared_name),
        (array_agg(given) FILTER (WHERE policy = '{}' OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = given)))[1]
    INTO declared_names, not_captured
    FROM unnest(tables) AS given
    CROSS JOIN LATERAL threadline.deployed_policy(given) AS policy
    CROSS JOIN concat_ws('.', quote_ident(policy #>> '{name,schema}'), quote_ident(policy #>> '{name,name}')) AS declared_name;
    IF not_captured IS NOT NULL THEN
        RAISE EXCEPTION 'capture of % cannot be suspended: it is not captured by that name', not_captured
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'For a partition or an inheritance child, name the root.';
    END IF;
    INSERT INTO threadline.audit_suspensions (
        order_id, transaction_id, suspended_at, suspended_by, reason, tables
    ) VALUES (
        order_id, transaction_id, clock_timestamp(), session_user, reason, declared_names
    );
    -- Capture checks for suspensions only if its marker does not match, so clear the marker.
    PERFORM set_config('threadline.recorded', '', true), set_config('threadline.suspended',
        concat_ws(',', nullif(current_setting('threadline.suspended', true), ''), order_id), true);
END
$$;

CREATE FUNCTION threadline.resume_capture() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('threadline.suspended', '', true);
END
$$;

-- Erasure of values, and records of all removals.

CREATE FUNCTION threadline.record_removal(kind text, reason text, scope jsonb, change_count bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    transaction_id uuid := threadline.current_transaction_id();
BEGIN
    IF coalesce(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'a removal needs a reason' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO threadline.audit_removals (
        order_id, transaction_id, removed_at, removed_by, kind, reason, scope, change_count
    ) VALUES (
        nextval('threadline.audit_changes_id_seq'), transaction_id, clock_timestamp(), session_user,
        kind, reason, scope, change_count
    );
END
$$;

-- Erases the values of columns in all stored images of one row, also under its earlier keys. The changes
-- themselves are kept. Returns the number of updated changes.
CREATE FUNCTION threadline.erase_values(
    of_schema text, of_table text, of_key text, columns text[], reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known_columns text[];
    unknown text;
    is_recorded boolean;
    includes_key boolean;
    erased bigint;
BEGIN
    -- The columns of all policies of the table; images have the names that renamed columns had then.
    SELECT array_agg(DISTINCT col ->> 'name') INTO known_columns
    FROM threadline.audit_enrolments AS enrolled
    CROSS JOIN LATERAL jsonb_array_elements(enrolled.columns) AS col
    WHERE enrolled.table_schema = of_schema AND enrolled.table_name = of_table;
    IF known_columns IS NULL THEN
        RAISE EXCEPTION 'table %.% was never under capture', of_schema, of_table
            USING ERRCODE = 'undefined_table';
    ELSIF coalesce(cardinality(columns), 0) = 0 OR array_position(columns, NULL) > 0 THEN
        RAISE EXCEPTION 'erase_values needs columns' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT name INTO unknown FROM unnest(columns) AS name WHERE NOT name = ANY (known_columns);
    IF FOUND THEN
        RAISE EXCEPTION 'table %.% never had a captured column "%"', of_schema, of_table, unknown
            USING ERRCODE = 'undefined_column',
                  HINT = 'Its captured columns are ' || array_to_string(known_columns, ', ');
    END IF;
    SELECT count(*) > 0, bool_or(change.table_pk ?| columns) INTO is_recorded, includes_key
    FROM threadline.row_segments(of_schema, of_table, of_key) AS segment
    JOIN threadline.audit_changes AS change
        ON change.table_name = of_table AND change.table_schema = of_schema
            AND change.row_key = segment.row_key
            AND change.id BETWEEN segment.first_id AND segment.last_id;
    IF NOT is_recorded THEN
        RAISE EXCEPTION 'no changes are recorded for the row with key % of table %.%', of_key, of_schema, of_table
            USING ERRCODE = 'no_data_found';
    ELSIF includes_key THEN
        RAISE EXCEPTION 'key columns cannot be erased: without its key a change belongs to no row'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM threadline.allow_trail_delete(true);
    UPDATE threadline.audit_changes AS change
    SET data_after = data_after || (
            SELECT coalesce(jsonb_object_agg(name, '[ERASED]'), '{}') FROM unnest(columns) AS name WHERE data_after ? name),
        changed_from = changed_from || (
            SELECT coalesce(jsonb_object_agg(name, '[ERASED]'), '{}') FROM unnest(columns) AS name WHERE changed_from ? name)
    FROM threadline.row_segments(of_schema, of_table, of_key) AS segment
    WHERE change.table_name = of_table AND change.table_schema = of_schema
        AND change.row_key = segment.row_key
        AND change.id BETWEEN segment.first_id AND segment.last_id
        AND (change.data_after ?| columns OR change.changed_from ?| columns);
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM threadline.allow_trail_delete(false);
    PERFORM threadline.record_removal(
        'erasure', reason,
        jsonb_build_object('table_schema', of_schema, 'table_name', of_table, 'row_key', of_key, 'columns', columns),
        erased
    );
    RETURN erased;
END
$$;

-- Removal of expired records: four functions for a role that purges the trail. Each call is bounded and
-- records its removals. The caller decides which records are expired.

CREATE TABLE threadline.audit_retention_runs (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state             text COLLATE "C" NOT NULL
        CHECK (state IN ('running', 'completed', 'stopped', 'failed', 'abandoned')),
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz,
    started_by        text        NOT NULL DEFAULT session_user,
    lease_until       timestamptz NOT NULL,
    policy            jsonb       NOT NULL,
    cutoffs           jsonb       NOT NULL,
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
    'One row for each purge: policy, lease, state and numbers of removed records.';
-- One run at a time.
CREATE UNIQUE INDEX audit_retention_runs_running_idx ON threadline.audit_retention_runs (state) WHERE state = 'running';
CREATE TRIGGER guard_finished BEFORE UPDATE ON threadline.audit_retention_runs
    FOR EACH ROW WHEN (OLD.state <> 'running') EXECUTE FUNCTION threadline.guard_record();
CREATE TRIGGER guard_record BEFORE DELETE OR TRUNCATE ON threadline.audit_retention_runs
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();

CREATE TABLE threadline.audit_horizons (
    table_schema  text COLLATE "C" NOT NULL,
    table_name    text COLLATE "C" NOT NULL,
    purged_before timestamptz NOT NULL,
    PRIMARY KEY (table_name, table_schema)
);
COMMENT ON TABLE threadline.audit_horizons IS 'One row for each table of which retention removed changes: its last cut-off.';

CREATE TABLE threadline.audit_restored_spans (
    from_instant timestamptz PRIMARY KEY,
    to_instant   timestamptz NOT NULL,
    first_id     bigint      NOT NULL,
    last_id      bigint      NOT NULL,
    keep_until   timestamptz NOT NULL,
    reason       text        NOT NULL
);
COMMENT ON TABLE threadline.audit_restored_spans IS
    'One row for each partition of changes restored from an archive. A purge keeps all before its end until keep_until.';

-- Records a removal by retention, and raises the horizon of the tables to the cut-off. `before` is the cut-off of
-- removed transactions and actions, which belong to no table.
CREATE FUNCTION threadline.record_purge(
    reason text, schemas text[], tables text[], cutoff timestamptz, removed bigint, more jsonb
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO threadline.audit_horizons AS horizon (table_schema, table_name, purged_before)
    SELECT purged.*, cutoff FROM unnest(schemas, tables) AS purged
    ON CONFLICT (table_name, table_schema) DO UPDATE SET purged_before = EXCLUDED.purged_before
    WHERE horizon.purged_before < EXCLUDED.purged_before;
    PERFORM threadline.record_removal('retention', reason, more || jsonb_build_object('before', cutoff, 'cutoffs', (
        SELECT coalesce(jsonb_object_agg(format('%I.%I', purged.schema, purged.name), cutoff), '{}')
        FROM unnest(schemas, tables) AS purged (schema, name)
    )), removed);
END
$$;

-- Removes the oldest changes of one table captured before an instant: at most `batch`, from one partition.
-- 0 means that none are left. A transaction is removed with its last change if it began before
-- `transactions_before` (null: never). With `keep_last_images`, a row whose newest change is removed gets a
-- new baseline, unless the image may be outdated: the row was deleted, the change is restored, or after it the table
-- was truncated, capture was disabled, or the key was redefined.
CREATE FUNCTION threadline.remove_changes(
    of_schema text, of_table text, before timestamptz, batch integer, reason text,
    keep_last_images boolean DEFAULT false, transactions_before timestamptz DEFAULT 'infinity',
    OUT changes bigint, OUT transactions bigint, OUT baselines bigint
)
-- With stale statistics the planner would choose a sequential scan of the partition.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    this_transaction uuid := threadline.current_transaction_id();
    partition regclass;
    known_after bigint;
    last_at timestamptz;
    ids uuid[];
    -- Nothing is removed before the end of the newest restored span that is kept.
    kept timestamptz := coalesce(
        (SELECT max(to_instant) FROM threadline.audit_restored_spans WHERE keep_until > now()), '-infinity');
BEGIN
    changes := 0; transactions := 0; baselines := 0;
    SELECT change.tableoid INTO partition FROM threadline.audit_changes AS change
    WHERE change.table_name = of_table AND change.table_schema = of_schema AND change.captured_at < before
        AND change.captured_at >= kept
    ORDER BY change.captured_at, change.id LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF keep_last_images THEN
        SELECT max(order_id) INTO known_after FROM (
            SELECT greatest(CASE WHEN event = 'disabled' OR NOT was_captured THEN order_id END, key_since)
            FROM threadline.audit_enrolments WHERE table_name = of_table AND table_schema = of_schema
            UNION ALL
            SELECT max(id) FROM threadline.audit_changes
            WHERE table_name = of_table AND table_schema = of_schema AND row_key IS NULL AND op = 'truncate'
            UNION ALL SELECT max(last_id) FROM threadline.audit_restored_spans
        ) AS ends (order_id);
    END IF;
    PERFORM threadline.allow_trail_delete(true);
    EXECUTE format($sql$
        WITH gone AS (
            DELETE FROM %1$s WHERE ctid = ANY (ARRAY(
                SELECT change.ctid FROM %1$s AS change
                WHERE change.table_name = $1 AND change.table_schema = $2 AND change.captured_at < $3
                ORDER BY change.captured_at, change.id LIMIT $4
            ))
            RETURNING id, captured_at, transaction_id, row_key, table_pk, CASE WHEN $5 THEN data_after END AS image
        ), newest AS (
            SELECT DISTINCT ON (row_key) * FROM gone WHERE $5 AND row_key IS NOT NULL ORDER BY row_key, id DESC
        ), living AS (
            -- LIMIT 1 keeps the planner from turning these index look-ups into joins.
            SELECT * FROM newest WHERE image IS NOT NULL AND id > coalesce($7, 0) AND (
                SELECT later.id FROM threadline.audit_changes AS later WHERE later.table_name = $1
                    AND later.table_schema = $2 AND later.row_key = newest.row_key AND later.id > newest.id LIMIT 1
            ) IS NULL AND (
                SELECT later.change_id FROM threadline.audit_key_changes AS later WHERE later.table_name = $1
                    AND later.table_schema = $2 AND later.previous_key = newest.row_key
                    AND later.change_id > newest.id LIMIT 1
            ) IS NULL
        ), kept AS (
            INSERT INTO threadline.audit_changes
                (captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
            SELECT clock_timestamp(), $6, 'baseline', $2, $1, row_key, table_pk, image FROM living ORDER BY id
            RETURNING id
        )
        SELECT count(*), max(captured_at), array_agg(DISTINCT transaction_id), (SELECT count(*) FROM kept) FROM gone
        $sql$, partition)
    INTO changes, last_at, ids, baselines
    USING of_table, of_schema, before, batch, keep_last_images, this_transaction, known_after;
    PERFORM threadline.record_transaction(this_transaction, concat(txid_current(), '|||')) WHERE baselines > 0;
    DELETE FROM threadline.audit_key_changes AS moved
    WHERE moved.captured_at BETWEEN kept AND last_at AND moved.table_name = of_table AND moved.table_schema = of_schema;

    DELETE FROM threadline.audit_transactions AS emptied
    WHERE emptied.id BETWEEN ids[1] AND ids[cardinality(ids)] AND emptied.id = ANY (ids)
        AND emptied.id < threadline.transaction_id_from(transactions_before) AND (
            SELECT change.id FROM threadline.audit_changes AS change WHERE change.transaction_id = emptied.id LIMIT 1
        ) IS NULL;
    GET DIAGNOSTICS transactions = ROW_COUNT;
    PERFORM threadline.allow_trail_delete(false);
    PERFORM threadline.record_purge(reason, ARRAY[of_schema], ARRAY[of_table], before, changes,
        jsonb_build_object('transactions', transactions, 'baselines', baselines));
END
$$;

-- Drops a partition of the trail that ends in the past; a partition of transactions only if none of them
-- has changes. Returns the number of its rows; null if the lock was not granted within `lock_wait`, a time
-- for which writers wait, too.
CREATE FUNCTION threadline.drop_trail_partition(
    partition_name text, reason text, lock_wait interval DEFAULT '50 milliseconds'
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    removed bigint;
    schemas text[] := '{}';
    tables text[] := '{}';
BEGIN
    SELECT found.* INTO part FROM threadline.trail_partitions() AS found
    WHERE found.partition_name = drop_trail_partition.partition_name AND found.to_instant <= now();
    IF NOT FOUND THEN
        RAISE EXCEPTION '"%" is not a partition of the trail for a time that is past', partition_name
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF part.parent = 'audit_transactions' AND EXISTS (
        SELECT FROM threadline.audit_changes AS change
        WHERE change.transaction_id >= threadline.transaction_id_from(part.from_instant)
            AND change.transaction_id < threadline.transaction_id_from(part.to_instant)
    ) THEN
        RAISE EXCEPTION 'transactions in "%" still have changes', partition_name
            USING ERRCODE = 'object_in_use';
    ELSIF part.parent = 'audit_changes' THEN
        EXECUTE format('SELECT coalesce(sum(n), 0), array_agg(table_schema), array_agg(table_name) FROM '
            '(SELECT table_schema, table_name, count(*) AS n FROM %s GROUP BY 1, 2) AS counted', part.partition)
        INTO removed, schemas, tables;
    ELSE
        EXECUTE format('SELECT count(*) FROM %s', part.partition) INTO removed;
    END IF;
    BEGIN
        PERFORM set_config('lock_timeout', (extract(epoch FROM lock_wait) * 1000)::integer || 'ms', true);
        -- Lock the parent first, as all other statements do.
        EXECUTE format('LOCK TABLE ONLY threadline.%I IN ACCESS EXCLUSIVE MODE', part.parent);
        EXECUTE format('DROP TABLE %s', part.partition);
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN NULL;
    END;
    IF part.parent = 'audit_changes' THEN
        PERFORM threadline.allow_trail_delete(true);
        DELETE FROM threadline.audit_key_changes AS moved
        WHERE moved.captured_at >= part.from_instant AND moved.captured_at < part.to_instant;
        DELETE FROM threadline.audit_restored_spans AS span WHERE span.from_instant = part.from_instant;
        PERFORM threadline.allow_trail_delete(false);
    END IF;
    PERFORM threadline.record_purge(reason, schemas, tables, part.to_instant,
        CASE part.parent WHEN 'audit_changes' THEN removed ELSE 0 END,
        jsonb_build_object('partition', partition_name, replace(part.parent, 'audit_', ''), removed))
    WHERE removed > 0;
    RETURN removed;
END
$$;

-- Reads the next `batch` transactions after an id that began before an instant, and removes those without
-- changes. `last_id` is the last id read; null if there are no more.
CREATE FUNCTION threadline.remove_transactions(
    after_id uuid, before timestamptz, batch integer, reason text, OUT transactions bigint, OUT last_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    SELECT page.id INTO last_id FROM (
        SELECT recorded.id FROM threadline.audit_transactions AS recorded
        WHERE recorded.id > after_id AND recorded.id < threadline.transaction_id_from(before)
        ORDER BY recorded.id LIMIT batch
    ) AS page ORDER BY page.id DESC LIMIT 1;
    PERFORM threadline.allow_trail_delete(true);
    DELETE FROM threadline.audit_transactions AS emptied
    WHERE emptied.id > after_id AND emptied.id <= last_id AND emptied.id NOT IN (
        SELECT change.transaction_id FROM threadline.audit_changes AS change
        WHERE change.transaction_id > after_id AND change.transaction_id <= last_id
    );
    GET DIAGNOSTICS transactions = ROW_COUNT;
    PERFORM threadline.allow_trail_delete(false);
    PERFORM threadline.record_purge(reason, '{}', '{}', before, 0, jsonb_build_object('transactions', transactions))
    WHERE transactions > 0;
END
$$;

-- Removes the oldest actions recorded before an instant, at most `batch`. Returns their number.
CREATE FUNCTION threadline.remove_actions(before timestamptz, batch integer, reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    removed bigint;
BEGIN
    PERFORM threadline.allow_trail_delete(true);
    DELETE FROM threadline.audit_actions WHERE id < threadline.action_id_from(before) AND id = ANY (ARRAY(
        SELECT expired.id FROM threadline.audit_actions AS expired
        WHERE expired.id < threadline.action_id_from(before) AND expired.id >= threadline.action_id_from(coalesce(
            (SELECT max(to_instant) FROM threadline.audit_restored_spans WHERE keep_until > now()), '-infinity'))
        ORDER BY expired.id LIMIT batch
    ));
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM threadline.allow_trail_delete(false);
    PERFORM threadline.record_purge(reason, '{}', '{}', before, 0, jsonb_build_object('actions', removed))
    WHERE removed > 0;
    RETURN removed;
END
$$;

-- Baselines: images of rows that are older than capture (op 'baseline'). The library reads the table and
-- selects the rows; this file has the table of its runs, and the function that inserts a baseline.

CREATE TABLE threadline.audit_baseline_runs (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    selection      text        NOT NULL CHECK (selection IN ('unknown', 'all')),
    state          text        NOT NULL CHECK (state IN ('running', 'finished', 'stopped', 'interrupted')),
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_by     text        NOT NULL DEFAULT session_user,
    ended_at       timestamptz,
    continues      bigint,
    actor          text COLLATE "C" NOT NULL,
    action_id      uuid,
    first_change   bigint      NOT NULL,
    rows_seen      bigint      NOT NULL DEFAULT 0,
    rows_recorded  bigint      NOT NULL DEFAULT 0,
    rows_left      bigint      NOT NULL DEFAULT 0,
    last_key       jsonb,
    reached_end    boolean     NOT NULL DEFAULT false
);

COMMENT ON TABLE threadline.audit_baseline_runs IS 'One row for each baseline run: table, role, state and progress.';
COMMENT ON COLUMN threadline.audit_baseline_runs.first_change IS
    'Changes with a greater id were recorded by this run or one that it continues, or captured later.';

CREATE INDEX audit_baseline_runs_table_idx ON threadline.audit_baseline_runs (table_name, table_schema, id);
-- At most one running run for each table: two would record its rows twice.
CREATE UNIQUE INDEX audit_baseline_runs_running_idx ON threadline.audit_baseline_runs
    (table_name, table_schema) WHERE state = 'running';

-- Runs are updated, but never deleted.
CREATE TRIGGER guard_record BEFORE DELETE OR TRUNCATE ON threadline.audit_baseline_runs
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();

-- Records a baseline of a row. The caller has locked the row until the end of the transaction, and the
-- statement that locked it has found no record of the row. So the image includes all changes with smaller
-- ids, and later changes get greater ids.
CREATE FUNCTION threadline.record_baseline_row(
    run bigint, table_pk jsonb, row_key text, image jsonb
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $baseline$
DECLARE
    this_run record;
BEGIN
    SELECT found.* INTO this_run FROM threadline.audit_baseline_runs AS found WHERE found.id = run;
    IF this_run.state IS DISTINCT FROM 'running' THEN
        RAISE EXCEPTION 'baseline run % is not running: it is %', run, coalesce(this_run.state, 'unknown')
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a baseline needs read committed transactions, to see what was committed before it locked a row'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- `true`: a baseline without an actor is refused.
    RETURN threadline.record_change(
        'baseline', this_run.table_schema, this_run.table_name, table_pk, row_key, NULL, image, NULL, true, NULL
    );
END
$baseline$;

-- The history of one row, followed through changes of its key. All functions run with the caller's privileges.

-- All changes in which a row left a key or arrived at it: updates of the key, and moves between partitions,
-- which are stored as a delete (left_id) and the next insert (arrived_id) of the same transaction whose
-- key is equal except for the partition columns. Only changes under the current key definition.
CREATE FUNCTION threadline.row_key_changes(of_schema text, of_table text, of_key text)
RETURNS TABLE (
    left_id bigint, previous_key text, arrived_id bigint, row_key text, captured_at timestamptz,
    image_before jsonb, image_after jsonb, is_move boolean
)
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
-- Generic plans: planning for all partitions takes longer than the look-ups.
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    since bigint;
    partition_columns text[];
BEGIN
    SELECT COALESCE(e.key_since, 0), e.partition_columns INTO since, partition_columns
    FROM threadline.current_enrolment(of_schema, of_table) AS e;

    RETURN QUERY
    SELECT k.change_id, k.previous_key, k.change_id, k.row_key, k.captured_at,
        c.data_after || c.changed_from, c.data_after, false
    FROM threadline.audit_key_changes AS k
    JOIN threadline.audit_changes AS c ON c.captured_at = k.captured_at AND c.id = k.change_id
    WHERE k.table_name = of_table AND k.table_schema = of_schema
        AND (k.previous_key = of_key OR k.row_key = of_key) AND k.change_id > since;

    IF cardinality(partition_columns) > 0 THEN
        RETURN QUERY
        SELECT pair.id, pair.row_key, pair.next_id, pair.next_key, pair.next_at, pair.changed_from, pair.next_image, true
        FROM (
            SELECT c.id, c.op, c.row_key, c.changed_from, lead(c.id) OVER by_id AS next_id, lead(c.op) OVER by_id AS next_op,
                lead(c.row_key) OVER by_id AS next_key, lead(c.captured_at) OVER by_id AS next_at,
                lead(c.data_after) OVER by_id AS next_image
            FROM (
                SELECT DISTINCT own.transaction_id, own.table_pk - partition_columns AS rest_of_key
                FROM threadline.audit_changes AS own
                WHERE own.table_name = of_table AND own.table_schema = of_schema AND own.row_key = of_key
                    AND own.op IN ('delete', 'insert') AND own.id > since
            ) AS own
            JOIN threadline.audit_changes AS c ON c.transaction_id = own.transaction_id
                AND c.table_name = of_table AND c.table_schema = of_schema AND c.op IN ('delete', 'insert')
                AND c.table_pk - partition_columns = own.rest_of_key AND c.id > since
            WINDOW by_id AS (PARTITION BY c.transaction_id ORDER BY c.id)
        ) AS pair
        WHERE pair.op = 'delete' AND pair.next_op = 'insert' AND of_key IN (pair.row_key, pair.next_key)
            AND pair.row_key <> pair.next_key;
    END IF;
END
$$;

-- The current and earlier keys of a row, each with the range of change ids in which the row had the key.
-- The row is the one that has the given key now, or had it last.
--
-- If two rows swap keys under a deferrable constraint, one arrives at a key before the other has left it;
-- their images distinguish the two.
CREATE FUNCTION threadline.row_segments(of_schema text, of_table text, of_key text)
RETURNS TABLE (row_key text, first_id bigint, last_id bigint)
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
    highest CONSTANT bigint := 9223372036854775807;
    since bigint := COALESCE((threadline.current_enrolment(of_schema, of_table)).key_since, 0);
    here text := of_key;
    upper_id bigint := highest;
    seen record;
    departure record;
    arrival record;
BEGIN
    -- Forwards: follow the row to its current key, if it has left the given one.
    SELECT c.id, c.previous_key, c.data_after INTO seen
    FROM threadline.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = of_key AND c.id > since
    ORDER BY c.id DESC LIMIT 1;
    SELECT k.* INTO departure
    FROM threadline.row_key_changes(of_schema, of_table, of_key) AS k
    WHERE k.previous_key = of_key
    ORDER BY k.left_id DESC LIMIT 1;
    IF departure.left_id < seen.id
        OR seen.previous_key IS NOT NULL AND seen.data_after <> departure.image_before
    THEN
        departure.left_id := NULL;
    END IF;
    WHILE departure.left_id IS NOT NULL LOOP
        here := departure.row_key;
        upper_id := departure.arrived_id;
        SELECT k.* INTO departure
        FROM threadline.row_key_changes(of_schema, of_table, here) AS k
        WHERE k.previous_key = here AND k.left_id > upper_id AND NOT EXISTS (
            SELECT FROM threadline.audit_changes AS d
            WHERE d.table_name = of_table AND d.table_schema = of_schema AND d.row_key = here
                AND d.op = 'delete' AND d.id > upper_id AND d.id < k.left_id
        )
        ORDER BY k.left_id LIMIT 1;
    END LOOP;

    -- Backwards: return a segment for each key.
    upper_id := highest;
    LOOP
        SELECT k.* INTO arrival
        FROM threadline.row_key_changes(of_schema, of_table, here) AS k
        WHERE k.row_key = here AND k.arrived_id <= upper_id
        ORDER BY k.arrived_id DESC LIMIT 1;
        SELECT k.* INTO departure
        FROM threadline.row_key_changes(of_schema, of_table, here) AS k
        WHERE k.previous_key = here AND k.left_id < upper_id
        ORDER BY k.left_id DESC LIMIT 1;
        -- A departure after the arrival ends the segment, unless the other row of a swap left the key.
        IF departure.left_id > arrival.arrived_id AND NOT departure.is_move
            AND departure.image_before <> arrival.image_after
            AND NOT EXISTS (
                SELECT FROM threadline.audit_changes AS c
                WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = here
                    AND c.id > arrival.arrived_id AND c.id < departure.left_id
            )
        THEN
            departure.left_id := NULL;
        END IF;
        row_key := here;
        last_id := upper_id;
        first_id := GREATEST(arrival.arrived_id, departure.left_id + 1, since + 1);
        RETURN NEXT;
        EXIT WHEN arrival.arrived_id IS NULL OR departure.left_id > arrival.arrived_id;
        here := arrival.previous_key;
        upper_id := arrival.left_id;
        IF NOT arrival.is_move THEN
            -- Another row may have arrived at the old key before this one left it: the segment ends at the
            -- last change whose image this row left with.
            upper_id := COALESCE((
                SELECT c.id FROM (
                    SELECT last.id, last.data_after FROM threadline.audit_changes AS last
                    WHERE last.table_name = of_table AND last.table_schema = of_schema
                        AND last.row_key = here AND last.id < arrival.arrived_id
                    ORDER BY last.id DESC LIMIT 100
                ) AS c
                WHERE c.data_after = arrival.image_before
                ORDER BY c.id DESC LIMIT 1
            ), arrival.arrived_id - 1);
        END IF;
    END LOOP;
END
$$;

-- The history of a row for psql, newest first. A move between partitions is one row with op `moved`. If
-- the key of the table was redefined, the last row has op `key_defined`: earlier changes have other keys.
CREATE FUNCTION threadline.row_history(of_schema text, of_table text, of_key text)
RETURNS TABLE (
    change_id bigint, captured_at timestamptz, op text, actor text, row_key text, previous_key text,
    changed_from jsonb, data_after jsonb, transaction_id uuid, action_id uuid
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH segment AS (
        SELECT s.row_key, s.first_id, s.last_id FROM threadline.row_segments(of_schema, of_table, of_key) AS s
    ),
    move AS (
        SELECT DISTINCT k.left_id, k.previous_key, k.arrived_id, k.image_before
        FROM segment
        CROSS JOIN LATERAL threadline.row_key_changes(of_schema, of_table, segment.row_key) AS k
        WHERE k.is_move AND k.row_key = segment.row_key
            AND k.arrived_id BETWEEN segment.first_id AND segment.last_id
    )
    SELECT c.id, c.captured_at, CASE WHEN move.left_id IS NULL THEN c.op ELSE 'moved' END, c.actor, c.row_key,
        COALESCE(move.previous_key, c.previous_key),
        CASE WHEN move.left_id IS NULL THEN c.changed_from ELSE (
            SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(move.image_before) AS f
            WHERE f.value IS DISTINCT FROM c.data_after -> f.key
        ) END,
        c.data_after, c.transaction_id, c.action_id
    FROM segment
    JOIN threadline.audit_changes AS c
        ON c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
        AND c.id BETWEEN segment.first_id AND segment.last_id
    LEFT JOIN move ON move.arrived_id = c.id
    WHERE c.id NOT IN (SELECT left_id FROM move)
    UNION ALL
    SELECT c.id, c.captured_at, c.op, c.actor, NULL, NULL, NULL, NULL, c.transaction_id, c.action_id
    FROM threadline.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
        AND c.op = 'truncate' AND c.partition_name IS NULL AND c.id > (
            SELECT min(k.id) FROM segment JOIN threadline.audit_changes AS k ON k.table_name = of_table AND k.table_schema = of_schema
                AND k.row_key = segment.row_key AND k.id BETWEEN segment.first_id AND segment.last_id)
    UNION ALL
    SELECT e.order_id, e.recorded_at, 'key_defined', NULL, NULL, NULL, NULL, NULL, e.transaction_id, NULL
    FROM threadline.audit_enrolments AS e
    WHERE e.table_name = of_table AND e.table_schema = of_schema
        AND e.order_id = (SELECT min(first_id) - 1 FROM segment)
    ORDER BY 1 DESC;
END;

-- Conversion of stored images to rows, and a row as of an instant. All functions run with the caller's
-- privileges and read the trail and the catalogs, never audited tables.

-- Converts an image to the row type of `base` (usually NULL::my_table). Columns that the image does not
-- have are null. Like jsonb_populate_record, but json columns are stored as text, which preserves every
-- character.
CREATE FUNCTION threadline.row_from_image(base anyelement, image jsonb) RETURNS anyelement
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET lc_monetary = 'C' AS $$
DECLARE
    row_type regtype := pg_typeof(base);
    json_columns text[];
    column_values text;
    filled ALIAS FOR $0;
BEGIN
    SELECT array_agg(a.attname::text) FILTER (WHERE json.is_json), string_agg(format(
        CASE WHEN json.is_json THEN '($1 ->> %L)::json' ELSE 'filled.%I' END, a.attname
    ), ', ' ORDER BY a.attnum)
    INTO json_columns, column_values
    FROM pg_type AS t
    JOIN pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS of_column ON of_column.oid = a.atttypid
    CROSS JOIN LATERAL (SELECT 'json'::regtype IN (a.atttypid, of_column.typbasetype)) AS json (is_json)
    WHERE t.oid = row_type;
    IF json_columns IS NULL THEN
        RETURN jsonb_populate_record(base, image);
    END IF;
    EXECUTE format('SELECT (ROW(%s)::%s).* FROM jsonb_populate_record(NULL::%2$s, $1 - $2) AS filled', column_values, row_type)
        INTO filled USING image, json_columns;
    RETURN filled;
END
$$;

-- The columns of a relation whose values in an image their present types reject, for example after an enum
-- label was renamed: name to {"stored", "type", "error"}.
CREATE FUNCTION threadline.incompatible_columns(relation regclass, image jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET lc_monetary = 'C' AS $$
DECLARE
    found jsonb := '{}';
    col record;
BEGIN
    BEGIN
        EXECUTE format('SELECT threadline.row_from_image(NULL::%s, $1)', relation) USING image;
        RETURN found;
    EXCEPTION
        WHEN insufficient_privilege THEN RETURN found; -- on the schema of the relation
        WHEN OTHERS THEN NULL; -- find the columns
    END;
    FOR col IN
        SELECT attname AS name, format_type(atttypid, atttypmod) AS type,
            threadline.base_type(atttypid) = 'json'::regtype AS is_json
        FROM pg_attribute
        WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND image ? attname
    LOOP
        BEGIN
            EXECUTE format(CASE WHEN col.is_json THEN 'SELECT ($1 ->> %L)::%s' ELSE 'SELECT r FROM jsonb_to_record($1) AS r (%I %s)' END,
                col.name, col.type) USING image;
        EXCEPTION
            WHEN insufficient_privilege THEN NULL;
            WHEN OTHERS THEN
                found := found || jsonb_build_object(col.name, jsonb_build_object(
                    'stored', image ->> col.name, 'type', col.type, 'error', SQLERRM));
        END;
    END LOOP;
    RETURN found;
END
$$;

-- The audit horizon of a table: when capture was first enabled, or if that is later, the last cut-off of a purge or
-- the first restored span before it. Null if the table was never captured.
CREATE FUNCTION threadline.audit_horizon(of_schema text, of_table text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT GREATEST(min(e.recorded_at), (
        SELECT LEAST(h.purged_before, (SELECT min(span.from_instant) FROM threadline.audit_restored_spans AS span))
        FROM threadline.audit_horizons AS h
        WHERE h.table_name = of_table AND h.table_schema = of_schema
    ))
    FROM threadline.audit_enrolments AS e
    WHERE e.table_name = of_table AND e.table_schema = of_schema AND e.event = 'enabled';
END;

-- What one row was as of an instant: the row that has a key now or had it last, under the keys that it
-- had. `state` is `row`, `deleted`, or `not_yet_known`.
--
-- The last record at or before the instant tells. If there is none, but the instant is not before the
-- horizon, the first record after it tells what it found (`later`): an update its old values, a delete
-- its last image, a baseline the row. `unknown` names the columns of which the image has no value:
-- masked, excluded, erased, too_large, not_captured; and those of incompatible_columns.
CREATE FUNCTION threadline.row_as_of(
    of_schema text, of_table text, of_key text, instant timestamptz,
    OUT state text, OUT change_id bigint, OUT captured_at timestamptz, OUT op text, OUT later boolean,
    OUT transaction_id uuid, OUT actor text, OUT image jsonb, OUT unknown jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
-- Generic plans: planning for all partitions takes longer than the look-ups.
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    relation oid := (
        SELECT class.oid FROM pg_class AS class
        JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE namespace.nspname = of_schema AND class.relname = of_table
    );
    told threadline.audit_changes;
    other threadline.audit_changes;
    policy jsonb := threadline.deployed_policy(relation);
    bounds text;
    inside boolean;
BEGIN
    SELECT found.* INTO told
    FROM threadline.row_segments(of_schema, of_table, of_key) AS segment
    CROSS JOIN LATERAL (
        (
            SELECT c.* FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
                AND c.id BETWEEN segment.first_id AND segment.last_id AND c.captured_at <= instant
            ORDER BY c.id DESC LIMIT 1
        ) UNION ALL (
            SELECT c.* FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
                AND c.id BETWEEN segment.first_id AND segment.last_id AND c.captured_at > instant
            ORDER BY c.id LIMIT 1
        )
    ) AS found
    ORDER BY found.captured_at > instant, CASE WHEN found.captured_at > instant THEN found.id ELSE -found.id END
    LIMIT 1;

    later := COALESCE(told.captured_at > instant, false);
    IF later THEN
        image := CASE
            WHEN instant < threadline.audit_horizon(of_schema, of_table) THEN NULL
            WHEN told.op = 'update' THEN told.data_after || told.changed_from
            WHEN told.op = 'delete' THEN told.changed_from
            WHEN told.op = 'baseline' THEN told.data_after
        END;
    ELSIF told.op = 'delete' THEN
        -- Under a deferrable key, a row may come to the key before the other is deleted. Then the delete
        -- is not of the row that was recorded just before it.
        SELECT c.* INTO other FROM threadline.audit_changes AS c
        WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = told.row_key
            AND c.id < told.id
        ORDER BY c.id DESC LIMIT 1;
        IF other.transaction_id = told.transaction_id AND other.data_after <> told.changed_from
            AND EXISTS (SELECT FROM pg_constraint WHERE conrelid = relation AND condeferrable AND contype IN ('p', 'u'))
        THEN
            told := other;
            image := told.data_after;
        END IF;
    ELSE
        image := told.data_after;
    END IF;

    -- Was the row in the table, or in the partition, when it was truncated?
    IF image IS NOT NULL AND NOT later THEN
        FOR other IN
            SELECT c.* FROM threadline.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
                AND c.op = 'truncate' AND c.id > told.id AND c.captured_at <= instant
            ORDER BY c.id
        LOOP
            inside := true;
            IF other.partition_name IS NOT NULL THEN
                bounds := pg_get_partition_constraintdef(to_regclass(other.partition_name));
                IF bounds IS NULL THEN
                    RAISE EXCEPTION '% was truncated alone and is not a partition now: the rows it held are not known', other.partition_name
                        USING ERRCODE = 'data_exception';
                END IF;
                EXECUTE format('SELECT (%s) FROM threadline.row_from_image(NULL::%s, $1)', bounds, relation::regclass)
                    INTO inside
                    USING (SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(image) AS f WHERE told.table_pk ? f.key);
            END IF;
            IF inside IS NOT FALSE THEN
                told := other;
                image := NULL;
                EXIT;
            END IF;
        END LOOP;
    END IF;

    state := CASE WHEN image IS NOT NULL THEN 'row'
        WHEN told.op IN ('delete', 'truncate') AND NOT later THEN 'deleted'
        ELSE 'not_yet_known' END;
    change_id := told.id;
    captured_at := told.captured_at;
    op := told.op;
    transaction_id := told.transaction_id;
    actor := told.actor;
    IF image IS NULL THEN
        RETURN;
    END IF;

    SELECT COALESCE(jsonb_object_agg(found.name, found.reason) FILTER (WHERE found.reason IS NOT NULL), '{}') INTO unknown
    FROM (
        SELECT a.attname AS name, CASE
            WHEN NOT image ? a.attname THEN CASE declared ->> 'rule' WHEN 'exclude' THEN 'excluded' ELSE 'not_captured' END
            WHEN image ->> a.attname = '[ERASED]' THEN 'erased'
            WHEN image ->> a.attname LIKE '[TOO LARGE: % bytes, sha256:%]' THEN 'too_large'
            WHEN declared ->> 'rule' LIKE 'mask%' AND image ->> a.attname IS NOT NULL OR image ->> a.attname IN ('[REDACTED]', policy ->> 'mask_with') THEN 'masked'
        END AS reason
        FROM pg_attribute AS a
        LEFT JOIN jsonb_array_elements(policy -> 'columns') AS declared ON declared ->> 'name' = a.attname
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    ) AS found;
    IF relation IS NOT NULL THEN
        unknown := unknown || threadline.incompatible_columns(relation, image - ARRAY(SELECT jsonb_object_keys(unknown)));
    END IF;
END
$$;

-- Views for psql and reports.

-- All changes with actor, action, context and changed fields. Baselines are not changes: they are only in
-- audit_changes.
CREATE VIEW threadline.audit_timeline AS
SELECT
    change.id,
    change.captured_at,
    change.op,
    change.table_schema,
    change.table_name,
    change.row_key,
    change.previous_key,
    change.table_pk,
    CASE WHEN change.op = 'update' THEN ARRAY(
        SELECT name FROM jsonb_object_keys(change.changed_from) AS name ORDER BY name
    ) END AS changed_fields,
    change.changed_from,
    change.data_after,
    change.actor,
    COALESCE(action.on_behalf_of, transaction.on_behalf_of) AS on_behalf_of,
    action.name AS action_name,
    action.reason,
    COALESCE(action.correlation_id, transaction.correlation_id) AS correlation_id,
    COALESCE(action.request_id, transaction.request_id) AS request_id,
    COALESCE(action.job_id, transaction.job_id) AS job_id,
    transaction.context ->> 'source' AS source,
    transaction.context ->> 'remote_addr' AS remote_addr,
    transaction.context -> 'meta' AS meta,
    transaction.db_user,
    transaction.application_name,
    change.partition_name,
    change.transaction_id,
    change.action_id
FROM threadline.audit_changes AS change
LEFT JOIN threadline.audit_transactions AS transaction ON transaction.id = change.transaction_id
LEFT JOIN threadline.audit_actions AS action ON action.id = change.action_id
WHERE change.op <> 'baseline';

-- The deployed policies: one row for each capture function. `policy` is the function's comment:
-- {"version", "hash", "table"}. `relation` is null if the table does not exist.
CREATE VIEW threadline.deployed_policies AS
SELECT
    policy #>> '{table,name,schema}' AS table_schema,
    policy #>> '{table,name,name}' AS table_name,
    class.oid AS relation,
    function.oid AS function,
    policy
FROM pg_catalog.pg_proc AS function
CROSS JOIN LATERAL threadline.policy_of(function.oid) AS policy
LEFT JOIN (pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace)
    ON namespace.nspname = policy #>> '{table,name,schema}' AND class.relname = policy #>> '{table,name,name}'
WHERE function.pronamespace = 'threadline'::regnamespace AND function.proname LIKE 'capture\_%'
    AND policy IS NOT NULL;

-- The feed: the position of each named consumer. The logic is in the library, which reads the trail and
-- updates this table with the privileges of the worker's role: SELECT on the trail, and UPDATE on
-- audit_feed_consumers.
--
-- A change takes its id when it is captured and becomes visible when its transaction commits, which may
-- be long after changes with greater ids. So a consumer reads up to a mark: the last assigned id, and an
-- xid that was assigned after that. Every id up to mark_id belongs to a transaction older than mark_xid,
-- because a transaction gets its xid before it takes an id. When all of these have ended, the mark is
-- settled: every id up to mark_id belongs to a transaction that has committed or was rolled back.

CREATE TABLE threadline.audit_feed_consumers (
    name              text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by        text        NOT NULL DEFAULT session_user,
    acknowledged_to   bigint      NOT NULL, -- all ids up to this
    seen_until        timestamptz NOT NULL DEFAULT '-infinity',
    settled_to        bigint      NOT NULL DEFAULT 0,
    settled_at        timestamptz NOT NULL DEFAULT '-infinity',
    mark_id           bigint,
    mark_xid          xid8,
    mark_at           timestamptz,
    lease_token       uuid,
    leased_to         bigint,
    leased_seen_until timestamptz,
    leased_until      timestamptz,
    leased_by         text,
    attempt           integer     NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

COMMENT ON TABLE threadline.audit_feed_consumers IS
    'One row for each named consumer of the feed: its position and its lease. State, not a record.';
COMMENT ON COLUMN threadline.audit_feed_consumers.lease_token IS
    'The fencing token: only its holder can acknowledge, and only until leased_until.';

CREATE VIEW threadline.audit_feed_end AS
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS last_id
FROM threadline.audit_changes_id_seq;

COMMENT ON VIEW threadline.audit_feed_end IS
    'The last assigned id. GRANT SELECT ON ALL TABLES includes this view, but not the sequence.';

-- The application can have changes captured and set actor and action; it can neither write nor read the
-- trail otherwise. The host grants access to readers: GRANT SELECT ON ALL TABLES IN SCHEMA ... TO ...

-- The number of the newest schema migration that is applied.
CREATE FUNCTION threadline.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 1;

-- Revokes privileges that default privileges granted on the new objects.
DO $$
BEGIN
    PERFORM threadline.revoke_all(object.name, object.owner, object.acl)
    FROM (
        SELECT 'SCHEMA threadline' AS name, nspowner AS owner, nspacl AS acl FROM pg_namespace
        WHERE nspname = 'threadline'
        UNION ALL
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END || oid::regclass, relowner, relacl FROM pg_class
        WHERE relnamespace = 'threadline'::regnamespace
        UNION ALL
        SELECT 'FUNCTION ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
        WHERE pronamespace = 'threadline'::regnamespace
    ) AS object;
END
$$;

GRANT USAGE ON SCHEMA threadline TO PUBLIC;
-- Writers.
GRANT EXECUTE ON FUNCTION
    threadline.begin_audited_work(jsonb), threadline.end_audited_work(jsonb),
    threadline.count_audited_work(uuid), threadline.record_action(jsonb, jsonb, jsonb),
    threadline.current_transaction_id()
TO PUBLIC;
-- Readers. These run with the caller's privileges, or read no table.
GRANT EXECUTE ON FUNCTION
    threadline.schema_version(), threadline.policy_of(oid), threadline.deployed_policy(oid),
    threadline.row_key(text[]), threadline.current_enrolment(text, text), threadline.trail_partitions(),
    threadline.transaction_id_from(timestamptz), threadline.action_id_from(timestamptz),
    threadline.transaction_began_at(uuid), threadline.action_recorded_at(uuid),
    threadline.row_key_changes(text, text, text), threadline.row_segments(text, text, text),
    threadline.row_history(text, text, text), threadline.row_as_of(text, text, text, timestamptz),
    threadline.row_from_image(anyelement, jsonb), threadline.incompatible_columns(regclass, jsonb),
    threadline.base_type(oid), threadline.audit_horizon(text, text)
TO PUBLIC;

-- Restores the search path that the first statement changed.
SELECT set_config('search_path', current_setting('threadline.path_before'), true);
