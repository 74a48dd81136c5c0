-- The leaf $1.
SELECT $1 AS leaf, substr(entries, ($1 - first_leaf)::integer * 60 + 1, 60) AS entry,
    substr(secrets, ($1 - first_leaf)::integer * 16 + 1, 16) AS secret
FROM @threadline@.audit_seal_chunks
WHERE first_leaf <= $1
ORDER BY first_leaf DESC
LIMIT 1
