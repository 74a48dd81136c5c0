-- The records with ids after $1 up to $2, except transactions, in order: rows, or sealed fields of instants that RFC 3339
-- cannot write, and of rare records.
SELECT kind, id, is_row, CASE WHEN is_row THEN record ELSE @threadline@.seal_fields(record) END::text AS content
FROM (
    SELECT 'change' AS kind, id, captured_at BETWEEN '1980-01-01Z' AND '9000-01-01Z' AS is_row, to_jsonb(change) AS record
    FROM @threadline@.audit_changes AS change
    WHERE id > $1 AND id <= $2
    UNION ALL
    SELECT 'action', order_id, false, to_jsonb(action) FROM @threadline@.audit_actions AS action
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'removal', order_id, false, to_jsonb(removal) FROM @threadline@.audit_removals AS removal
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'suspension', order_id, false, to_jsonb(suspension) FROM @threadline@.audit_suspensions AS suspension
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'evidence', order_id, false, to_jsonb(evidence) FROM @threadline@.audit_evidence AS evidence
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'enrolment', order_id, false, to_jsonb(enrolment) FROM @threadline@.audit_enrolments AS enrolment
    WHERE order_id > $1 AND order_id <= $2
) AS sealed
ORDER BY id
