-- Erasure of values, and records of all removals.

CREATE FUNCTION @threadline@.record_removal(kind text, reason text, scope jsonb, change_count bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    transaction_id uuid := @threadline@.current_transaction_id();
BEGIN
    IF coalesce(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'a removal needs a reason' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO @threadline@.audit_removals (
        order_id, transaction_id, removed_at, removed_by, kind, reason, scope, change_count
    ) VALUES (
        nextval('@threadline@.audit_changes_id_seq'), transaction_id, clock_timestamp(), session_user,
        kind, reason, scope, change_count
    );
END
$$;

-- Erases the values of columns in all stored images of one row, also under its earlier keys. The changes
-- themselves are kept. Returns the number of updated changes.
CREATE FUNCTION @threadline@.erase_values(
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
    FROM @threadline@.audit_enrolments AS enrolled
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
    FROM @threadline@.row_segments(of_schema, of_table, of_key) AS segment
    JOIN @threadline@.audit_changes AS change
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
    PERFORM @threadline@.allow_trail_delete(true);
    UPDATE @threadline@.audit_changes AS change
    SET data_after = data_after || (
            SELECT coalesce(jsonb_object_agg(name, '[ERASED]'), '{}') FROM unnest(columns) AS name WHERE data_after ? name),
        changed_from = changed_from || (
            SELECT coalesce(jsonb_object_agg(name, '[ERASED]'), '{}') FROM unnest(columns) AS name WHERE changed_from ? name)
    FROM @threadline@.row_segments(of_schema, of_table, of_key) AS segment
    WHERE change.table_name = of_table AND change.table_schema = of_schema
        AND change.row_key = segment.row_key
        AND change.id BETWEEN segment.first_id AND segment.last_id
        AND (change.data_after ?| columns OR change.changed_from ?| columns);
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM @threadline@.allow_trail_delete(false);
    PERFORM @threadline@.record_removal(
        'erasure', reason,
        jsonb_build_object('table_schema', of_schema, 'table_name', of_table, 'row_key', of_key, 'columns', columns),
        erased
    );
    RETURN erased;
END
$$;
