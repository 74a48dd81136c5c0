-- The transactions whose first change has an id after $1 up to $2, with the id of that change.
SELECT 'transaction' AS kind, first.id, is_row,
    CASE WHEN is_row THEN to_jsonb(recorded) ELSE @threadline@.seal_fields(to_jsonb(recorded)) END::text AS content
FROM (
    SELECT transaction_id, min(id) AS id FROM @threadline@.audit_changes
    WHERE id > $1 AND id <= $2
    GROUP BY transaction_id
) AS first
JOIN @threadline@.audit_transactions AS recorded ON recorded.id = first.transaction_id
CROSS JOIN LATERAL (SELECT recorded.occurred_at BETWEEN '1980-01-01Z' AND '9000-01-01Z' AS is_row) AS form
WHERE NOT EXISTS (
    SELECT FROM @threadline@.audit_seal_transactions AS sealed WHERE sealed.transaction_id = first.transaction_id
)
