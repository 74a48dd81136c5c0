-- Changes captured from $1 up to $2 with ids up to $3, in the order of an index. key: the id of the entry.
SELECT record.id AS key@values@
FROM @threadline@.audit_changes AS record
WHERE record.captured_at >= $1 AND record.captured_at < $2 AND record.id <= $3
ORDER BY record.captured_at, record.id
