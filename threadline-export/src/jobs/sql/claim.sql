-- Claims the job that waits longest: queued, or running with an expired lease.
UPDATE @threadline@.audit_jobs
SET state = 'running',
    attempt = attempt + 1,
    lease_token = gen_random_uuid(),
    leased_until = clock_timestamp() + make_interval(secs => $2),
    leased_by = session_user,
    progress = NULL, error_code = NULL, error_place = NULL,
    started_at = COALESCE(started_at, clock_timestamp())
WHERE id = (
    SELECT id FROM @threadline@.audit_jobs
    WHERE state IN ('queued', 'running')
        AND run_at <= clock_timestamp()
        AND kind = ANY ($1)
        AND (
            state = 'queued'
            OR leased_until < clock_timestamp() AND attempt < max_attempts AND cancel_requested_at IS NULL
        )
    ORDER BY run_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING @columns@
