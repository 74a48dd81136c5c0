-- Inserts a job. Inserts nothing if its idempotency key exists, or if its actor has $9 open jobs.
INSERT INTO @threadline@.audit_jobs (id, kind, request, actor, scope_key, idempotency_key, run_at, max_attempts)
SELECT $1, $2, $3, $4, $5, $6, COALESCE($7, clock_timestamp()), $8
WHERE $4 IS NULL OR $9 > (
    SELECT count(*) FROM @threadline@.audit_jobs AS open
    WHERE open.actor = $4 AND open.state IN ('queued', 'running') AND open.schedule IS NULL
)
ON CONFLICT (idempotency_key) DO NOTHING
RETURNING @columns@
