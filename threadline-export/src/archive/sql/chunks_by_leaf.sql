-- The chunks with the leaves $1.
SELECT * FROM @threadline@.audit_seal_chunks
WHERE first_leaf IN (
    SELECT near.first_leaf FROM unnest($1) AS leaf
    CROSS JOIN LATERAL (
        SELECT first_leaf FROM @threadline@.audit_seal_chunks
        WHERE first_leaf <= leaf ORDER BY first_leaf DESC LIMIT 1
    ) AS near
)
