-- No row if none of the changes is left to erase. A change after the erasure is another one that got the same id
-- after the restore.
WITH target AS MATERIALIZED (
    SELECT id, captured_at FROM @threadline@.audit_changes
    WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'ids')::bigint)) AND captured_at < $3
        AND actor !~ ':erased-[0-9a-f]{32}$'
)
SELECT @threadline@.erase_change_actors(array_agg(id ORDER BY id), array_agg(captured_at ORDER BY id), $1::jsonb ->> 'pseudonym', $2) AS records
FROM target HAVING count(*) > 0
