-- The transactions of restored changes (in @table@) that began outside the span from $1 to $2, and their days.
SELECT DISTINCT change.transaction_id::text AS id,
    (@threadline@.transaction_began_at(change.transaction_id) AT TIME ZONE 'UTC')::date AS day
FROM @table@ AS change
WHERE (change.transaction_id < @threadline@.transaction_id_from($1)
        OR change.transaction_id >= @threadline@.transaction_id_from($2))
    AND NOT EXISTS (SELECT FROM @threadline@.audit_transactions AS known WHERE known.id = change.transaction_id)
