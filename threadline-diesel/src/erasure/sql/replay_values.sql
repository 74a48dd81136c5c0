-- No row if none of the changes has a value that is not erased. A change after the erasure is another one that got
-- the same id after the restore.
WITH target AS MATERIALIZED (
    SELECT id, captured_at FROM @threadline@.audit_changes AS change
    WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'ids')::bigint)) AND captured_at < $3
        AND table_schema = $1::jsonb ->> 'table_schema' AND table_name = $1::jsonb ->> 'table_name'
        AND EXISTS (
            SELECT FROM jsonb_array_elements_text($1::jsonb -> 'columns') AS name
            WHERE change.data_after ->> name <> '[ERASED]' OR change.changed_from ->> name <> '[ERASED]'
        )
)
SELECT @threadline@.erase_change_values($1::jsonb ->> 'table_schema', $1::jsonb ->> 'table_name',
    array_agg(id ORDER BY id), array_agg(captured_at ORDER BY id),
    ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'columns')), $2) AS records
FROM target HAVING count(*) > 0
