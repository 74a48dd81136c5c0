-- The chunks with the leaves from $1 up to $2.
SELECT first_leaf, entries FROM @threadline@.audit_seal_chunks
WHERE first_leaf < $2 AND first_leaf >= (
    SELECT max(first_leaf) FROM @threadline@.audit_seal_chunks WHERE first_leaf <= $1
)
ORDER BY first_leaf
LIMIT 64
