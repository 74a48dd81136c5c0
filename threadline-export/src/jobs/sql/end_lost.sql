-- Ends running jobs that no worker may claim again: their lease expired in the last attempt, or after they
-- were asked to stop.
UPDATE @threadline@.audit_jobs
SET state = CASE WHEN cancel_requested_at IS NULL THEN 'failed' ELSE 'cancelled' END,
    error_code = CASE WHEN cancel_requested_at IS NULL THEN 'lease_expired' END,
    error_place = CASE WHEN cancel_requested_at IS NULL THEN 'worker' END,
    lease_token = NULL, leased_until = NULL, leased_by = NULL,
    ended_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM @threadline@.audit_jobs
    WHERE kind = ANY ($1) AND state = 'running' AND leased_until < clock_timestamp()
        AND (cancel_requested_at IS NOT NULL OR attempt >= max_attempts)
    FOR UPDATE SKIP LOCKED
)
RETURNING @columns@
