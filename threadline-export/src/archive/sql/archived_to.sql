-- Up to which instant records are archived in the storage $1.
SELECT observed_to AS instant FROM @threadline@.audit_evidence
WHERE subject = 'archive_verification' AND subject_ref = pg_catalog.jsonb_build_object('storage', $1)
    AND basis = 'checked' AND outcome = 'pass' AND observed_to IS NOT NULL
ORDER BY order_id DESC LIMIT 1
