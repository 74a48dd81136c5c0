-- Jobs whose objects are to be deleted: expired ones, and those that failed or were cancelled a day ago, when
-- a worker that lost its lease has stopped.
SELECT @columns@ FROM @threadline@.audit_jobs
WHERE object_gone_at IS NULL AND kind = ANY ($1)
    AND (
        state = 'expired'
        OR state IN ('failed', 'cancelled') AND attempt > 0 AND ended_at < clock_timestamp() - interval '1 day'
    )
-- Jobs whose objects cannot be deleted must not keep others from being deleted.
ORDER BY random()
LIMIT 100
