-- Conversion of stored images to rows, and a row as of an instant. All functions run with the caller's
-- privileges and read the trail and the catalogs, never audited tables.

-- Converts an image to the row type of `base` (usually NULL::my_table). Columns that the image does not
-- have are null. Like jsonb_populate_record, but json columns are stored as text, which preserves every
-- character.
CREATE FUNCTION @threadline@.row_from_image(base anyelement, image jsonb) RETURNS anyelement
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET lc_monetary = 'C' AS $$
DECLARE
    row_type regtype := pg_typeof(base);
    json_columns text[] := ARRAY(
        SELECT a.attname::text
        FROM pg_type AS t
        JOIN pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type AS of_column ON of_column.oid = a.atttypid
        WHERE t.oid = row_type AND 'json'::regtype IN (a.atttypid, of_column.typbasetype)
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
                CASE WHEN a.attname = ANY (json_columns) THEN format('($1 ->> %L)::json', a.attname)
                    ELSE format('p.%I', a.attname) END,
                ', ' ORDER BY a.attnum
            ),
            row_type
        )
        FROM pg_type AS t JOIN pg_attribute AS a ON a.attrelid = t.typrelid
        WHERE t.oid = row_type AND a.attnum > 0 AND NOT a.attisdropped
    ) INTO filled USING image, json_columns;
    RETURN filled;
END
$$;

-- The audit horizon of a table: when capture was first enabled, or the last cut-off of a purge if that is
-- later. Null if the table was never captured.
CREATE FUNCTION @threadline@.audit_horizon(of_schema text, of_table text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT GREATEST(
        (
            SELECT e.recorded_at FROM @threadline@.audit_enrolments AS e
            WHERE e.table_name = of_table AND e.table_schema = of_schema AND e.event = 'enabled'
            ORDER BY e.order_id LIMIT 1
        ),
        (
            SELECT h.purged_before FROM @threadline@.audit_horizons AS h
            WHERE h.table_name = of_table AND h.table_schema = of_schema
        )
    );
END;

-- What one row was as of an instant: the row that has a key now or had it last, under the keys that it
-- had. `state` is `row`, `deleted`, or `not_yet_known`.
--
-- The last record at or before the instant tells. If there is none, but the instant is not before the
-- horizon, the first record after it tells what it found (`later`): an update its old values, a delete
-- its last image, a baseline the row. `unknown` names the columns of which the image has no value:
-- masked, excluded, erased, too_large, not_captured.
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
    policy jsonb;
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

    policy := (
        SELECT obj_description(t.tgfoid, 'pg_proc')::jsonb -> 'table' FROM pg_trigger AS t
        WHERE t.tgrelid = relation AND t.tgname = '00_threadline_capture'
    );
    SELECT COALESCE(jsonb_object_agg(found.name, found.reason), '{}') INTO unknown
    FROM (
        SELECT a.attname AS name, CASE
            WHEN NOT image ? a.attname THEN CASE declared.rule WHEN 'exclude' THEN 'excluded' ELSE 'not_captured' END
            WHEN image ->> a.attname = '[ERASED]' THEN 'erased'
            WHEN image ->> a.attname LIKE '[TOO LARGE: % bytes, sha256:%]' THEN 'too_large'
            WHEN declared.rule = 'mask' OR image ->> a.attname IN ('[REDACTED]', policy ->> 'mask_with') THEN 'masked'
        END AS reason
        FROM pg_attribute AS a
        LEFT JOIN LATERAL (
            SELECT listed ->> 'rule' AS rule FROM jsonb_array_elements(policy -> 'columns') AS listed
            WHERE listed ->> 'name' = a.attname LIMIT 1
        ) AS declared ON true
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    ) AS found
    WHERE found.reason IS NOT NULL;
END
$$;
