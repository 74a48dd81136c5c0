-- Counts rows and changes with values of columns that are not erased yet.
SELECT count(DISTINCT change.row_key) AS rows, count(*) AS changes
FROM @threadline@.audit_changes AS change
WHERE change.table_schema = $1 AND change.table_name = $2 AND change.row_key = ANY ($3) AND EXISTS (
    SELECT FROM unnest($4::text[]) AS name
    WHERE change.data_after ->> name <> '[ERASED]' OR change.changed_from ->> name <> '[ERASED]'
)
