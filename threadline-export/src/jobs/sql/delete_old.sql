-- Deletes jobs that ended 90 days ago and have no stored objects.
DELETE FROM @threadline@.audit_jobs
WHERE ended_at < clock_timestamp() - interval '90 days'
    AND (state IN ('failed', 'cancelled') OR expires_at IS NULL OR state = 'expired')
    AND (kind <> 'export' OR attempt = 0 OR object_gone_at IS NOT NULL)
