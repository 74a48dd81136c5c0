-- Cancels a queued job, and asks the worker of a running one to stop.
UPDATE @threadline@.audit_jobs
SET cancel_requested_at = COALESCE(cancel_requested_at, clock_timestamp()),
    ended_at = CASE WHEN state = 'queued' THEN clock_timestamp() END,
    state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END
WHERE id = $1 AND state IN ('queued', 'running')
RETURNING @columns@
