-- The trail: three tables, partitioned by month, and the two sequences behind them.
--
-- What people query is public and stable: names and meanings below only ever gain columns.

COMMENT ON SCHEMA @threadline@ IS 'Threadline: the audit trail, its functions and views.';

-- One database transaction that changed audited rows: who, when, in what context.
CREATE TABLE IF NOT EXISTS @threadline@.audit_transactions (
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

COMMENT ON TABLE @threadline@.audit_transactions IS
    'One row for each database transaction that changed audited rows.';
COMMENT ON COLUMN @threadline@.audit_transactions.id IS
    'The start of the transaction (8 bytes, microseconds since 2000-01-01 UTC), then its xid (8 bytes): sorts by time.';
COMMENT ON COLUMN @threadline@.audit_transactions.occurred_at IS
    'When its first change was captured; not when it committed.';
COMMENT ON COLUMN @threadline@.audit_transactions.xid IS
    'Meaningful only beside the cluster and the time it was taken from.';
COMMENT ON COLUMN @threadline@.audit_transactions.action_id IS
    'The outermost action.';

-- The order in which changes were captured. Never shared state that writers wait for.
CREATE SEQUENCE IF NOT EXISTS @threadline@.audit_changes_id_seq AS bigint;

-- One captured change of one row, or of one table (truncate). The default of its id is what statements
-- that insert many take: a call among what they select would be a plan of its own.
CREATE TABLE IF NOT EXISTS @threadline@.audit_changes (
    id             bigint      NOT NULL DEFAULT nextval('@threadline@.audit_changes_id_seq'),
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

COMMENT ON TABLE @threadline@.audit_changes IS
    'One row for each captured change, in capture order by id.';
COMMENT ON COLUMN @threadline@.audit_changes.op IS
    'insert, update, delete, truncate, or baseline (a row that existed before capture).';
COMMENT ON COLUMN @threadline@.audit_changes.action_id IS
    'The action in force when the change happened.';
COMMENT ON COLUMN @threadline@.audit_changes.row_key IS
    'table_pk as one text, for the index.';
COMMENT ON COLUMN @threadline@.audit_changes.previous_key IS
    'row_key before an update that changed the key.';
COMMENT ON COLUMN @threadline@.audit_changes.table_pk IS
    'The key after the change, before it for a delete: column name to value as text.';
COMMENT ON COLUMN @threadline@.audit_changes.data_after IS
    'The row after the change; null for delete and truncate.';
COMMENT ON COLUMN @threadline@.audit_changes.changed_from IS
    'Update: the old values of what changed. Delete: the last image of the row.';
COMMENT ON COLUMN @threadline@.audit_changes.actor_ref IS
    'Set only where the actor in force was not the transaction''s; a JSON null says nobody.';
COMMENT ON COLUMN @threadline@.audit_changes.row_count IS
    'Truncate: how many rows went, where that was asked for.';
COMMENT ON COLUMN @threadline@.audit_changes.partition_name IS
    'Truncate: the partition that was emptied alone.';

-- What the application says it did, and why.
CREATE TABLE IF NOT EXISTS @threadline@.audit_actions (
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

COMMENT ON TABLE @threadline@.audit_actions IS
    'One row for each action the application recorded, whether or not it changed rows.';
COMMENT ON COLUMN @threadline@.audit_actions.id IS 'A version 7 uuid: sorts by time.';
COMMENT ON COLUMN @threadline@.audit_actions.transaction_id IS
    'The database transaction it was recorded in; audit_transactions has it if rows changed.';

-- Where rows changed their keys, for following a row both ways. Renames are rare, so they are kept
-- aside: an index on audit_changes for them would cost every change.
CREATE TABLE IF NOT EXISTS @threadline@.audit_renames (
    change_id      bigint      NOT NULL,
    captured_at    timestamptz NOT NULL,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    row_key        text COLLATE "C" NOT NULL,
    previous_key   text COLLATE "C" NOT NULL,
    PRIMARY KEY (captured_at, change_id)
);

COMMENT ON TABLE @threadline@.audit_renames IS
    'One row for each change that gave a row another key; says nothing that audit_changes does not.';

-- Indexes, each owed to a question. All end with an id, so no two entries are alike, and to look
-- for equal ones before a page is split would be in vain.

-- "Where did this row go?" and "Where did it come from?"
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_renames_previous_key_idx
    ON @threadline@.audit_renames (table_name, previous_key, table_schema, change_id)
    WITH (deduplicate_items = off)
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_renames_row_key_idx
    ON @threadline@.audit_renames (table_name, row_key, table_schema, change_id)
    WITH (deduplicate_items = off)
$index$);

-- "What happened in this transaction?"
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_changes_transaction_idx
    ON @threadline@.audit_changes (transaction_id, id) WITH (deduplicate_items = off)
$index$);
-- "What happened to this row?"
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_changes_row_idx
    ON @threadline@.audit_changes (table_name, row_key, table_schema, id)
    WITH (deduplicate_items = off)
$index$);
-- "What happened to this table lately?"
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_changes_table_idx
    ON @threadline@.audit_changes (table_name, table_schema, captured_at, id)
    WITH (deduplicate_items = off)
$index$);
-- "What did this actor do?"
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_transactions_actor_idx
    ON @threadline@.audit_transactions ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE actor_ref IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_changes_actor_idx
    ON @threadline@.audit_changes ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE actor_ref IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_actor_idx
    ON @threadline@.audit_actions ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE actor_ref IS NOT NULL
$index$);
-- "What belongs to this request, this correlation, this job?"
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_transactions_correlation_idx
    ON @threadline@.audit_transactions (correlation_id, id)
    WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_transactions_request_idx
    ON @threadline@.audit_transactions (request_id, id)
    WITH (deduplicate_items = off) WHERE request_id IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_transactions_job_idx
    ON @threadline@.audit_transactions (job_id, id)
    WITH (deduplicate_items = off) WHERE job_id IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_correlation_idx
    ON @threadline@.audit_actions (correlation_id, id)
    WITH (deduplicate_items = off) WHERE correlation_id IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_request_idx
    ON @threadline@.audit_actions (request_id, id)
    WITH (deduplicate_items = off) WHERE request_id IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_job_idx
    ON @threadline@.audit_actions (job_id, id)
    WITH (deduplicate_items = off) WHERE job_id IS NOT NULL
$index$);
-- "What was done on behalf of this user?", "What did nobody sign?" and "What failed?": of the few
-- rows that say so, and of no others.
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_transactions_represented_idx
    ON @threadline@.audit_transactions ((on_behalf_of ->> 'id'), (on_behalf_of ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE on_behalf_of IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_represented_idx
    ON @threadline@.audit_actions ((on_behalf_of ->> 'id'), (on_behalf_of ->> 'type'), id)
    WITH (deduplicate_items = off)
    WHERE on_behalf_of IS NOT NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_transactions_unattributed_idx
    ON @threadline@.audit_transactions (id)
    WITH (deduplicate_items = off) WHERE actor_ref IS NULL
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_failed_idx
    ON @threadline@.audit_actions (id)
    WITH (deduplicate_items = off) WHERE status = 'error'
$index$);
-- "What actions were in this transaction?" and "When was this action done?"
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_transaction_idx
    ON @threadline@.audit_actions (transaction_id, id) WITH (deduplicate_items = off)
$index$);
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_actions_name_idx
    ON @threadline@.audit_actions (name, id) WITH (deduplicate_items = off)
$index$);

-- What capture remembers of a session, as currval gives it: the transaction or subtransaction of the
-- session that made a row of audit_transactions last. A setting could be made up or put back by the
-- session; this can be set by capture alone. Unlogged, for no session outlives a crash.
CREATE UNLOGGED SEQUENCE IF NOT EXISTS @threadline@.capture_session AS bigint;

-- A secret of this database, 120 bits of it, readable by the owner alone, with which the trail signs
-- what it keeps in settings. Sequences, because their values are read without a query. Made again
-- where it is missing, as after the restore of a schema without its data.
CREATE SEQUENCE IF NOT EXISTS @threadline@.capture_secret AS bigint;
CREATE SEQUENCE IF NOT EXISTS @threadline@.capture_secret_rest AS bigint;
DO $secret$
DECLARE
    half pg_catalog.regclass;
BEGIN
    FOREACH half IN ARRAY ARRAY[
        '@threadline@.capture_secret', '@threadline@.capture_secret_rest'
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
