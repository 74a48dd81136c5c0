-- The audit trail: three tables partitioned by time, and tables with records about the trail.
--
-- The names of audit_transactions, audit_changes and audit_actions and of their columns are public and
-- stable.

DO $$
BEGIN
    IF to_regclass('@threadline@.audit_changes') IS NOT NULL THEN
        RAISE EXCEPTION 'the audit trail is already installed in schema @threadline@'
            USING ERRCODE = 'duplicate_schema',
                  HINT = 'No action is needed. A newer release adds a migration of its own.';
    END IF;
    -- Unqualified names resolve to pg_catalog only, until 99_privileges.sql restores the search path.
    PERFORM set_config('threadline.path_before', current_setting('search_path'), true),
        set_config('search_path', 'pg_catalog, pg_temp', true);
END
$$;

CREATE SCHEMA IF NOT EXISTS @threadline@;

COMMENT ON SCHEMA @threadline@ IS 'Threadline: the audit trail, its functions and views.';

CREATE TABLE @threadline@.audit_transactions (
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

COMMENT ON TABLE @threadline@.audit_transactions IS
    'One row for each database transaction that changed audited rows: actor, time and context.';
COMMENT ON COLUMN @threadline@.audit_transactions.id IS
    'Start of the transaction (8 bytes, microseconds since 2000-01-01 UTC), then its xid (8 bytes); ordered by time.';
COMMENT ON COLUMN @threadline@.audit_transactions.occurred_at IS
    'When the first change was captured; not the time of the commit.';
COMMENT ON COLUMN @threadline@.audit_transactions.actor IS
    'The first actor that the application named: type:id, or anonymous. Unverified: any role can set it.';
COMMENT ON COLUMN @threadline@.audit_transactions.on_behalf_of IS 'The actor that was represented: type:id, or anonymous.';
COMMENT ON COLUMN @threadline@.audit_transactions.context IS
    'The rest of the context: source, remote_addr, meta; context_error lists the fields that were malformed.';
COMMENT ON COLUMN @threadline@.audit_transactions.xid IS
    'The transaction id in the cluster that captured it; another cluster may use it again.';
COMMENT ON COLUMN @threadline@.audit_transactions.db_user IS 'The session_user of the transaction.';

-- Orders changes, actions and the records about the trail. A transaction gets its xid before it takes a
-- value: the feed relies on that.
CREATE SEQUENCE @threadline@.audit_changes_id_seq AS bigint;

CREATE TABLE @threadline@.audit_changes (
    id             bigint      NOT NULL DEFAULT nextval('@threadline@.audit_changes_id_seq'),
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

COMMENT ON TABLE @threadline@.audit_changes IS
    'One row for each captured change of a row, or of a table (truncate). Ordered by id.';
COMMENT ON COLUMN @threadline@.audit_changes.op IS
    'insert, update, delete, truncate, or baseline (the image of a row, recorded without a change).';
COMMENT ON COLUMN @threadline@.audit_changes.actor IS 'The actor in force: type:id, or anonymous; null if none was named.';
COMMENT ON COLUMN @threadline@.audit_changes.command_id IS
    'The command of the transaction that made the row version. Internal: orders changes within a statement.';
COMMENT ON COLUMN @threadline@.audit_changes.row_key IS
    'The values of the primary key as text: the value itself, or a JSON array in the order of the key''s columns.';
COMMENT ON COLUMN @threadline@.audit_changes.table_pk IS
    'The key after the change (delete: before it): column name to value as text.';
COMMENT ON COLUMN @threadline@.audit_changes.data_after IS
    'The stored columns of the row after the change; null for delete and truncate.';
COMMENT ON COLUMN @threadline@.audit_changes.changed_from IS
    'Update: old values of the changed columns. Delete: the last image of the row.';
COMMENT ON COLUMN @threadline@.audit_changes.partition_name IS
    'Truncate: the partition or child table that was truncated alone.';

CREATE TABLE @threadline@.audit_actions (
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

COMMENT ON TABLE @threadline@.audit_actions IS
    'One row for each action that the application recorded, whether or not it changed rows.';
COMMENT ON COLUMN @threadline@.audit_actions.id IS 'A version 7 uuid; ordered by time.';
COMMENT ON COLUMN @threadline@.audit_actions.order_id IS 'A value of the sequence of audit_changes.id: orders actions among changes.';
COMMENT ON COLUMN @threadline@.audit_actions.transaction_id IS
    'The database transaction that recorded the action; audit_transactions has its row if it changed audited rows.';

-- Updates that changed a key, to follow a row to its earlier and later keys. A separate table, because
-- indexes on audit_changes for these few rows would slow down every captured change.
CREATE TABLE @threadline@.audit_key_changes (
    change_id      bigint      NOT NULL,
    captured_at    timestamptz NOT NULL,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    row_key        text COLLATE "C" NOT NULL,
    previous_key   text COLLATE "C" NOT NULL,
    PRIMARY KEY (captured_at, change_id)
);

COMMENT ON TABLE @threadline@.audit_key_changes IS
    'One row for each update that changed a key; copies columns of audit_changes, for two indexes.';

CREATE TABLE @threadline@.audit_enrolments (
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

COMMENT ON TABLE @threadline@.audit_enrolments IS
    'One row each time a policy is deployed on a table, or capture of a table is disabled.';
COMMENT ON COLUMN @threadline@.audit_enrolments.order_id IS
    'Changes of the table with a greater id were captured under this policy.';
COMMENT ON COLUMN @threadline@.audit_enrolments.columns IS 'Array of {"name", "attnum", "type", "rule"}.';
COMMENT ON COLUMN @threadline@.audit_enrolments.key_since IS
    'Row keys of changes with a greater id have the columns key_columns; 0: all row keys of the table have.';
COMMENT ON COLUMN @threadline@.audit_enrolments.was_captured IS
    'Whether all capture triggers existed already; if false, earlier writes may be missing.';

CREATE TABLE @threadline@.audit_suspensions (
    order_id       bigint      PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    suspended_at   timestamptz NOT NULL,
    suspended_by   text        NOT NULL,
    reason         text        NOT NULL,
    tables         text[]      NOT NULL
);

COMMENT ON TABLE @threadline@.audit_suspensions IS
    'One row for each call of suspend_capture: changes of these tables in this transaction were not captured.';

CREATE TABLE @threadline@.audit_removals (
    order_id       bigint      PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    removed_at     timestamptz NOT NULL,
    removed_by     text        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('retention', 'erasure')),
    reason         text        NOT NULL,
    scope          jsonb       NOT NULL,
    change_count   bigint      NOT NULL
);

COMMENT ON TABLE @threadline@.audit_removals IS 'One row for each removal of records by retention, and for each erasure of values.';
COMMENT ON COLUMN @threadline@.audit_removals.scope IS
    'Retention: {"before": instant, "cutoffs": {table: instant}}. Erasure: {"table_schema", "table_name", "row_key", "columns"}.';

-- Indexes: each serves the query above it. deduplicate_items is off, because entries with an id are unique.

-- Changes of a row.
CREATE INDEX audit_changes_row_idx ON @threadline@.audit_changes
    (table_name, row_key, table_schema, id) WITH (deduplicate_items = off);
-- Recent changes of a table.
CREATE INDEX audit_changes_table_idx ON @threadline@.audit_changes
    (table_name, table_schema, captured_at, id) WITH (deduplicate_items = off);
-- Changes by an actor.
CREATE INDEX audit_changes_actor_idx ON @threadline@.audit_changes
    (actor, captured_at, id) WITH (deduplicate_items = off) WHERE actor IS NOT NULL;
-- Changes without an actor.
CREATE INDEX audit_changes_unattributed_idx ON @threadline@.audit_changes
    (captured_at, id) WITH (deduplicate_items = off) WHERE actor IS NULL;
-- Changes of a transaction.
CREATE INDEX audit_changes_transaction_idx ON @threadline@.audit_changes (transaction_id, id) WITH (deduplicate_items = off);
-- A change by its id; changes after an id (the feed).
CREATE INDEX audit_changes_id_idx ON @threadline@.audit_changes USING brin (id) WITH (autosummarize = on);

-- Transactions and actions of a correlation, request or job, or on behalf of an actor.
CREATE INDEX audit_transactions_correlation_idx ON @threadline@.audit_transactions
    (correlation_id, id) WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_transactions_request_idx ON @threadline@.audit_transactions
    (request_id, id) WITH (deduplicate_items = off) WHERE request_id IS NOT NULL;
CREATE INDEX audit_transactions_job_idx ON @threadline@.audit_transactions
    (job_id, id) WITH (deduplicate_items = off) WHERE job_id IS NOT NULL;
CREATE INDEX audit_transactions_represented_idx ON @threadline@.audit_transactions
    (on_behalf_of, id) WITH (deduplicate_items = off) WHERE on_behalf_of IS NOT NULL;
CREATE INDEX audit_actions_correlation_idx ON @threadline@.audit_actions
    (correlation_id, id) WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_actions_request_idx ON @threadline@.audit_actions
    (request_id, id) WITH (deduplicate_items = off) WHERE request_id IS NOT NULL;
CREATE INDEX audit_actions_job_idx ON @threadline@.audit_actions
    (job_id, id) WITH (deduplicate_items = off) WHERE job_id IS NOT NULL;
CREATE INDEX audit_actions_represented_idx ON @threadline@.audit_actions
    (on_behalf_of, id) WITH (deduplicate_items = off) WHERE on_behalf_of IS NOT NULL;
-- Actions of a transaction, by name, by actor; failed actions.
CREATE INDEX audit_actions_transaction_idx ON @threadline@.audit_actions (transaction_id, id) WITH (deduplicate_items = off);
CREATE INDEX audit_actions_name_idx ON @threadline@.audit_actions (name, id) WITH (deduplicate_items = off);
CREATE INDEX audit_actions_actor_idx ON @threadline@.audit_actions
    (actor, id) WITH (deduplicate_items = off) WHERE actor IS NOT NULL;
CREATE INDEX audit_actions_failed_idx ON @threadline@.audit_actions
    (id) WITH (deduplicate_items = off) WHERE status = 'error';
-- Actions after an order_id (the feed).
CREATE INDEX audit_actions_order_idx ON @threadline@.audit_actions USING brin (order_id) WITH (autosummarize = on);

-- The next key and the previous key of a row.
CREATE INDEX audit_key_changes_previous_key_idx ON @threadline@.audit_key_changes
    (table_name, previous_key, table_schema, change_id) WITH (deduplicate_items = off);
CREATE INDEX audit_key_changes_row_key_idx ON @threadline@.audit_key_changes
    (table_name, row_key, table_schema, change_id) WITH (deduplicate_items = off);
-- Policies of a table.
CREATE INDEX audit_enrolments_table_idx ON @threadline@.audit_enrolments (table_name, table_schema, order_id);
-- Suspensions of capture in a transaction.
CREATE INDEX audit_suspensions_transaction_idx ON @threadline@.audit_suspensions (transaction_id);

-- Its session value (currval) is the hash of the marker, the setting threadline.recorded, that this
-- session set last. A session can write the setting, but not this value. Unlogged, because session
-- values do not survive a crash.
CREATE UNLOGGED SEQUENCE @threadline@.capture_session AS bigint MINVALUE -9223372036854775808;
