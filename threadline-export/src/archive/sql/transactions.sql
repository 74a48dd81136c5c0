-- Transactions with ids from $1 up to $2, in the order of an index, without those whose first change is after the id $3.
-- key: the leaf; null if it is not sealed.
SELECT sealed.leaf AS key@values@
FROM @threadline@.audit_transactions AS record
LEFT JOIN @threadline@.audit_seal_transactions AS sealed ON sealed.transaction_id = record.id
WHERE record.id >= $1 AND record.id < $2 AND (sealed.leaf IS NOT NULL OR COALESCE((
    SELECT min(change.id) FROM @threadline@.audit_changes AS change WHERE change.transaction_id = record.id
), 0) <= $3)
ORDER BY record.id
