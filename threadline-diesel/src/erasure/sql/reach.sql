-- Copies of the trail that this erasure does not change, and state that names the person.
SELECT
    ARRAY(SELECT name FROM @threadline@.audit_feed_consumers WHERE name <> 'threadline.seal' ORDER BY name) AS consumers,
    (SELECT count(*) FROM @threadline@.audit_jobs
        WHERE kind = 'export' AND state = 'completed' AND result IS NOT NULL AND object_gone_at IS NULL) AS stored_results,
    (SELECT max(expires_at) FROM @threadline@.audit_jobs
        WHERE kind = 'export' AND state = 'completed' AND result IS NOT NULL AND object_gone_at IS NULL) AS results_expire_at
