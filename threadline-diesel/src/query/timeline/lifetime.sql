-- When a row existed. $1: schema, $2: table, $3: key.
WITH own AS MATERIALIZED (
    SELECT change.id, change.op, change.transaction_id
    FROM @threadline@.row_segments($1, $2, $3) AS segment
    JOIN @threadline@.audit_changes AS change
        ON change.table_name = $2 AND change.table_schema = $1 AND change.row_key = segment.row_key
        AND change.id BETWEEN segment.first_id AND segment.last_id
)
SELECT
    (SELECT CASE WHEN own.op = 'insert' THEN own.transaction_id END FROM own ORDER BY own.id LIMIT 1) AS inserted_in,
    -- Cascades are captured after the delete of the row.
    (
        SELECT pg_catalog.max(change.captured_at) FROM @threadline@.audit_changes AS change
        WHERE change.transaction_id = (
            SELECT CASE WHEN own.op = 'delete' THEN own.transaction_id END FROM own ORDER BY own.id DESC LIMIT 1
        )
    ) AS deleted_by
