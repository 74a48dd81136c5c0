-- The chunks that can have records with the ids $1: two if one begins between a transaction and its first change, and
-- one of a clock.
SELECT chunk.*
FROM (
    SELECT DISTINCT near.first_leaf FROM unnest($1) AS id
    CROSS JOIN LATERAL (
        SELECT first_leaf FROM @threadline@.audit_seal_chunks
        WHERE last_id >= id ORDER BY last_id, first_leaf LIMIT 3
    ) AS near
) AS wanted
JOIN @threadline@.audit_seal_chunks AS chunk ON chunk.first_leaf = wanted.first_leaf
