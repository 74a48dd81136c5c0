UPDATE @threadline@.audit_jobs
SET leased_until = clock_timestamp() + make_interval(secs => $3), progress = COALESCE($4, progress)
WHERE id = $1 AND lease_token = $2 AND leased_until > clock_timestamp()
RETURNING cancel_requested_at IS NOT NULL AS value
