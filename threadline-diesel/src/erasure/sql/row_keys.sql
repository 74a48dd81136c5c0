-- The keys of the rows of which a stored image has a value.
SELECT DISTINCT change.row_key
FROM @threadline@.audit_changes AS change
WHERE change.table_schema = $1 AND change.table_name = $2 AND change.row_key IS NOT NULL AND EXISTS (
    SELECT FROM unnest($3::text[]) AS name
    WHERE change.data_after ->> name = $4 OR change.changed_from ->> name = $4
)
ORDER BY change.row_key LIMIT $5
