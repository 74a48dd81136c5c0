-- Erases the rows with these keys that still have values, and counts them in the run.
WITH left_over AS MATERIALIZED (
    SELECT given.key FROM unnest($6::text[]) AS given (key)
    WHERE EXISTS (
        SELECT FROM @threadline@.audit_changes AS change
        WHERE change.table_schema = $2 AND change.table_name = $3 AND change.row_key = given.key AND EXISTS (
            SELECT FROM unnest($4::text[]) AS name
            WHERE change.data_after ->> name <> '[ERASED]' OR change.changed_from ->> name <> '[ERASED]'
        )
    )
), erased AS MATERIALIZED (
    SELECT count(*) AS records, coalesce(sum(@threadline@.erase_values($2, $3, left_over.key, $4, $5)), 0)::bigint AS changes
    FROM left_over
)
UPDATE @threadline@.audit_erasure_runs AS run
SET updated_at = clock_timestamp(), progress = run.progress || jsonb_build_object(
    'rows', coalesce((run.progress ->> 'rows')::bigint, 0) + erased.records,
    'row_changes', coalesce((run.progress ->> 'row_changes')::bigint, 0) + erased.changes
)
FROM erased WHERE run.id = $1
RETURNING erased.records
