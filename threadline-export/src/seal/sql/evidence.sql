-- The evidence with the ids $1, with its sealed fields.
SELECT 'evidence' AS kind, order_id AS id, @threadline@.seal_fields(to_jsonb(evidence))::text AS fields
FROM @threadline@.audit_evidence AS evidence
WHERE order_id = ANY ($1)
