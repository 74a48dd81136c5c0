-- Erases values of changes of a table, and counts the changes in the run.
WITH erased AS MATERIALIZED (
    SELECT @threadline@.erase_change_values($2, $3, $6, $7, $4, $5) AS records
)
UPDATE @threadline@.audit_erasure_runs AS run
SET updated_at = clock_timestamp(), progress = run.progress || jsonb_build_object(
    'values', coalesce((run.progress ->> 'values')::bigint, 0) + erased.records
)
FROM erased WHERE run.id = $1
RETURNING erased.records
