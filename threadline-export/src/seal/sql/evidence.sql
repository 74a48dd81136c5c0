-- The evidence with the ids $1, with its sealed fields.
SELECT 'evidence' AS kind, order_id AS id, false AS is_row, @threadline@.seal_fields(to_jsonb(evidence))::text AS content
FROM @threadline@.audit_evidence AS evidence
WHERE order_id = ANY ($1)
