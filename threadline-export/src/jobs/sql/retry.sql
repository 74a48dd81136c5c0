-- Queues a failed or cancelled job again. Attempts keep counting, because their objects have their number.
UPDATE @threadline@.audit_jobs
SET state = 'queued', run_at = clock_timestamp(), max_attempts = attempt + 5,
    cancel_requested_at = NULL, error_code = NULL, error_place = NULL, ended_at = NULL,
    object_gone_at = NULL
WHERE id = $1 AND state IN ('failed', 'cancelled')
RETURNING @columns@
