-- Actions with ids from $1 up to $2 and order_ids up to $3, in the order of an index. key: the id of the entry.
SELECT record.order_id AS key@values@
FROM @threadline@.audit_actions AS record
WHERE record.id >= $1 AND record.id < $2 AND record.order_id <= $3
ORDER BY record.id
