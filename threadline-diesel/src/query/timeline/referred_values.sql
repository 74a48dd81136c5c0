-- The values that some columns of a row had. $1: schema, $2: table, $3: key, $4: columns.
SELECT DISTINCT ARRAY(
    SELECT image.stored ->> given.name FROM pg_catalog.unnest($4) WITH ORDINALITY AS given (name, place)
    ORDER BY given.place
) AS referred_values
FROM @threadline@.row_segments($1, $2, $3) AS segment
JOIN @threadline@.audit_changes AS change
    ON change.table_name = $2 AND change.table_schema = $1 AND change.row_key = segment.row_key
    AND change.id BETWEEN segment.first_id AND segment.last_id
CROSS JOIN LATERAL (VALUES
    (COALESCE(change.data_after, '{}') || COALESCE(change.changed_from, '{}')), (change.data_after)
) AS image (stored)
WHERE image.stored IS NOT NULL
