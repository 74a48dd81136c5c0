-- The records with ids after $1 up to $2, except transactions, with their sealed fields, in order.
SELECT kind, id, @threadline@.seal_fields(record)::text AS fields
FROM (
    SELECT 'change' AS kind, id, to_jsonb(change) AS record FROM @threadline@.audit_changes AS change
    WHERE id > $1 AND id <= $2
    UNION ALL
    SELECT 'action', order_id, to_jsonb(action) FROM @threadline@.audit_actions AS action
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'removal', order_id, to_jsonb(removal) FROM @threadline@.audit_removals AS removal
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'suspension', order_id, to_jsonb(suspension) FROM @threadline@.audit_suspensions AS suspension
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'evidence', order_id, to_jsonb(evidence) FROM @threadline@.audit_evidence AS evidence
    WHERE order_id > $1 AND order_id <= $2
    UNION ALL
    SELECT 'enrolment', order_id, to_jsonb(enrolment) FROM @threadline@.audit_enrolments AS enrolment
    WHERE order_id > $1 AND order_id <= $2
) AS sealed
ORDER BY id
