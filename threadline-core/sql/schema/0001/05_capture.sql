-- The code that all generated capture functions share: it inserts one row into audit_changes for each
-- change, and one into audit_transactions for each transaction.
--
-- record_change and the functions that it calls run inside the capture functions, with the privileges of
-- the trail's owner and their search path (pg_catalog, pg_temp). No other role may execute them. They
-- have no SET clause, which would make every captured write about 10 % slower.

-- The row key of key values: the value itself, or a JSON array of several. A key that is too long for an
-- index, or begins like a digest, is replaced by its digest.
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

-- The newest enrolment of a table with a policy; null if the table was never captured.
CREATE FUNCTION @threadline@.current_enrolment(of_schema text, of_table text) RETURNS @threadline@.audit_enrolments
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT enrolled FROM @threadline@.audit_enrolments AS enrolled
    WHERE enrolled.table_name = of_table AND enrolled.table_schema = of_schema AND enrolled.event = 'enabled'
    ORDER BY enrolled.order_id DESC LIMIT 1;
END;

-- Records one change. Returns false if capture of the table is suspended.
--
-- The row of the transaction exists if the marker matches the current settings and currval of
-- capture_session is the hash of the marker. A session can write the marker, but not the sequence.
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
    is_marked boolean;
    actor text;
    action_id uuid;
    moved_before timestamptz;
    captured_at timestamptz;
BEGIN
    IF starts_with(marker, settings) THEN
        BEGIN
            is_marked := currval('@threadline@.capture_session') = hashtextextended(marker, 0);
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
                SELECT FROM @threadline@.audit_suspensions AS suspension
                WHERE suspension.transaction_id = this_transaction
                    AND format('%I.%I', table_schema, table_name) = ANY (suspension.tables)
                    AND suspension.order_id::text = ANY (string_to_array(current_setting('threadline.suspended', true), ','))
            ) THEN
                RETURN false;
            END IF;
        END IF;
        actor := @threadline@.record_transaction(this_transaction, settings);
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
        SELECT min(change.captured_at) INTO moved_before FROM @threadline@.audit_changes AS change
        WHERE change.table_name = record_change.table_name AND change.row_key = record_change.row_key
            AND change.table_schema = record_change.table_schema
            AND change.transaction_id = this_transaction AND change.command_id > record_change.command_id;
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

-- Corrects the order of changes within a statement. PostgreSQL fires the AFTER triggers of a foreign key
-- action at the end of the outer statement, but those of a statement in a trigger immediately. So if both
-- change one row, the later change is captured first. If triggers write audited rows, capture functions
-- pass the command id of a change, otherwise null. A change with a smaller command id than changes that
-- are recorded already gets the captured_at of the first of them, and this function gives them new ids.
CREATE FUNCTION @threadline@.move_later_changes(
    this_transaction uuid, of_schema text, of_table text, of_key text, command integer
) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    WITH later AS MATERIALIZED (
        SELECT ordered.*, nextval('@threadline@.audit_changes_id_seq') AS new_id FROM (
            SELECT change.captured_at, change.id FROM @threadline@.audit_changes AS change
            WHERE change.table_name = of_table AND change.row_key = of_key AND change.table_schema = of_schema
                AND change.transaction_id = this_transaction AND change.command_id > command
            ORDER BY change.id
        ) AS ordered
    ), key_changes AS (
        UPDATE @threadline@.audit_key_changes AS change SET change_id = later.new_id
        FROM later WHERE change.captured_at = later.captured_at AND change.change_id = later.id
    )
    UPDATE @threadline@.audit_changes AS change SET id = later.new_id
    FROM later WHERE change.captured_at = later.captured_at AND change.id = later.id;
END;
