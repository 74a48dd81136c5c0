UPDATE @threadline@.audit_jobs
SET state = 'completed', result = $3,
    lease_token = NULL, leased_until = NULL, leased_by = NULL,
    ended_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(days => $4)
WHERE id = $1 AND lease_token = $2 AND leased_until > clock_timestamp()
