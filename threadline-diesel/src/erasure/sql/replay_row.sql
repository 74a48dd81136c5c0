-- No row if no image of the row before the erasure has a value that is not erased.
SELECT @threadline@.erase_values($1::jsonb ->> 'table_schema', $1::jsonb ->> 'table_name', $1::jsonb ->> 'row_key',
    ARRAY(SELECT jsonb_array_elements_text($1::jsonb -> 'columns')), $2) AS records
WHERE EXISTS (
    SELECT FROM @threadline@.row_segments(
        $1::jsonb ->> 'table_schema', $1::jsonb ->> 'table_name', $1::jsonb ->> 'row_key') AS segment
    JOIN @threadline@.audit_changes AS change
        ON change.table_schema = $1::jsonb ->> 'table_schema' AND change.table_name = $1::jsonb ->> 'table_name'
            AND change.row_key = segment.row_key AND change.id BETWEEN segment.first_id AND segment.last_id
    CROSS JOIN LATERAL jsonb_array_elements_text($1::jsonb -> 'columns') AS name
    WHERE change.captured_at < $3
        AND (change.data_after ->> name <> '[ERASED]' OR change.changed_from ->> name <> '[ERASED]')
)
