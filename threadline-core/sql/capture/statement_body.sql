
#variable_conflict use_column
-- Capture of table @table@, inserts and deletes by the statement. Generated; see
-- guides/how-it-works.md.
<<capture>>
DECLARE
    v_drifted boolean := false;
    v_session text[];
    v_captured_at pg_catalog.timestamptz;
    v_transaction pg_catalog.uuid;
    v_expected text;
    v_action_id pg_catalog.uuid;
    v_actor_ref pg_catalog.jsonb;
    v_attribution @threadline@.attribution;
BEGIN
    -- Are there rows, and are the columns still what they were? Writes nothing, so the block
    -- takes no subtransaction id.
    BEGIN
        PERFORM @probe@ FROM captured_rows AS r LIMIT 1;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        v_drifted := true;
    END;
    IF v_drifted THEN
        PERFORM FROM captured_rows AS r LIMIT 1;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;

@attribution@
@pin@    v_captured_at := pg_catalog.clock_timestamp();
    IF v_drifted THEN
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
    ELSIF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
        INSERT INTO @threadline@.audit_changes (
            id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
            table_pk, row_key, data_after
        )
        SELECT
            pg_catalog.nextval('@threadline@.audit_changes_id_seq'::pg_catalog.regclass),
            capture.v_captured_at, capture.v_transaction, capture.v_action_id,
            capture.v_actor_ref, 'insert', @schema_literal@, @name_literal@,
            @table_pk@,
            @row_key@,
            pg_catalog.to_jsonb(image)
        FROM captured_rows AS r
        CROSS JOIN LATERAL (
            SELECT @image_columns@
        ) AS image;
    ELSE
        INSERT INTO @threadline@.audit_changes (
            id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
            table_pk, row_key, changed_from
        )
        SELECT
            pg_catalog.nextval('@threadline@.audit_changes_id_seq'::pg_catalog.regclass),
            capture.v_captured_at, capture.v_transaction, capture.v_action_id,
            capture.v_actor_ref, 'delete', @schema_literal@, @name_literal@,
            @table_pk@,
            @row_key@,
            pg_catalog.to_jsonb(image)
        FROM captured_rows AS r
        CROSS JOIN LATERAL (
            SELECT @image_columns@
        ) AS image;
    END IF;
@unpin@    RETURN NULL;
END
