-- The transactions of the leaves $1 up to $2; id is the leaf.
SELECT 'transaction' AS kind, sealed.leaf AS id, is_row,
    CASE WHEN is_row THEN to_jsonb(recorded) ELSE @threadline@.seal_fields(to_jsonb(recorded)) END::text AS content
FROM @threadline@.audit_seal_transactions AS sealed
JOIN @threadline@.audit_transactions AS recorded ON recorded.id = sealed.transaction_id
CROSS JOIN LATERAL (SELECT recorded.occurred_at BETWEEN '1980-01-01Z' AND '9000-01-01Z' AS is_row) AS form
WHERE sealed.leaf BETWEEN $1 AND $2
