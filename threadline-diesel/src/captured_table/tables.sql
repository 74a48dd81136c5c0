-- The existing tables that are or were captured, or one of them ($1, $2: schema and name), with policy and
-- start of capture.
SELECT
    enrolled.table_schema, enrolled.table_name, class.oid AS relation,
    coalesce(trigger.tgenabled IN ('O', 'A'), false) AS captured,
    pg_catalog.obj_description(trigger.tgfoid, 'pg_proc') AS policy,
    start.recorded_at AS captured_since,
    horizon.purged_before,
    (
        SELECT min(change.captured_at) FROM threadline.audit_changes AS change
        WHERE change.table_name = enrolled.table_name AND change.table_schema = enrolled.table_schema
    ) AS first_recorded_at,
    -- Changes up to this id are not of rows that are in the table now: capture was disabled since, the key
    -- was redefined, or the table was truncated.
    greatest(start.order_id, enrolled.key_since, (
        -- Only truncates have no row key, so this reads few index entries.
        SELECT max(change.id) FROM threadline.audit_changes AS change
        WHERE change.table_name = enrolled.table_name AND change.table_schema = enrolled.table_schema
            AND change.row_key IS NULL AND change.op = 'truncate' AND change.partition_name IS NULL
    ), 0) AS known_after,
    ARRAY(
        SELECT attribute.attname::text FROM pg_catalog.pg_attribute AS attribute
        WHERE attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS columns,
    -- The current names of the key columns, by attribute number.
    ARRAY(
        SELECT coalesce(attribute.attname::text, key.name)
        FROM ROWS FROM (
            pg_catalog.unnest(enrolled.key_columns), pg_catalog.unnest(enrolled.key_attnums)
        ) WITH ORDINALITY AS key (name, attnum, position)
        LEFT JOIN pg_catalog.pg_attribute AS attribute
            ON attribute.attrelid = class.oid AND enrolled.relation = class.oid
                AND attribute.attnum = key.attnum AND NOT attribute.attisdropped
        ORDER BY key.position
    ) AS key_columns
FROM (
    SELECT DISTINCT ON (newest.table_schema, newest.table_name) newest.*
    FROM threadline.audit_enrolments AS newest
    WHERE ($1 IS NULL OR newest.table_schema = $1) AND ($2 IS NULL OR newest.table_name = $2)
    ORDER BY newest.table_schema, newest.table_name, newest.order_id DESC
) AS enrolled
JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = enrolled.table_schema
JOIN pg_catalog.pg_class AS class
    ON class.relnamespace = namespace.oid AND class.relname = enrolled.table_name
LEFT JOIN pg_catalog.pg_trigger AS trigger
    ON trigger.tgrelid = class.oid AND trigger.tgname = '00_threadline_capture'
LEFT JOIN LATERAL (
    SELECT began.order_id, began.recorded_at FROM threadline.audit_enrolments AS began
    WHERE began.table_schema = enrolled.table_schema AND began.table_name = enrolled.table_name
        AND began.event = 'enabled' AND NOT began.was_captured
    ORDER BY began.order_id DESC LIMIT 1
) AS start ON enrolled.event = 'enabled'
LEFT JOIN threadline.audit_horizons AS horizon
    ON horizon.table_schema = enrolled.table_schema AND horizon.table_name = enrolled.table_name
ORDER BY enrolled.table_schema, enrolled.table_name
