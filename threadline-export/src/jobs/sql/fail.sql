-- Ends an attempt with the error $3 in the step $4. $5: another attempt may succeed. The pause before it is
-- 30 s, 2 min, 8 min and so on, at most an hour, each ±20 %.
UPDATE @threadline@.audit_jobs
SET state = CASE
        WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN $5 AND attempt < max_attempts THEN 'queued'
        ELSE 'failed'
    END,
    run_at = clock_timestamp()
        + make_interval(secs => LEAST(30 * power(4, LEAST(attempt - 1, 10)), 3600) * (0.8 + 0.4 * random())),
    error_code = CASE WHEN cancel_requested_at IS NULL THEN $3 END,
    error_place = CASE WHEN cancel_requested_at IS NULL THEN $4 END,
    lease_token = NULL, leased_until = NULL, leased_by = NULL,
    ended_at = CASE
        WHEN cancel_requested_at IS NOT NULL OR NOT $5 OR attempt >= max_attempts THEN clock_timestamp()
    END
WHERE id = $1 AND lease_token = $2 AND leased_until > clock_timestamp()
