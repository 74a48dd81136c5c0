-- $1 the generator's version, $2 since when records are looked at, $3 the application's roles
SELECT severity, code, table_schema, table_name, explanation, remedy
FROM (
    SELECT * FROM @threadline@.coverage_findings($1, $2)
    UNION
    SELECT * FROM @threadline@.writer_findings($3)
) AS finding
ORDER BY
    pg_catalog.array_position(ARRAY['error', 'warning', 'info'], severity),
    code COLLATE "C", table_schema COLLATE "C", table_name COLLATE "C", explanation COLLATE "C"
