-- What the generated capture functions share: one row in audit_changes for each change, and one row in
-- audit_transactions for each transaction.
--
-- record_change and what it calls run inside those functions, with the rights of the trail's owner and
-- under their search path (pg_catalog, pg_temp). No other role may execute them. A SET clause of their
-- own would cost every captured write a tenth.

-- A row key: the value itself, or a JSON array of the values. Keys that are too long for an index, and
-- those that look like a digest, are replaced by a digest.
CREATE FUNCTION @threadline@.row_key(VARIADIC key_values text[]) RETURNS text
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

-- Makes sure that the running transaction has its row, and returns the context in force. Called when
-- the marker does not match: at the first change of a transaction, and after the context changed.
CREATE FUNCTION @threadline@.record_transaction(this_transaction uuid, settings text)
RETURNS @threadline@.audit_context
LANGUAGE plpgsql AS $$
DECLARE
    given @threadline@.audit_context;
    marked text;
BEGIN
    IF settings <> concat(txid_current(), '|||') THEN
        given := @threadline@.parse_context();
    END IF;
    INSERT INTO @threadline@.audit_transactions (
        id, occurred_at, actor, on_behalf_of, action_id, request_id, correlation_id, job_id, context,
        xid, db_user, application_name, client_addr, backend_pid
    ) VALUES (
        this_transaction, clock_timestamp(), given.actor, given.on_behalf_of, given.root_action_id,
        given.request_id, given.correlation_id, given.job_id, given.context,
        pg_current_xact_id(), session_user, current_setting('application_name'), inet_client_addr(),
        pg_backend_pid()
    ) ON CONFLICT DO NOTHING;
    IF NOT FOUND AND current_setting('transaction_isolation') <> 'serializable' THEN
        -- The transaction has its row, and the context changed: fill in what the row does not know
        -- yet. Not under SERIALIZABLE, where reading the index would conflict with other writers.
        UPDATE @threadline@.audit_transactions AS recorded
        SET action_id = coalesce(recorded.action_id, given.root_action_id),
            request_id = coalesce(recorded.request_id, given.request_id),
            correlation_id = coalesce(recorded.correlation_id, given.correlation_id),
            job_id = coalesce(recorded.job_id, given.job_id),
            context = coalesce(given.context || recorded.context || CASE
                WHEN jsonb_typeof(given.context -> 'meta') = 'object'
                    AND jsonb_typeof(recorded.context -> 'meta') = 'object'
                THEN jsonb_build_object('meta', (given.context -> 'meta') || (recorded.context -> 'meta'))
                ELSE '{}'
            END, recorded.context, given.context)
        WHERE recorded.id = this_transaction
            AND (
                recorded.action_id IS NULL AND given.root_action_id IS NOT NULL
                OR recorded.request_id IS NULL AND given.request_id IS NOT NULL
                OR recorded.correlation_id IS NULL AND given.correlation_id IS NOT NULL
                OR recorded.job_id IS NULL AND given.job_id IS NOT NULL
                OR (recorded.context @> given.context) IS FALSE
                OR recorded.context IS NULL AND given.context IS NOT NULL
            );
    END IF;
    -- The marker: the next change in the same context does not come here. PostgreSQL restores the
    -- setting when a savepoint is rolled back, together with the row. While capture is suspended, and
    -- for a malformed context, every change comes here.
    IF given.is_malformed IS NOT TRUE AND coalesce(current_setting('threadline.suspended', true), '') = '' THEN
        -- An assignment, because PERFORM would run the executor.
        marked := concat(
            set_config('threadline.recorded', concat(settings, '|', given.actor), true),
            setval('@threadline@.capture_session', txid_current())
        );
    END IF;
    RETURN given;
END
$$;

-- Whether the running transaction suspended capture of a table. Only the record counts, because any role
-- can write the setting.
CREATE FUNCTION @threadline@.is_suspended(this_transaction uuid, table_schema text, table_name text)
RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (
    SELECT FROM @threadline@.audit_suspensions AS suspension
    WHERE suspension.transaction_id = this_transaction
        AND format('%I.%I', table_schema, table_name) = ANY (suspension.tables)
        AND suspension.order_id::text = ANY (string_to_array(current_setting('threadline.suspended', true), ','))
);

-- Records one change. Returns false if capture of the table is suspended.
--
-- The transaction's row is known to exist if the marker matches the settings in force and currval says
-- that this session recorded it in this transaction; a session can write the marker, but not the latter.
CREATE FUNCTION @threadline@.record_change(
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
    is_recorded boolean := false;
    actor text;
    action_id uuid;
    given @threadline@.audit_context;
    moved_before timestamptz;
    captured_at timestamptz;
BEGIN
    IF starts_with(marker, settings) THEN
        BEGIN
            is_recorded := currval('@threadline@.capture_session') = txid_current();
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            NULL; -- this session recorded nothing, or DISCARD SEQUENCES
        END;
    END IF;
    IF is_recorded THEN
        actor := nullif(substr(marker, length(settings) + 2), '');
        IF current_setting('threadline.action_id', true) <> '' THEN
            action_id := current_setting('threadline.action_id', true);
        END IF;
    ELSE
        IF current_setting('threadline.suspended', true) <> '' THEN
            IF @threadline@.is_suspended(this_transaction, table_schema, table_name) THEN
                RETURN false;
            END IF;
        END IF;
        given := @threadline@.record_transaction(this_transaction, settings);
        actor := given.actor;
        action_id := given.action_id;
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
        moved_before := @threadline@.later_change(
            this_transaction, table_schema, table_name, row_key, command_id
        );
    END IF;
    captured_at := coalesce(moved_before, clock_timestamp());
    INSERT INTO @threadline@.audit_changes (
        captured_at, transaction_id, action_id, command_id, actor, op, table_schema, table_name,
        table_pk, row_key, previous_key, data_after, changed_from, partition_name
    ) VALUES (
        captured_at, this_transaction, action_id, command_id, actor, op, table_schema, table_name,
        table_pk, row_key, previous_key, data_after, changed_from, partition_name
    );
    IF previous_key IS NOT NULL THEN
        INSERT INTO @threadline@.audit_key_changes (
            change_id, captured_at, transaction_id, table_schema, table_name, row_key, previous_key
        ) VALUES (
            currval('@threadline@.audit_changes_id_seq'), captured_at, this_transaction, table_schema,
            table_name, row_key, previous_key
        );
    END IF;
    IF moved_before IS NOT NULL THEN
        PERFORM @threadline@.move_later_changes(
            this_transaction, table_schema, table_name, row_key, command_id
        );
    END IF;
    RETURN true;
END
$$;

-- Order within a statement. PostgreSQL fires the AFTER triggers of a foreign key's action at the end of
-- the outer statement, but those of a statement in a trigger at once. So where both change one row, the
-- later change is captured first. The commands of the transaction tell: capture functions pass the
-- command that made a change where triggers write audited rows, and null otherwise.

-- When the first of the changes was captured that were made after a command, but captured before.
CREATE FUNCTION @threadline@.later_change(
    this_transaction uuid, of_schema text, of_table text, of_key text, command integer
) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN (
    SELECT min(change.captured_at) FROM @threadline@.audit_changes AS change
    WHERE change.table_name = of_table AND change.row_key = of_key AND change.table_schema = of_schema
        AND change.transaction_id = this_transaction AND change.command_id > command
);

-- Gives those changes new ids, so that they follow the change that was just recorded.
CREATE FUNCTION @threadline@.move_later_changes(
    this_transaction uuid, of_schema text, of_table text, of_key text, command integer
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    later record;
    new_id bigint;
BEGIN
    FOR later IN
        SELECT change.captured_at, change.id FROM @threadline@.audit_changes AS change
        WHERE change.table_name = of_table AND change.row_key = of_key AND change.table_schema = of_schema
            AND change.transaction_id = this_transaction AND change.command_id > command
        ORDER BY change.id
    LOOP
        new_id := nextval('@threadline@.audit_changes_id_seq');
        UPDATE @threadline@.audit_changes SET id = new_id
        WHERE captured_at = later.captured_at AND id = later.id;
        UPDATE @threadline@.audit_key_changes SET change_id = new_id
        WHERE captured_at = later.captured_at AND change_id = later.id;
    END LOOP;
END
$$;
