-- The entries of the leaves that erasures after the order_id $1 name.
SELECT removal.order_id AS id,
    substr(chunk.entries, ((erased.leaf::bigint - chunk.first_leaf) * 60 + 1)::integer, 60) AS entry
FROM @threadline@.audit_removals AS removal
CROSS JOIN LATERAL jsonb_object_keys(removal.scope -> 'leaves') AS erased (leaf)
CROSS JOIN LATERAL (
    SELECT first_leaf, entries FROM @threadline@.audit_seal_chunks
    WHERE first_leaf <= erased.leaf::bigint ORDER BY first_leaf DESC LIMIT 1
) AS chunk
WHERE removal.kind = 'erasure' AND removal.order_id > $1
