-- The changes of a person in a table with values of the columns $5 that are not erased. The person's rows are those
-- with the keys $3; of rows that were found by a column, $4 has its names, and images in which it is $6 belong to
-- the person also where their row cannot be followed. A row that took over a key is another one: its images never
-- had the value.
WITH followed AS (
    SELECT change.id, change.captured_at, change.row_key, change.data_after, change.changed_from
    FROM unnest($3::text[]) AS given (key)
    CROSS JOIN LATERAL (
        SELECT own.*, cardinality($4::text[]) = 0 OR bool_or(EXISTS (
            SELECT FROM unnest($4::text[]) AS name
            WHERE own.data_after ->> name = $6 OR own.changed_from ->> name = $6
        )) OVER () AS is_of_subject
        FROM @threadline@.row_segments($1, $2, given.key) AS segment
        JOIN @threadline@.audit_changes AS own ON own.table_schema = $1 AND own.table_name = $2
            AND own.row_key = segment.row_key AND own.id BETWEEN segment.first_id AND segment.last_id
    ) AS change
    WHERE change.is_of_subject
    UNION ALL
    SELECT change.id, change.captured_at, change.row_key, change.data_after, change.changed_from
    FROM @threadline@.audit_changes AS change
    WHERE change.table_schema = $1 AND change.table_name = $2 AND EXISTS (
        SELECT FROM unnest($4::text[]) AS name
        WHERE change.data_after ->> name = $6 OR change.changed_from ->> name = $6
    )
)
SELECT DISTINCT id, captured_at, row_key
FROM followed
WHERE EXISTS (
    SELECT FROM unnest($5::text[]) AS name
    WHERE data_after ->> name <> '[ERASED]' OR changed_from ->> name <> '[ERASED]'
)
ORDER BY captured_at, id LIMIT $7
