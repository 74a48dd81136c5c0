-- The leaves of the records with the ids $1, whose entries begin with $2.
SELECT chunk.first_leaf + (chunk.place - 1) / 60 AS leaf, substr(chunk.entries, chunk.place, 60) AS entry,
    substr(chunk.secrets, (chunk.place - 1) / 60 * 16 + 1, 16) AS secret
FROM unnest($1::bigint[], $2::bytea[]) AS wanted (id, entry_start)
CROSS JOIN LATERAL (
    SELECT first_leaf, entries, secrets, position(wanted.entry_start IN entries) AS place
    FROM (
        -- As in open_seal: several chunks can have the id.
        SELECT first_leaf, entries, secrets FROM @threadline@.audit_seal_chunks
        WHERE last_id >= wanted.id ORDER BY last_id, first_leaf LIMIT 3
    ) AS near
    WHERE position(wanted.entry_start IN entries) > 0
    LIMIT 1
) AS chunk
ORDER BY leaf
