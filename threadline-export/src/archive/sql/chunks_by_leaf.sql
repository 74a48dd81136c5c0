-- The chunks with the leaves $1.
SELECT chunk.*
FROM (
    SELECT DISTINCT near.first_leaf FROM unnest($1) AS leaf
    CROSS JOIN LATERAL (
        SELECT first_leaf FROM @threadline@.audit_seal_chunks
        WHERE first_leaf <= leaf ORDER BY first_leaf DESC LIMIT 1
    ) AS near
) AS wanted
JOIN @threadline@.audit_seal_chunks AS chunk ON chunk.first_leaf = wanted.first_leaf
