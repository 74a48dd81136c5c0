-- The other records of the time from $1 up to $2 with ids up to $3. key: the id of the entry.
SELECT record.id AS key@values@
FROM (
    SELECT 'removal' AS kind, order_id AS id, removed_at AS recorded_at, to_jsonb(removal) AS fields
    FROM @threadline@.audit_removals AS removal
    UNION ALL
    SELECT 'suspension', order_id, suspended_at, to_jsonb(suspension)
    FROM @threadline@.audit_suspensions AS suspension
    UNION ALL
    SELECT 'evidence', order_id, recorded_at, to_jsonb(evidence)
    FROM @threadline@.audit_evidence AS evidence
    UNION ALL
    SELECT 'enrolment', order_id, recorded_at, to_jsonb(enrolment)
    FROM @threadline@.audit_enrolments AS enrolment
) AS record
WHERE record.recorded_at >= $1 AND record.recorded_at < $2 AND record.id <= $3
ORDER BY record.id
