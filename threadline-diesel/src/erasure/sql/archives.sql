-- The storages with an archive of the trail: when its last passing run searched for erasures, the days that it reported as pending,
-- and whether retention removed archived days from the trail.
SELECT
    evidence.storage, evidence.checked_at, evidence.pending_days,
    EXISTS (
        SELECT FROM @threadline@.audit_horizons AS horizon
        WHERE evidence.observed_from IS NULL OR horizon.purged_before > evidence.observed_from
    ) AS has_removed_days
FROM (
    SELECT DISTINCT ON (passed.subject_ref ->> 'storage')
        COALESCE(passed.subject_ref ->> 'storage', '') AS storage, passed.observed_from,
        COALESCE((passed.detail ->> 'planned_at')::timestamptz, passed.recorded_at) AS checked_at,
        CASE jsonb_typeof(passed.detail -> 'pending') WHEN 'array' THEN jsonb_array_length(passed.detail -> 'pending')
            WHEN 'number' THEN (passed.detail ->> 'pending')::integer ELSE 0 END AS pending_days
    FROM @threadline@.audit_evidence AS passed
    WHERE passed.subject = 'archive_verification' AND passed.basis = 'checked' AND passed.outcome = 'pass'
    ORDER BY passed.subject_ref ->> 'storage', passed.order_id DESC
) AS evidence
ORDER BY evidence.storage
