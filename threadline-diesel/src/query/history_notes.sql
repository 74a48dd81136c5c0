-- Events that concern a row and are not among its changes. $1: schema, $2: table, $3: key.
WITH segment AS MATERIALIZED (
    SELECT * FROM @threadline@.row_segments($1, $2, $3)
),
last_change AS (
    SELECT known.id, known.op
    FROM segment
    CROSS JOIN LATERAL (
        SELECT change.id, change.op FROM @threadline@.audit_changes AS change
        WHERE change.table_schema = $1 AND change.table_name = $2 AND change.row_key = segment.row_key
            AND change.id BETWEEN segment.first_id AND segment.last_id
        ORDER BY change.id DESC LIMIT 1
    ) AS known
    ORDER BY known.id DESC LIMIT 1
),
first_change AS (
    SELECT known.id, known.op
    FROM segment
    CROSS JOIN LATERAL (
        SELECT change.id, change.op FROM @threadline@.audit_changes AS change
        WHERE change.table_schema = $1 AND change.table_name = $2 AND change.row_key = segment.row_key
            AND change.id BETWEEN segment.first_id AND segment.last_id
        ORDER BY change.id LIMIT 1
    ) AS known
    ORDER BY known.id LIMIT 1
),
key_definition AS (
    SELECT defined.recorded_at, defined.order_id
    FROM (
        SELECT enrolled.key_since FROM @threadline@.audit_enrolments AS enrolled
        WHERE enrolled.table_schema = $1 AND enrolled.table_name = $2 AND enrolled.event = 'enabled'
        ORDER BY enrolled.order_id DESC LIMIT 1
    ) AS newest
    JOIN @threadline@.audit_enrolments AS defined ON defined.order_id = newest.key_since
)
SELECT pg_catalog.jsonb_build_object(
    'moves', (
        SELECT COALESCE(pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_object(
            'left_id', k.left_id, 'previous_key', k.previous_key, 'arrived_id', k.arrived_id,
            'changed_from', COALESCE((
                SELECT pg_catalog.jsonb_object_agg(field.key, field.value)
                FROM pg_catalog.jsonb_each(k.image_before) AS field
                WHERE field.value IS DISTINCT FROM k.image_after -> field.key
            ), '{}')
        )), '[]')
        FROM segment
        CROSS JOIN LATERAL @threadline@.row_key_changes($1, $2, segment.row_key) AS k
        WHERE k.is_move AND k.row_key = segment.row_key
            AND k.arrived_id BETWEEN segment.first_id AND segment.last_id
    ),
    'earlier_holders', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'change_id', k.left_id, 'until', k.captured_at, 'next_key', k.row_key
        ) ORDER BY k.left_id), '[]')
        FROM @threadline@.row_key_changes($1, $2, $3) AS k
        WHERE k.previous_key = $3 AND NOT EXISTS (
            SELECT FROM segment
            WHERE segment.row_key = k.row_key AND k.arrived_id BETWEEN segment.first_id AND segment.last_id
        )
    ),
    'truncated', (
        SELECT pg_catalog.jsonb_build_object('change_id', emptied.id, 'at', emptied.captured_at)
        FROM last_change
        JOIN @threadline@.audit_changes AS emptied ON emptied.id > last_change.id
        WHERE last_change.op <> 'delete' AND emptied.op = 'truncate' AND emptied.row_key IS NULL
            AND emptied.partition_name IS NULL
            AND emptied.table_schema = $1 AND emptied.table_name = $2
        ORDER BY emptied.id LIMIT 1
    ),
    'key_defined_at', (
        SELECT key_definition.recorded_at FROM key_definition
        WHERE EXISTS (
            SELECT FROM @threadline@.audit_changes AS earlier
            WHERE earlier.table_schema = $1 AND earlier.table_name = $2
                AND earlier.captured_at <= key_definition.recorded_at
        )
    ),
    'definition_changes', @definition_changes@,
    'created_id', (SELECT first_change.id FROM first_change WHERE first_change.op = 'insert')
) AS notes
