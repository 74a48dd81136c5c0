-- The transactions of the leaves $1 up to $2; id is the leaf.
SELECT 'transaction' AS kind, sealed.leaf AS id, @threadline@.seal_fields(to_jsonb(recorded))::text AS fields
FROM @threadline@.audit_seal_transactions AS sealed
JOIN @threadline@.audit_transactions AS recorded ON recorded.id = sealed.transaction_id
WHERE sealed.leaf BETWEEN $1 AND $2
