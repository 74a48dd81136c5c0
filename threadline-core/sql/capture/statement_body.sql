
#variable_conflict use_column
-- Capture of table @table@, inserts and deletes by the statement. Generated; see
-- guides/how-it-works.md.
<<capture>>
DECLARE
    v_drifted boolean := false;
    v_first boolean := false;
    v_noted boolean;
    v_recorded_in bigint;
    v_session pg_catalog.text[];
    v_before pg_catalog.text[];
    v_captured_at pg_catalog.timestamptz;
    v_transaction pg_catalog.uuid;
    v_expected pg_catalog.text;
    v_note pg_catalog.text;
    v_action_id pg_catalog.uuid;
    v_actor_ref pg_catalog.jsonb;
    v_context @threadline@.context_in_force;
    v_attribution @threadline@.attribution;
BEGIN
    -- Are the columns still what they were? Planned, and planned again when the table changes, but
    -- nothing of it is ever run. Writes nothing, so the block takes no subtransaction id.
    BEGIN
        PERFORM FROM captured_rows AS r
        WHERE false AND ROW(@probe@) IS NULL OR @has_virtual@;
        @transaction@
        @noted@
    EXCEPTION WHEN OTHERS THEN
        v_drifted := true;
        @transaction@
    END;

@noted_action@    ELSIF NOT v_drifted AND pg_catalog.concat(
        pg_catalog.current_setting('threadline.recorded', true),
        pg_catalog.current_setting('threadline.suspended', true)
    ) OPERATOR(pg_catalog.=) '' THEN
        -- The transaction's first changes, if there are rows: its row is added after them.
        v_first := true;
@read_context@    ELSE
        PERFORM FROM captured_rows AS r LIMIT 1;
        IF FOUND THEN
@attribution@        END IF;
    END IF;

@pin@    v_captured_at := pg_catalog.clock_timestamp();
    IF v_drifted THEN
        v_before := @threadline@.pin_session();
        EXECUTE pg_catalog.format(
            'INSERT INTO @threadline@.audit_changes ('
            'id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name, '
            'table_pk, row_key, %s) '
            'SELECT pg_catalog.nextval(''@threadline@.audit_changes_id_seq''), $1, $2, $3, $4, $5, '
            '$6, $7, drifted.table_pk, drifted.row_key, drifted.image FROM (%s) AS drifted',
            CASE WHEN TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN 'data_after' ELSE 'changed_from' END,
            @threadline@.drifted_rows(TG_RELID, 'captured_rows')
        ) USING v_captured_at, v_transaction, v_action_id, v_actor_ref, pg_catalog.lower(TG_OP),
            @schema_literal@, @name_literal@;
        PERFORM @threadline@.unpin_session(v_before);
        PERFORM FROM captured_rows AS r LIMIT 1; -- EXECUTE leaves FOUND as it was
    ELSIF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
        INSERT INTO @threadline@.audit_changes (
            captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
            table_pk, row_key, data_after
        )
        SELECT
            capture.v_captured_at, capture.v_transaction, capture.v_action_id,
            capture.v_actor_ref, 'insert', @schema_literal@, @name_literal@,
            @table_pk@,
            @row_key@,
            pg_catalog.to_jsonb(image.*) -- a column may be called image
        FROM captured_rows AS r
        CROSS JOIN LATERAL (
            SELECT @image_columns@
        ) AS image;
    ELSE
        INSERT INTO @threadline@.audit_changes (
            captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
            table_pk, row_key, changed_from
        )
        SELECT
            capture.v_captured_at, capture.v_transaction, capture.v_action_id,
            capture.v_actor_ref, 'delete', @schema_literal@, @name_literal@,
            @table_pk@,
            @row_key@,
            pg_catalog.to_jsonb(image.*) -- a column may be called image
        FROM captured_rows AS r
        CROSS JOIN LATERAL (
            SELECT @image_columns@
        ) AS image;
    END IF;
    IF FOUND THEN
@strict@        IF v_first THEN
            @first_transaction@;
            IF FOUND THEN
                @note@;
            ELSE
                PERFORM @threadline@.attribute_first_changes(
                    v_transaction, v_expected, @schema_literal@, @name_literal@, v_captured_at
                );
            END IF;
        END IF;
    END IF;
@unpin@    RETURN NULL;
END
