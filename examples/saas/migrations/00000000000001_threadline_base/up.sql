-- The trail: three tables, partitioned by month, and the two sequences behind them.
--
-- What people query is public and stable: names and meanings below only ever gain columns.

CREATE SCHEMA IF NOT EXISTS threadline;

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

-- One captured change of one row, or of one table (truncate).
CREATE TABLE IF NOT EXISTS threadline.audit_changes (
    id             bigint      NOT NULL,
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

-- Indexes, each owed to a question.

-- "Where did this row go?" and "Where did it come from?"
CREATE INDEX IF NOT EXISTS audit_renames_previous_key_idx
    ON threadline.audit_renames (table_name, previous_key, table_schema, change_id);
CREATE INDEX IF NOT EXISTS audit_renames_row_key_idx
    ON threadline.audit_renames (table_name, row_key, table_schema, change_id);

-- "What happened in this transaction?"
CREATE INDEX IF NOT EXISTS audit_changes_transaction_idx
    ON threadline.audit_changes (transaction_id, id);
-- "What happened to this row?"
CREATE INDEX IF NOT EXISTS audit_changes_row_idx
    ON threadline.audit_changes (table_name, row_key, table_schema, id);
-- "What happened to this table lately?"
CREATE INDEX IF NOT EXISTS audit_changes_table_idx
    ON threadline.audit_changes (table_name, table_schema, captured_at, id);
-- "What did this actor do?"
CREATE INDEX IF NOT EXISTS audit_transactions_actor_idx
    ON threadline.audit_transactions ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WHERE actor_ref IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_changes_actor_idx
    ON threadline.audit_changes ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WHERE actor_ref IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_actions_actor_idx
    ON threadline.audit_actions ((actor_ref ->> 'id'), (actor_ref ->> 'type'), id)
    WHERE actor_ref IS NOT NULL;
-- "What belongs to this request, this correlation, this job?"
CREATE INDEX IF NOT EXISTS audit_transactions_correlation_idx
    ON threadline.audit_transactions (correlation_id, id) WHERE correlation_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_transactions_request_idx
    ON threadline.audit_transactions (request_id, id) WHERE request_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_transactions_job_idx
    ON threadline.audit_transactions (job_id, id) WHERE job_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_actions_correlation_idx
    ON threadline.audit_actions (correlation_id, id) WHERE correlation_id IS NOT NULL;
-- "What actions were in this transaction?" and "When was this action done?"
CREATE INDEX IF NOT EXISTS audit_actions_transaction_idx
    ON threadline.audit_actions (transaction_id, id);
CREATE INDEX IF NOT EXISTS audit_actions_name_idx
    ON threadline.audit_actions (name, id);

-- The order in which changes were captured. Never shared state that writers wait for.
CREATE SEQUENCE IF NOT EXISTS threadline.audit_changes_id_seq AS bigint;

-- A secret of this database, readable by the owner alone, which capture uses to tell its own
-- notes from those a session made up. A sequence, because its value is read without a query.
DO $secret$
BEGIN
    IF pg_catalog.to_regclass('threadline.capture_secret') IS NULL THEN
        CREATE SEQUENCE threadline.capture_secret AS bigint;
        PERFORM pg_catalog.setval(
            'threadline.capture_secret',
            ('x' || pg_catalog.substr(
                pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 18, 15
            ))::bit(60)::bigint + 1
        );
    END IF;
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

-- The smallest version 7 uuid of an instant.
CREATE OR REPLACE FUNCTION threadline.action_id_from(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    pg_catalog.lpad(
        pg_catalog.to_hex(
            pg_catalog.floor(EXTRACT(EPOCH FROM instant) OPERATOR(pg_catalog.*) 1000)::bigint
        ),
        12, '0'
    ) OPERATOR(pg_catalog.||) '00000000000000000000'
)::uuid;

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

-- Makes one partition of one table of the trail, if it is not there yet.
CREATE OR REPLACE FUNCTION threadline.create_partition(
    parent text, partition text, bounds text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
BEGIN
    IF to_regclass(format('threadline.%I', partition)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE threadline.%I PARTITION OF threadline.%I %s', partition, parent, bounds
    );
    EXECUTE format(
        'CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate()',
        partition
    );
    RETURN true;
END
$create$;

-- Makes the partitions of the month that holds an instant, and of the months after it.
-- Returns how many tables it made.
CREATE OR REPLACE FUNCTION threadline.create_partitions(
    from_instant timestamptz, months integer
) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $create$
DECLARE
    first_month timestamp := date_trunc('month', from_instant AT TIME ZONE 'UTC');
    lower_bound timestamptz;
    upper_bound timestamptz;
    suffix text;
    created integer := 0;
BEGIN
    FOR step IN 0 .. months LOOP
        lower_bound := (first_month + make_interval(months => step)) AT TIME ZONE 'UTC';
        upper_bound := (first_month + make_interval(months => step + 1)) AT TIME ZONE 'UTC';
        suffix := to_char(lower_bound AT TIME ZONE 'UTC', 'YYYY_MM');
        created := created
            + threadline.create_partition(
                'audit_changes', 'audit_changes_' || suffix,
                format('FOR VALUES FROM (%L) TO (%L)', lower_bound, upper_bound))::integer
            + threadline.create_partition(
                'audit_transactions', 'audit_transactions_' || suffix,
                format('FOR VALUES FROM (%L) TO (%L)',
                    threadline.transaction_id_from(lower_bound),
                    threadline.transaction_id_from(upper_bound)))::integer
            + threadline.create_partition(
                'audit_actions', 'audit_actions_' || suffix,
                format('FOR VALUES FROM (%L) TO (%L)',
                    threadline.action_id_from(lower_bound),
                    threadline.action_id_from(upper_bound)))::integer;
    END LOOP;
    RETURN created;
END
$create$;

-- Rows that no month catches go here; nothing is ever refused for want of a partition.
DO $partitions$
BEGIN
    PERFORM threadline.create_partition('audit_changes', 'audit_changes_default', 'DEFAULT');
    PERFORM threadline.create_partition('audit_transactions', 'audit_transactions_default', 'DEFAULT');
    PERFORM threadline.create_partition('audit_actions', 'audit_actions_default', 'DEFAULT');
    -- The running month and a year ahead: nobody has to remember it in the first year.
    PERFORM threadline.create_partitions(pg_catalog.now(), 12);
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

-- Reads the three settings a writer may have made, field by field. Whatever is malformed or larger than 64 kB
-- is kept as text in `error`; nothing here ever fails.
CREATE OR REPLACE FUNCTION threadline.read_hostile_context()
RETURNS threadline.context_in_force
LANGUAGE plpgsql STABLE AS $read$
DECLARE
    actor_text   text := pg_catalog.current_setting('threadline.actor_ref', true);
    context_text text := pg_catalog.current_setting('threadline.context', true);
    action_text  text := pg_catalog.current_setting('threadline.action_id', true);
    given jsonb;
    seen threadline.context_in_force;
    size_limit CONSTANT integer := 65536;
    known_keys CONSTANT text[] := ARRAY[
        'on_behalf_of', 'action_id', 'request_id', 'correlation_id', 'job_id', 'source',
        'remote_addr', 'meta'
    ];
BEGIN
    IF actor_text OPERATOR(pg_catalog.<>) '' THEN
        BEGIN
            IF pg_catalog.octet_length(actor_text) OPERATOR(pg_catalog.<=) size_limit THEN
                given := actor_text::pg_catalog.jsonb;
            END IF;
            IF threadline.is_actor_ref(given) THEN
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
                IF (given OPERATOR(pg_catalog.->>) 'on_behalf_of') IS NOT NULL THEN
                    IF threadline.is_actor_ref(given OPERATOR(pg_catalog.->) 'on_behalf_of') THEN
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

-- The same, as cheaply as it goes: at every transaction's first change. A context that is in order
-- and says nothing rare is read by a handful of expressions (each costs as much again in every
-- transaction, and a call of a SQL function more than all of them); the rest is read with care.
CREATE OR REPLACE FUNCTION threadline.read_context() RETURNS threadline.context_in_force
LANGUAGE plpgsql STABLE AS $read$
DECLARE
    actor_text   text := pg_catalog.current_setting('threadline.actor_ref', true);
    context_text text := pg_catalog.current_setting('threadline.context', true);
    action_text  text := pg_catalog.current_setting('threadline.action_id', true);
    actor jsonb;
    given jsonb;
    seen threadline.context_in_force;
BEGIN
    IF pg_catalog.concat(actor_text, context_text, action_text) OPERATOR(pg_catalog.=) '' THEN
        RETURN seen;
    END IF;
    -- Writes nothing, so the block takes no subtransaction id.
    BEGIN
        actor := CASE WHEN actor_text OPERATOR(pg_catalog.<>) '' THEN actor_text::pg_catalog.jsonb END;
        given := CASE WHEN context_text OPERATOR(pg_catalog.<>) '' THEN context_text::pg_catalog.jsonb ELSE '{}' END;
        IF pg_catalog.octet_length(pg_catalog.concat(actor_text, context_text)) OPERATOR(pg_catalog.<=) 65536
            AND (
                actor IS NULL
                OR (actor OPERATOR(pg_catalog.->>) 'type') OPERATOR(pg_catalog.=) ANY (
                    ARRAY['user', 'admin', 'service_account', 'job', 'system']
                )
                AND pg_catalog.jsonb_typeof(actor OPERATOR(pg_catalog.->) 'id') OPERATOR(pg_catalog.=) 'string'
                AND (actor OPERATOR(pg_catalog.->>) 'id') OPERATOR(pg_catalog.<>) ''
            )
            AND pg_catalog.jsonb_typeof(given) OPERATOR(pg_catalog.=) 'object'
            AND (given OPERATOR(pg_catalog.-) ARRAY[
                'action_id', 'request_id', 'correlation_id', 'job_id', 'source', 'remote_addr', 'meta'
            ]) OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
            AND COALESCE(
                pg_catalog.jsonb_typeof(given OPERATOR(pg_catalog.->) 'meta') OPERATOR(pg_catalog.=) 'object',
                true
            )
        THEN
            seen := ROW(
                CASE WHEN actor IS NOT NULL THEN pg_catalog.jsonb_build_object(
                    'type', actor OPERATOR(pg_catalog.->>) 'type', 'id', actor OPERATOR(pg_catalog.->>) 'id'
                ) END,
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

-- Makes sure that the running transaction has its row, and says what its changes carry.
--
-- Called by capture when its note of the context (`expected`, which begins with a keyed hash) is
-- not the one in force: at a transaction's first change, and after the context changed.
--
-- The note is the setting threadline.recorded. PostgreSQL takes it back together with the row
-- when a savepoint is rolled back. It cannot be made up by a session, because of the hash; one
-- that is lost only costs the look-up behind ON CONFLICT.
CREATE OR REPLACE FUNCTION threadline.record_transaction(
    this_transaction uuid, expected text, table_schema text, table_name text
) RETURNS threadline.attribution
LANGUAGE plpgsql AS $record$
#variable_conflict use_column
DECLARE
    note text := pg_catalog.current_setting('threadline.recorded', true);
    note_key text := pg_catalog.split_part(expected, '|', 1);
    v_suspended boolean := (
        pg_catalog.current_setting('threadline.suspended', true) OPERATOR(pg_catalog.<>) ''
    ) IS TRUE;
    v_context threadline.context_in_force;
    v_found threadline.attribution;
    v_recorded_actor jsonb;
    v_same boolean;
BEGIN
    IF v_suspended THEN
        v_found.suspension := threadline.suspension_of(table_schema, table_name);
        IF v_found.suspension IS NOT NULL THEN
            RETURN v_found;
        END IF;
    END IF;
    v_context := threadline.read_context();
    v_found.action_id := v_context.action_id;
    v_found.attributed := v_context.actor_ref IS NOT NULL;

    IF pg_catalog.starts_with(note, note_key) IS NOT TRUE THEN
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
        ) ON CONFLICT DO NOTHING
        RETURNING pg_catalog.set_config(
            'threadline.recorded',
            expected OPERATOR(pg_catalog.||)
                CASE WHEN v_context.error IS NULL AND NOT v_suspended THEN '' ELSE '!' END,
            true
        ) INTO note;
        IF FOUND THEN
            RETURN v_found;
        END IF;
    END IF;

    -- The transaction has its row, and the context changed since. What the row does not know
    -- yet is filled in; what it knows stays, and later changes carry their own actor.
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
    SELECT recorded.actor_ref INTO v_recorded_actor
    FROM threadline.audit_transactions AS recorded
    WHERE recorded.id OPERATOR(pg_catalog.=) this_transaction;

    v_same := COALESCE(
        v_recorded_actor OPERATOR(pg_catalog.=) v_context.actor_ref,
        v_recorded_actor IS NULL AND v_context.actor_ref IS NULL
    );
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
DECLARE
    note_key text := pg_catalog.uuid_hash_extended(
        this_transaction,
        pg_catalog.pg_sequence_last_value('threadline.capture_secret'::pg_catalog.regclass)
    )::pg_catalog.text;
BEGIN
    RETURN threadline.record_transaction(
        this_transaction,
        pg_catalog.concat(
            note_key, '|', pg_catalog.current_setting('threadline.actor_ref', true),
            '|', pg_catalog.current_setting('threadline.context', true),
            '|', pg_catalog.current_setting('threadline.action_id', true)
        ),
        table_schema,
        table_name
    );
END
$attribute$;

-- Attributes a change that capture has just recorded in the belief that it was the transaction's
-- first, where it was not: the session had lost capture's note, by RESET ALL for instance.
CREATE OR REPLACE FUNCTION threadline.attribute_first_change(
    this_transaction uuid, expected text, table_schema text, table_name text
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
            AND change.id OPERATOR(pg_catalog.=) pg_catalog.currval(
                'threadline.audit_changes_id_seq'::pg_catalog.regclass
            );
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

-- Records an action in the running transaction. `action` holds id, name, and optionally status,
-- verb, category, reason, comment, meta; the rest comes from `actor` and `context`.
CREATE OR REPLACE FUNCTION threadline.record_action(
    action jsonb, actor jsonb, context jsonb
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $record$
#variable_conflict use_column
DECLARE
    action_id uuid := (action ->> 'id')::uuid;
    actor_type text := actor ->> 'type';
    actor_id text := actor ->> 'id';
    represented jsonb;
BEGIN
    -- As is_actor_ref and plain_actor_ref have it; a call of a SQL function would cost more than all
    -- of this.
    IF actor IS NOT NULL AND (
        actor_type = 'anonymous'
        OR actor_type IN ('user', 'admin', 'service_account', 'job', 'system') AND actor_id <> ''
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'no actor: %', actor
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'An actor is {"type": "user", "id": "42"}; see guides/domain-reference.md.';
    END IF;
    IF actor_type = 'anonymous' THEN
        actor_id := NULL;
    END IF;
    IF context ? 'on_behalf_of' THEN
        represented := threadline.plain_actor_ref(context -> 'on_behalf_of');
    END IF;
    INSERT INTO threadline.audit_actions (
        id, transaction_id, recorded_at, name, status, actor_ref, on_behalf_of, verb, category,
        reason, comment, correlation_id, request_id, job_id, meta
    ) VALUES (
        action_id, threadline.current_transaction_id(), clock_timestamp(), action ->> 'name',
        COALESCE(action ->> 'status', 'ok'),
        CASE WHEN actor_type IS NOT NULL THEN
            jsonb_strip_nulls(jsonb_build_object('type', actor_type, 'id', actor_id))
        END,
        represented, action ->> 'verb',
        action ->> 'category', action ->> 'reason', action ->> 'comment',
        context ->> 'correlation_id', context ->> 'request_id', context ->> 'job_id',
        action -> 'meta'
    );
    RETURN action_id;
END
$record$;

-- Opens an audited piece of work in the running transaction: publishes the context by
-- transaction-local settings and records the action, if there is one.
--
-- `work` is {"actor_ref": ..., "context": {...}, "action": {...}}. Returns what was in force
-- before, for close_audited_work.
CREATE OR REPLACE FUNCTION threadline.open_audited_work(work jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $open$
DECLARE
    before jsonb := jsonb_build_object(
        'actor_ref', current_setting('threadline.actor_ref', true),
        'context', current_setting('threadline.context', true),
        'action_id', current_setting('threadline.action_id', true)
    );
    action jsonb := work -> 'action';
    context jsonb := COALESCE(work -> 'context', '{}');
    outermost text;
BEGIN
    BEGIN
        outermost := (before ->> 'context')::jsonb ->> 'action_id';
    EXCEPTION WHEN OTHERS THEN
        outermost := NULL; -- malformed context of somebody else; capture reports it
    END;
    outermost := COALESCE(outermost, NULLIF(before ->> 'action_id', ''), action ->> 'id');
    IF outermost IS NOT NULL THEN
        context := context || jsonb_build_object('action_id', outermost);
    END IF;
    IF action IS NOT NULL THEN
        PERFORM threadline.record_action(action, work -> 'actor_ref', context);
    END IF;
    PERFORM set_config('threadline.actor_ref', COALESCE((work -> 'actor_ref')::text, ''), true),
            set_config('threadline.context', context::text, true),
            set_config('threadline.action_id', COALESCE(action ->> 'id', before ->> 'action_id', ''), true);
    RETURN before;
END
$open$;

-- Closes an audited piece of work: puts back what was in force before it, and says which audit
-- transaction it belongs to (none if nothing was captured) and how much it captured: under the
-- given action, or in the whole transaction if there is none.
CREATE OR REPLACE FUNCTION threadline.close_audited_work(
    before jsonb, action uuid,
    OUT transaction_id uuid, OUT changes bigint, OUT tables bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $close$
#variable_conflict use_column
DECLARE
    this_transaction uuid;
    this_moment timestamptz;
BEGIN
    IF before IS NOT NULL THEN
        PERFORM set_config('threadline.actor_ref', COALESCE(before ->> 'actor_ref', ''), true),
                set_config('threadline.context', COALESCE(before ->> 'context', ''), true),
                set_config('threadline.action_id', COALESCE(before ->> 'action_id', ''), true);
    END IF;
    changes := 0;
    tables := 0;
    -- Capture notes that it has made the transaction's row. Without a note nothing was captured.
    IF COALESCE(current_setting('threadline.recorded', true), '') = '' THEN
        RETURN;
    END IF;
    this_transaction := threadline.current_transaction_id();
    this_moment := clock_timestamp();
    -- The bounds on captured_at only spare the partitions of other months.
    SELECT count(*), count(DISTINCT (change.table_schema, change.table_name))
    INTO changes, tables
    FROM threadline.audit_changes AS change
    WHERE change.transaction_id = this_transaction
        AND change.captured_at > now() - interval '1 day'
        AND change.captured_at < this_moment + interval '1 day'
        AND (action IS NULL OR change.action_id = action);
    IF changes > 0 OR EXISTS (
        SELECT FROM threadline.audit_transactions AS recorded WHERE recorded.id = this_transaction
    ) THEN
        transaction_id := this_transaction;
    END IF;
END
$close$;

-- Stored values must not show the settings of the session that wrote them. Capture looks at the
-- settings its table's types depend on; only where one is unusual does it come here.

-- Sets everything that shows in values to what the trail is written with, for the moment.
-- Returns what was set before, for unpin_session.
CREATE OR REPLACE FUNCTION threadline.pin_session() RETURNS text[]
LANGUAGE plpgsql AS $pin$
DECLARE
    before text[] := ARRAY[
        pg_catalog.current_setting('TimeZone'),
        pg_catalog.current_setting('DateStyle'),
        pg_catalog.current_setting('IntervalStyle'),
        pg_catalog.current_setting('bytea_output'),
        pg_catalog.current_setting('extra_float_digits'),
        pg_catalog.current_setting('lc_monetary'),
        pg_catalog.current_setting('search_path')
    ];
BEGIN
    PERFORM pg_catalog.set_config('TimeZone', 'UTC', true);
    PERFORM pg_catalog.set_config('DateStyle', 'ISO, MDY', true);
    PERFORM pg_catalog.set_config('IntervalStyle', 'postgres', true);
    PERFORM pg_catalog.set_config('bytea_output', 'hex', true);
    PERFORM pg_catalog.set_config('extra_float_digits', '1', true);
    PERFORM pg_catalog.set_config('lc_monetary', 'C', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
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
END
$unpin$;

-- What capture does when a table is no longer the one its functions were generated for.
--
-- A column that was dropped or renamed must not cost a write, and a column that was added must not
-- be stored before somebody has classified it. The generated functions notice the first by an
-- undefined column and the second by a row image that changed where no known column did; both then
-- ask here for a query built from the table as it is. Slow, exact, and reported by coverage.

-- The policy that the capture triggers of a table were generated from.
CREATE OR REPLACE FUNCTION threadline.deployed_policy(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN COALESCE((
    SELECT obj_description(tgfoid, 'pg_proc')::jsonb -> 'table'
    FROM pg_trigger
    WHERE tgrelid = relation AND tgname LIKE '00\_threadline\_%'
        AND obj_description(tgfoid, 'pg_proc') LIKE '{%'
    LIMIT 1
), '{}'); -- without a policy nothing is classified, so nothing is stored in clear

-- Whether a table has columns that its capture was not generated for.
CREATE OR REPLACE FUNCTION threadline.has_unclassified(relation oid, known text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND NOT attname = ANY (known)
);

-- The key of a row as one text: the value itself, or all values, by their columns' names, as a
-- JSON array. Texts that are
-- too long for an index are replaced by a digest.
CREATE OR REPLACE FUNCTION threadline.row_key(VARIADIC parts text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $key$
DECLARE
    joined text;
BEGIN
    IF pg_catalog.array_length(parts, 1) OPERATOR(pg_catalog.=) 1 THEN
        joined := parts[1];
    ELSE
        joined := pg_catalog.to_jsonb(parts)::pg_catalog.text;
    END IF;
    IF pg_catalog.octet_length(joined) OPERATOR(pg_catalog.>) 512 THEN
        joined := 'sha256:' OPERATOR(pg_catalog.||) pg_catalog.encode(
            pg_catalog.sha256(pg_catalog.convert_to(joined, 'UTF8')), 'hex'
        );
    END IF;
    RETURN joined;
END
$key$;

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
            WHEN type.typname IN ('json', '_json', '_jsonb')
                OR type.typnamespace <> 'pg_catalog'::regnamespace AND type.typtype <> 'e'
                THEN format('%I.%I::pg_catalog.text', alias, attribute.attname)
            WHEN type.typcategory = 'A' THEN format(
                'CASE WHEN pg_catalog.array_ndims(%1$I.%2$I) OPERATOR(pg_catalog.=) 1 '
                'AND pg_catalog.array_lower(%1$I.%2$I, 1) OPERATOR(pg_catalog.=) 1 '
                'THEN pg_catalog.to_jsonb(%1$I.%2$I) '
                'ELSE pg_catalog.to_jsonb(%1$I.%2$I::pg_catalog.text) END',
                alias, attribute.attname)
            ELSE format('%I.%I', alias, attribute.attname)
        END
    FROM pg_attribute AS attribute
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    LEFT JOIN LATERAL (
        SELECT col ->> 'rule' AS rule
        FROM jsonb_array_elements(policy -> 'columns') AS col
        WHERE col ->> 'name' = attribute.attname
    ) AS declared ON true
    WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
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
-- the audited table's schema and name, and whether rows are to be counted.

CREATE OR REPLACE FUNCTION threadline.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $truncate$
#variable_conflict use_column
DECLARE
    v_partition text;
    v_rows bigint;
    v_attribution threadline.attribution;
    v_transaction uuid := threadline.current_transaction_id();
    v_emptied text := current_setting('threadline.truncating', true);
BEGIN
    -- TRUNCATE of a partitioned table fires here for its partitions too, the root first.
    IF TG_TABLE_SCHEMA <> TG_ARGV[0] OR TG_TABLE_NAME <> TG_ARGV[1] THEN
        v_partition := format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME);
        -- A partition that was detached keeps this trigger, but is nobody's part any more. A renamed
        -- root does not have its old name, and its family is still captured.
        IF to_regclass(format('%I.%I', TG_ARGV[0], TG_ARGV[1])) IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = TG_RELID)
        THEN
            RETURN NULL;
        END IF;
        IF v_emptied = format('%s %I.%I', statement_timestamp(), TG_ARGV[0], TG_ARGV[1]) THEN
            RETURN NULL;
        END IF;
    ELSIF EXISTS (SELECT FROM pg_inherits WHERE inhparent = TG_RELID) THEN
        PERFORM set_config(
            'threadline.truncating',
            format('%s %I.%I', statement_timestamp(), TG_ARGV[0], TG_ARGV[1]), true
        );
    END IF;
    IF TG_ARGV[2] = 'count' THEN
        EXECUTE format('SELECT count(*) FROM %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO v_rows;
    END IF;
    v_attribution := threadline.attribute_change(v_transaction, TG_ARGV[0], TG_ARGV[1]);
    IF v_attribution.suspension IS NOT NULL THEN
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

    -- Columns that nobody classified are not captured, which somebody should know.
    FOR difference IN
        SELECT attribute.attname AS name
        FROM pg_attribute AS attribute
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
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
BEGIN
    FOREACH function IN ARRAY ARRAY[row_function, statement_function] LOOP
        EXECUTE format(
            'COMMENT ON FUNCTION %s() IS %L', function,
            policy || jsonb_build_object('body', (
                SELECT encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') FROM pg_proc
                WHERE oid = (function || '()')::regprocedure
            ))
        );
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
            AND tgenabled IN ('O', 'A')
    ) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH %s EXECUTE FUNCTION %s(%s)',
        trigger_name,
        CASE events & ~1
            WHEN 4 THEN 'AFTER INSERT' WHEN 8 THEN 'AFTER DELETE'
            WHEN 16 THEN 'AFTER UPDATE' WHEN 18 THEN 'BEFORE UPDATE' WHEN 34 THEN 'BEFORE TRUNCATE'
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

-- Locks tables that are about to get triggers, all or none, without ever making a writer a victim.
--
-- A migration that waits for one table while it holds another can deadlock with a writer that took
-- them the other way round, and after a second PostgreSQL ends one of the two. So this waits for a
-- fraction of that, lets everything go, and tries again.
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
    one text;
    patience text := current_setting('lock_timeout');
BEGIN
    -- Two migrations of one kind would replace the same functions.
    PERFORM pg_advisory_xact_lock(hashtextextended('threadline enrolment', 0));
    FOR attempt IN 1 .. 100 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '250ms', true);
            FOREACH one IN ARRAY waiting LOOP
                EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', one);
            END LOOP;
            PERFORM set_config('lock_timeout', patience, true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.05 + random() * 0.1);
        END;
    END LOOP;
    RAISE EXCEPTION 'tables are too busy to put them under capture: %', array_to_string(waiting, ', ')
        USING ERRCODE = 'lock_not_available',
              HINT = 'Run the migration again at a quieter time; nothing was changed.';
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
-- The names sort before any other trigger's, since PostgreSQL fires by name.
CREATE OR REPLACE FUNCTION threadline.attach_capture(
    declared jsonb, row_function text, statement_function text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $attach$
DECLARE
    root regclass := format('%I.%I', declared #>> '{name,schema}', declared #>> '{name,name}')::regclass;
    -- As the generated functions write it: always quoted.
    root_name text := format(
        '"%s"."%s"', replace(declared #>> '{name,schema}', '"', '""'),
        replace(declared #>> '{name,name}', '"', '""')
    );
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
    FOR relation IN
        WITH RECURSIVE family (oid) AS (
            SELECT root::oid
            UNION
            SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = family.oid
        )
        SELECT oid FROM family
    LOOP
        IF relation = root AND partitioned THEN
            PERFORM threadline.ensure_trigger(relation, '00_threadline_begin_update', 18, 'threadline.begin_update', ARRAY[root_name]);
            PERFORM threadline.ensure_trigger(relation, '00_threadline_end_update', 16, 'threadline.end_update', ARRAY[root_name]);
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
BEGIN
    SELECT (array_agg(obj_description(oid, 'pg_proc')::jsonb -> 'table'))[1],
        min(format('threadline.%I', proname)) FILTER (WHERE proname LIKE 'capture\_row\_%'),
        min(format('threadline.%I', proname)) FILTER (WHERE proname LIKE 'capture\_statement\_%')
    INTO declared, row_function, statement_function
    FROM pg_proc
    WHERE pronamespace = 'threadline'::regnamespace AND proname LIKE 'capture\_%'
        AND obj_description(oid, 'pg_proc') LIKE '{%'
        AND obj_description(oid, 'pg_proc')::jsonb #>> '{table,name,schema}' = refresh_capture.table_schema
        AND obj_description(oid, 'pg_proc')::jsonb #>> '{table,name,name}' = refresh_capture.table_name;
    IF declared IS NULL THEN
        RAISE EXCEPTION 'table %.% has no capture policy', table_schema, table_name
            USING HINT = 'Declare it in the code and run gen-triggers.';
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
    FOR found_trigger IN
        WITH RECURSIVE family (oid) AS (
            SELECT to_regclass(format('%I.%I', table_schema, table_name))::oid
            UNION
            SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = family.oid
        )
        SELECT tgrelid::regclass AS relation, tgname
        FROM pg_trigger JOIN family ON tgrelid = family.oid
        -- Triggers of partitions go with their root's.
        WHERE tgname LIKE '00\_threadline\_%' AND tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found_trigger.tgname, found_trigger.relation);
    END LOOP;
END
$detach$;

-- The trail only grows. These guards stop everyone, its owner too, from changing what is recorded;
-- only what the running transaction recorded itself may still be completed by capture, and
-- 15_removal.sql has the one way in which the trail gets smaller.

CREATE OR REPLACE FUNCTION threadline.guard_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
    recorded_in uuid;
BEGIN
    IF TG_ARGV[0] = 'id' THEN
        recorded_in := OLD.id;
    ELSE
        recorded_in := OLD.transaction_id;
    END IF;
    IF TG_OP = 'UPDATE' AND recorded_in = threadline.current_transaction_id() THEN
        RETURN NEW;
    END IF;
    IF threadline.verified(current_setting('threadline.sanctioned', true)) = 'sanctioned' THEN
        RETURN CASE TG_OP WHEN 'UPDATE' THEN NEW ELSE OLD END;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'What has to go goes by remove_changes or erase_values, which record what they remove.';
END
$guard$;

CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON threadline.audit_transactions
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_row('id');
CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON threadline.audit_changes
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_row('transaction_id');
CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON threadline.audit_actions
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_row('transaction_id');
CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON threadline.audit_renames
    FOR EACH ROW EXECUTE FUNCTION threadline.guard_row('transaction_id');

CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_changes
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_actions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON threadline.audit_renames
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_truncate();

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
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp AS $segments$
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
CREATE OR REPLACE VIEW threadline.audit_timeline AS
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
LEFT JOIN threadline.audit_actions AS action ON action.id = change.action_id;

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
-- PostgreSQL fires a delete on the partition it leaves and, right after it, an insert on the one it
-- comes to. Recorded like that, a row's history would break at every move. So a statement trigger
-- marks that an update of the root is running; the delete notes the change it recorded, and the
-- insert completes that change to the update it is. Nothing is held back on the way: a delete that
-- no insert follows stays recorded as a delete.

-- The mark of a running update: which table, at which depth of triggers, in which transaction.
CREATE OR REPLACE FUNCTION threadline.movement_mark(root text) RETURNS text
LANGUAGE sql STABLE
RETURN pg_catalog.concat_ws(
    ' ', threadline.current_transaction_id(), pg_catalog.pg_trigger_depth(), root
);

CREATE OR REPLACE FUNCTION threadline.begin_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $begin$
BEGIN
    PERFORM set_config('threadline.moving', threadline.movement_mark(TG_ARGV[0]), true),
            set_config('threadline.moved_change', '', true);
    RETURN NULL;
END
$begin$;

CREATE OR REPLACE FUNCTION threadline.end_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $end$
BEGIN
    PERFORM set_config('threadline.moving', '', true);
    RETURN NULL;
END
$end$;

-- The fields of an old image whose values are not the new one's. As texts: 1.0 is not 1.00.
CREATE OR REPLACE FUNCTION threadline.changed_values(before jsonb, after jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT COALESCE(pg_catalog.jsonb_object_agg(field.key, field.value), '{}')
    FROM pg_catalog.jsonb_each(before) AS field
    WHERE (field.value::text OPERATOR(pg_catalog.=) (after OPERATOR(pg_catalog.->) field.key)::text)
        IS NOT TRUE
);

-- Completes the delete that was recorded just before to the update it was part of. Returns whether
-- there was one.
CREATE OR REPLACE FUNCTION threadline.complete_movement(
    this_transaction uuid, root text, new_pk jsonb, new_key text, image jsonb
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $complete$
#variable_conflict use_column
DECLARE
    deleted_id text := current_setting('threadline.moved_change', true);
    this_moment timestamptz := clock_timestamp();
    completed record;
BEGIN
    -- Anything but a number was not noted by capture.
    IF (deleted_id ~ '^[0-9]{1,18}$') IS NOT TRUE
        OR current_setting('threadline.moving', true) IS DISTINCT FROM threadline.movement_mark(root)
    THEN
        RETURN false;
    END IF;
    PERFORM set_config('threadline.moved_change', '', true);
    UPDATE threadline.audit_changes AS change
    SET op = 'update', table_pk = new_pk, row_key = new_key,
        previous_key = CASE WHEN change.row_key <> new_key THEN change.row_key END,
        data_after = image,
        changed_from = threadline.changed_values(change.changed_from, image)
    WHERE change.transaction_id = this_transaction AND change.op = 'delete'
        AND change.id = deleted_id::bigint
        AND change.captured_at > now() - interval '1 day'
        AND change.captured_at < this_moment + interval '1 day'
    RETURNING change.* INTO completed;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF completed.previous_key IS NOT NULL THEN
        PERFORM threadline.record_rename(
            completed.id, completed.captured_at, this_transaction, completed.table_schema,
            completed.table_name, new_key, completed.previous_key
        );
    END IF;
    RETURN true;
END
$complete$;

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

-- A text only this database can make: what a session cannot put into a setting.
CREATE OR REPLACE FUNCTION threadline.signed(content text) RETURNS text
LANGUAGE sql STABLE
RETURN pg_catalog.concat(
    pg_catalog.hashtextextended(
        pg_catalog.concat(threadline.current_transaction_id(), ' ', content),
        pg_catalog.pg_sequence_last_value('threadline.capture_secret'::pg_catalog.regclass)
    ),
    ' ', content
);

-- The content of a signed text, or null if nobody here signed it.
CREATE OR REPLACE FUNCTION threadline.verified(signature text) RETURNS text
LANGUAGE sql STABLE
RETURN (
    SELECT CASE WHEN threadline.signed(content) OPERATOR(pg_catalog.=) signature THEN content END
    FROM pg_catalog.substr(
        signature, pg_catalog.strpos(signature, ' ') OPERATOR(pg_catalog.+) 1
    ) AS content
);

CREATE OR REPLACE FUNCTION threadline.suspend_capture(tables regclass[], reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $suspend$
DECLARE
    suspension bigint;
    names text[] := ARRAY(
        SELECT format('%I.%I', namespace.nspname, class.relname)
        FROM unnest(tables) AS given
        JOIN pg_class AS class ON class.oid = given
        JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        ORDER BY 1
    );
BEGIN
    IF cardinality(names) = 0 OR COALESCE(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'suspending capture takes the tables it is for, and a reason'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO threadline.audit_suspensions (transaction_id, suspended_at, suspended_by, reason, tables)
    VALUES (threadline.current_transaction_id(), clock_timestamp(), session_user, reason, names)
    RETURNING id INTO suspension;
    -- Capture asks whether it is suspended only where its note of the context is not the one in
    -- force, so the note goes.
    PERFORM set_config('threadline.suspended', threadline.signed(suspension || ' ' || names::text), true),
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

-- The suspension in force for a table, if there is one.
CREATE OR REPLACE FUNCTION threadline.suspension_of(table_schema text, table_name text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $suspension$
DECLARE
    content text := threadline.verified(current_setting('threadline.suspended', true));
    suspension text := split_part(content, ' ', 1);
BEGIN
    IF format('%I.%I', table_schema, table_name) = ANY (substr(content, length(suspension) + 2)::text[]) THEN
        RETURN suspension::bigint;
    END IF;
    RETURN NULL;
END
$suspension$;

-- Counts rows that went by. The count of the running statement is kept in a setting, signed; the
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

DROP TRIGGER IF EXISTS write_last_count ON threadline.audit_suspensions;
CREATE CONSTRAINT TRIGGER write_last_count AFTER INSERT ON threadline.audit_suspensions
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION threadline.write_last_suspended_count();

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

-- Lets the running function past the guards.
CREATE OR REPLACE FUNCTION threadline.sanction(allowed boolean) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT NULL::void
    FROM set_config(
        'threadline.sanctioned',
        CASE WHEN allowed THEN threadline.signed('sanctioned') ELSE '' END,
        true
    ) AS done
);

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
    )
    DELETE FROM threadline.audit_changes AS change USING expired
    WHERE change.captured_at = expired.captured_at AND change.id = expired.id;
    GET DIAGNOSTICS removed = ROW_COUNT;
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

CREATE OR REPLACE TRIGGER guard_record BEFORE UPDATE OR DELETE OR TRUNCATE ON threadline.audit_suspensions
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();
CREATE OR REPLACE TRIGGER guard_record BEFORE UPDATE OR DELETE OR TRUNCATE ON threadline.audit_suspended_writes
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();
CREATE OR REPLACE TRIGGER guard_record BEFORE UPDATE OR DELETE OR TRUNCATE ON threadline.audit_removals
    FOR EACH STATEMENT EXECUTE FUNCTION threadline.guard_record();

-- What is captured, how well, and what a mechanism cannot see by itself. Only the catalog is asked,
-- but for orphans, which are looked for in what was captured since an instant.

-- Every capture policy that is deployed: the table it names, its functions, and the table it is on.
CREATE OR REPLACE VIEW threadline.deployed_policies AS
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
CROSS JOIN LATERAL (
    SELECT pg_catalog.obj_description(function.oid, 'pg_proc')::jsonb AS policy
    WHERE pg_catalog.obj_description(function.oid, 'pg_proc') LIKE '{%'
) AS description
WHERE namespace.nspname = 'threadline' AND function.proname LIKE 'capture\_%';

-- The tables of the host, each with whether it is captured.
CREATE OR REPLACE FUNCTION threadline.coverage()
RETURNS TABLE (table_schema text, table_name text, captured boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT namespace.nspname::text, class.relname::text,
        EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = class.oid AND tgname = '00_threadline_update' AND tgenabled IN ('O', 'A')
        )
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p') AND NOT class.relispartition
        AND namespace.nspname NOT IN ('pg_catalog', 'information_schema', 'threadline')
        AND namespace.nspname NOT LIKE 'pg\_%'
    ORDER BY 1, 2;
END;

-- Everything that is wrong with capture, or could make somebody believe it sees more than it does.
CREATE OR REPLACE FUNCTION threadline.coverage_findings(
    generator_version integer DEFAULT 1, orphans_since timestamptz DEFAULT now() - interval '1 day'
) RETURNS TABLE (
    severity text, code text, table_schema text, table_name text, explanation text, remedy text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $findings$
#variable_conflict use_column
DECLARE
    generate CONSTANT text := 'generate and apply the capture migration again (gen-triggers)';
BEGIN
    -- Tables that are gone, under the name their capture knows.
    RETURN QUERY
    SELECT 'error', 'table_missing', policy.table_schema, policy.table_name,
        CASE WHEN moved.relation IS NULL
            THEN 'the captured table does not exist any more'
            ELSE format('the captured table is called %s now; its changes are recorded under the old name', moved.relation)
        END,
        'correct the table''s name in the code, then ' || generate
    FROM threadline.deployed_policies AS policy
    LEFT JOIN LATERAL (
        SELECT tgrelid::regclass AS relation FROM pg_trigger
        WHERE tgfoid = policy.function AND tgparentid = 0 LIMIT 1
    ) AS moved ON true
    WHERE policy.by_row AND policy.relation IS NULL;

    -- Functions.
    RETURN QUERY
    SELECT finding.severity, finding.code, policy.table_schema, policy.table_name,
        format('%s: %s', policy.function::regprocedure, finding.explanation), generate
    FROM threadline.deployed_policies AS policy
    CROSS JOIN LATERAL (VALUES
        ('error', 'function_changed', policy.changed_by_hand, 'the body is not the one that was generated'),
        ('error', 'function_owner', NOT policy.runs_as_owner, 'it does not run as the owner of the trail'),
        ('warning', 'function_outdated', policy.version < generator_version, 'it was generated by an older release')
    ) AS finding (severity, code, applies, explanation)
    WHERE finding.applies;

    -- Triggers: on the table, and on everything that holds its rows.
    RETURN QUERY
    WITH RECURSIVE family (root, relation, is_partition) AS (
        SELECT policy.relation::oid, policy.relation::oid, false
        FROM threadline.deployed_policies AS policy WHERE policy.by_row AND policy.relation IS NOT NULL
        UNION
        SELECT family.root, child.oid, child.relispartition
        FROM family
        JOIN pg_inherits AS inherits ON inherits.inhparent = family.relation
        JOIN pg_class AS child ON child.oid = inherits.inhrelid
    ),
    expected AS (
        SELECT family.*, name.trigger_name
        FROM family
        CROSS JOIN (VALUES
            ('00_threadline_insert'), ('00_threadline_update'), ('00_threadline_delete'),
            ('00_threadline_truncate')
        ) AS name (trigger_name)
    )
    SELECT
        'error',
        CASE
            WHEN trigger.oid IS NOT NULL AND trigger.tgenabled = 'D' THEN 'trigger_disabled'
            WHEN trigger.oid IS NOT NULL THEN 'trigger_replica_only'
            WHEN expected.is_partition THEN 'partition_uncovered'
            WHEN expected.relation <> expected.root THEN 'child_uncovered'
            ELSE 'trigger_missing'
        END,
        namespace.nspname::text, class.relname::text,
        format('trigger %I on %s %s', expected.trigger_name, expected.relation::regclass,
            CASE trigger.tgenabled WHEN 'D' THEN 'is disabled' WHEN 'R' THEN 'fires on replicas only' ELSE 'is missing' END),
        CASE WHEN trigger.oid IS NOT NULL
            THEN format('ALTER TABLE %s ENABLE TRIGGER %I', expected.relation::regclass, expected.trigger_name)
            ELSE format('SELECT threadline.refresh_capture(%L, %L)', namespace.nspname, class.relname)
        END
    FROM expected
    JOIN pg_class AS class ON class.oid = expected.root
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_trigger AS trigger
        ON trigger.tgrelid = expected.relation AND trigger.tgname = expected.trigger_name
    WHERE trigger.oid IS NULL OR trigger.tgenabled NOT IN ('O', 'A');

    RETURN QUERY
    SELECT 'error', 'trigger_duplicated', namespace.nspname::text, class.relname::text,
        format('triggers %s record every change more than once', string_agg(quote_ident(trigger.tgname), ', ')),
        format('drop all but 00_threadline_%s', min(event.name))
    FROM pg_trigger AS trigger
    JOIN pg_class AS class ON class.oid = trigger.tgrelid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    CROSS JOIN (VALUES ('insert', 4), ('delete', 8), ('update', 16)) AS event (name, bit)
    WHERE trigger.tgfoid IN (SELECT function FROM threadline.deployed_policies)
        AND trigger.tgtype & event.bit <> 0
    GROUP BY namespace.nspname, class.relname, class.oid, event.name
    HAVING count(*) > 1;

    -- A host's own row trigger runs before a statement trigger, and its writes are recorded first.
    RETURN QUERY
    SELECT 'warning', 'order_at_risk', policy.table_schema, policy.table_name,
        format('trigger %I was added after capture; what it writes is recorded before what caused it', own.tgname),
        format('SELECT threadline.refresh_capture(%L, %L)', policy.table_schema, policy.table_name)
    FROM threadline.deployed_policies AS policy
    JOIN pg_trigger AS own ON own.tgrelid = policy.relation
    WHERE policy.by_row AND NOT own.tgisinternal AND own.tgname NOT LIKE '00\_threadline\_%'
        AND own.tgtype::integer & 3 = 1
        AND EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = policy.relation
                AND tgname = '00_threadline_insert' AND tgtype = 4
        );

    -- Columns and key.
    RETURN QUERY
    SELECT 'error', 'column_missing', policy.table_schema, policy.table_name,
        format('column %I was dropped or renamed; capture works without it, slowly', declared.name),
        'take it out of the code (diesel print-schema), then ' || generate
    FROM threadline.deployed_policies AS policy
    CROSS JOIN LATERAL (
        SELECT col ->> 'name' AS name FROM jsonb_array_elements(policy.declared -> 'columns') AS col
    ) AS declared
    WHERE policy.by_row AND policy.relation IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = policy.relation AND attname = declared.name AND attnum > 0 AND NOT attisdropped
    );
    RETURN QUERY
    SELECT 'error', 'column_unclassified', policy.table_schema, policy.table_name,
        format('column %I is not declared, so its values are not captured', attribute.attname),
        'declare it: in clear, masked or excluded; then ' || generate
    FROM threadline.deployed_policies AS policy
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = policy.relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
    WHERE policy.by_row AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(policy.declared -> 'columns') AS col
        WHERE col ->> 'name' = attribute.attname
    );
    RETURN QUERY
    SELECT 'error', 'key_drift', policy.table_schema, policy.table_name,
        format('the primary key is (%s) now, but capture identifies rows by (%s)',
            array_to_string(found.key, ', '), array_to_string(declared.key, ', ')),
        'correct the key in the code, then ' || generate
    FROM threadline.deployed_policies AS policy
    CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT jsonb_array_elements_text(
                CASE WHEN jsonb_typeof(policy.declared -> 'key') = 'object'
                    THEN policy.declared #> '{key,columns}' ELSE '[]' END
            )
        ) AS key
    ) AS declared
    JOIN LATERAL (
        SELECT array_agg(attribute.attname::text ORDER BY part.position) AS key
        FROM pg_index AS index
        CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (attnum, position)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = policy.relation AND attribute.attnum = part.attnum
        WHERE index.indrelid = policy.relation AND index.indisprimary AND part.position <= index.indnkeyatts
        HAVING count(*) > 0
    ) AS found ON NOT (found.key @> declared.key AND declared.key @> found.key)
    WHERE policy.by_row;

    -- Who could change the trail.
    RETURN QUERY
    SELECT DISTINCT 'error', 'trail_writable', 'threadline'::text, class.relname::text,
        format('role %I may %s the trail', COALESCE(role.rolname, 'public'), lower(privilege.privilege_type)),
        format('REVOKE %s ON %s FROM %I', privilege.privilege_type, class.oid::regclass, COALESCE(role.rolname, 'public'))
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    CROSS JOIN LATERAL aclexplode(class.relacl) AS privilege
    LEFT JOIN pg_roles AS role ON role.oid = privilege.grantee
    WHERE namespace.nspname = 'threadline' AND class.relkind IN ('r', 'p')
        AND privilege.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
        AND privilege.grantee <> class.relowner;
    RETURN QUERY
    SELECT 'error', 'trail_owned_by_writer', policy.table_schema, policy.table_name,
        format('role %I owns the table and the trail: whoever logs in as it can switch capture off and change what is recorded', owner.rolname),
        'let a role of its own own the trail; see guides/roles-and-trust.md'
    FROM threadline.deployed_policies AS policy
    JOIN pg_class AS class ON class.oid = policy.relation
    JOIN pg_namespace AS namespace ON namespace.nspname = 'threadline' AND namespace.nspowner = class.relowner
    JOIN pg_roles AS owner ON owner.oid = class.relowner AND NOT owner.rolsuper
    WHERE policy.by_row;
    RETURN QUERY
    SELECT 'error', 'guard_missing', 'threadline'::text, class.relname::text,
        'the guard against changing what is recorded is missing or disabled',
        'apply the base migration again (install)'
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = 'threadline' AND class.relkind IN ('r', 'p')
        AND class.relname ~ '^audit_(changes|transactions|actions)'
        AND 2 > (
            SELECT count(*) FROM pg_trigger
            WHERE tgrelid = class.oid AND tgname IN ('guard_row', 'guard_truncate') AND tgenabled IN ('O', 'A')
        );
    RETURN QUERY
    SELECT 'error', 'replication_role_default', NULL::text, NULL::text,
        format('%s starts sessions with %s, in which no trigger fires', COALESCE(
            'role ' || role.rolname, 'database ' || database.datname, 'the server'), setting),
        'reset session_replication_role there'
    FROM pg_db_role_setting AS defaults
    CROSS JOIN LATERAL unnest(defaults.setconfig) AS setting
    LEFT JOIN pg_roles AS role ON role.oid = defaults.setrole
    LEFT JOIN pg_database AS database ON database.oid = defaults.setdatabase
    WHERE setting LIKE 'session\_replication\_role=%' AND setting NOT LIKE '%=origin'
        AND (defaults.setdatabase = 0 OR database.datname = current_database());

    -- The trail itself.
    RETURN QUERY
    SELECT 'warning', 'partition_missing', 'threadline'::text, 'audit_changes'::text,
        format('there is no partition for %s; changes will go to the default partition', to_char(now() + interval '1 month', 'YYYY-MM')),
        'SELECT threadline.create_partitions(now(), 12)'
    WHERE to_regclass('threadline.audit_changes_' || to_char((now() + interval '1 month') AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL;
    RETURN QUERY
    SELECT 'warning', 'default_partition_used', 'threadline'::text, 'audit_changes_default'::text,
        'changes were captured in a month that has no partition; they stay there',
        'SELECT threadline.create_partitions(now(), 12), so that coming months have theirs'
    WHERE EXISTS (SELECT FROM threadline.audit_changes_default);
    RETURN QUERY
    SELECT 'error', 'orphan_changes', change.table_schema, change.table_name,
        format('%s changes belong to transactions whose row is gone', count(*)),
        'find out who removed it: the trail was tampered with'
    FROM threadline.audit_changes AS change
    WHERE change.captured_at >= orphans_since AND NOT EXISTS (
        SELECT FROM threadline.audit_transactions AS recorded WHERE recorded.id = change.transaction_id
    )
    GROUP BY change.table_schema, change.table_name;
END
$findings$;

-- The application can cause changes and say why; it can neither write, alter nor read the trail
-- beyond that. Who may read is granted by the host: GRANT SELECT ON ALL TABLES IN SCHEMA ... .

REVOKE ALL ON ALL TABLES IN SCHEMA threadline FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA threadline FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA threadline FROM PUBLIC;
REVOKE ALL ON SCHEMA threadline FROM PUBLIC;

GRANT USAGE ON SCHEMA threadline TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.open_audited_work(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.close_audited_work(jsonb, uuid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.record_action(jsonb, jsonb, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.current_transaction_id() TO PUBLIC;
-- Readers need these to make use of what they were granted.
GRANT EXECUTE ON FUNCTION threadline.changed_fields(text, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.row_key(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.transaction_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.action_id_from(timestamptz) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.row_from_image(anyelement, jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.base_type(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION threadline.row_segments(text, text, text) TO PUBLIC;
