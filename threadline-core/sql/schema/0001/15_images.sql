-- Conversion of stored images to rows, and a row as of an instant. All functions run with the caller's
-- privileges and read the trail and the catalogs, never audited tables.

-- Converts an image to the row type of `base` (usually NULL::my_table). Columns that the image does not
-- have are null. Like jsonb_populate_record, but json columns are stored as text, which preserves every
-- character.
CREATE FUNCTION @threadline@.row_from_image(base anyelement, image jsonb) RETURNS anyelement
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
CREATE FUNCTION @threadline@.incompatible_columns(relation regclass, image jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET lc_monetary = 'C' AS $$
DECLARE
    found jsonb := '{}';
    col record;
BEGIN
    BEGIN
        EXECUTE format('SELECT @threadline@.row_from_image(NULL::%s, $1)', relation) USING image;
        RETURN found;
    EXCEPTION
        WHEN insufficient_privilege THEN RETURN found; -- on the schema of the relation
        WHEN OTHERS THEN NULL; -- find the columns
    END;
    FOR col IN
        SELECT attname AS name, format_type(atttypid, atttypmod) AS type,
            @threadline@.base_type(atttypid) = 'json'::regtype AS is_json
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
CREATE FUNCTION @threadline@.audit_horizon(of_schema text, of_table text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT GREATEST(min(e.recorded_at), (
        SELECT LEAST(h.purged_before, (SELECT min(span.from_instant) FROM @threadline@.audit_restored_spans AS span))
        FROM @threadline@.audit_horizons AS h
        WHERE h.table_name = of_table AND h.table_schema = of_schema
    ))
    FROM @threadline@.audit_enrolments AS e
    WHERE e.table_name = of_table AND e.table_schema = of_schema AND e.event = 'enabled';
END;

-- What one row was as of an instant: the row that has a key now or had it last, under the keys that it
-- had. `state` is `row`, `deleted`, or `not_yet_known`.
--
-- The last record at or before the instant tells. If there is none, but the instant is not before the
-- horizon, the first record after it tells what it found (`later`): an update its old values, a delete
-- its last image, a baseline the row. `unknown` names the columns of which the image has no value:
-- masked, excluded, erased, too_large, not_captured; and those of incompatible_columns.
CREATE FUNCTION @threadline@.row_as_of(
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
    told @threadline@.audit_changes;
    other @threadline@.audit_changes;
    policy jsonb := @threadline@.deployed_policy(relation);
    bounds text;
    inside boolean;
BEGIN
    SELECT found.* INTO told
    FROM @threadline@.row_segments(of_schema, of_table, of_key) AS segment
    CROSS JOIN LATERAL (
        (
            SELECT c.* FROM @threadline@.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
                AND c.id BETWEEN segment.first_id AND segment.last_id AND c.captured_at <= instant
            ORDER BY c.id DESC LIMIT 1
        ) UNION ALL (
            SELECT c.* FROM @threadline@.audit_changes AS c
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
            WHEN instant < @threadline@.audit_horizon(of_schema, of_table) THEN NULL
            WHEN told.op = 'update' THEN told.data_after || told.changed_from
            WHEN told.op = 'delete' THEN told.changed_from
            WHEN told.op = 'baseline' THEN told.data_after
        END;
    ELSIF told.op = 'delete' THEN
        -- Under a deferrable key, a row may come to the key before the other is deleted. Then the delete
        -- is not of the row that was recorded just before it.
        SELECT c.* INTO other FROM @threadline@.audit_changes AS c
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
            SELECT c.* FROM @threadline@.audit_changes AS c
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
                EXECUTE format('SELECT (%s) FROM @threadline@.row_from_image(NULL::%s, $1)', bounds, relation::regclass)
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
        unknown := unknown || @threadline@.incompatible_columns(relation, image - ARRAY(SELECT jsonb_object_keys(unknown)));
    END IF;
END
$$;
