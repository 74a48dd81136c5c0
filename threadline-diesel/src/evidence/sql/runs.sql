-- The checks (of subject $1, if it is given) that ran to their end between two instants ($2, $3), and the last run
-- of each check before. Only results that become out of date: others are not of a planned check.
WITH run AS (
    SELECT evidence.check_name, evidence.recorded_at, evidence.valid_until, evidence.order_id
    FROM @threadline@.audit_evidence AS evidence
    WHERE evidence.basis = 'checked' AND evidence.outcome <> 'incomplete'
        AND evidence.check_name IS NOT NULL AND evidence.valid_until IS NOT NULL
        AND ($1 IS NULL OR evidence.subject = $1)
)
SELECT within.check_name, within.recorded_at, within.valid_until FROM run AS within
WHERE within.recorded_at >= $2 AND within.recorded_at <= $3
UNION ALL
(
    SELECT DISTINCT ON (before.check_name) before.check_name, before.recorded_at, before.valid_until
    FROM run AS before WHERE before.recorded_at < $2
    ORDER BY before.check_name, before.order_id DESC
)
ORDER BY recorded_at
