-- Rows are the planner's estimate, so this is cheap however large the trail is.
WITH partition AS (
    SELECT parent.relname AS table_name,
        COALESCE(pg_catalog.substring(class.relname, '_(\d{4}_\d{2})$'), 'default') AS month,
        GREATEST(class.reltuples, 0)::bigint AS rows,
        pg_catalog.pg_total_relation_size(class.oid) AS bytes
    FROM pg_catalog.pg_inherits AS inherits
    JOIN pg_catalog.pg_class AS class ON class.oid = inherits.inhrelid
    JOIN pg_catalog.pg_class AS parent ON parent.oid = inherits.inhparent
    WHERE parent.relnamespace = pg_catalog.to_regnamespace('@threadline@') AND parent.relkind = 'p'
),
month AS (
    SELECT month, pg_catalog.sum(rows)::bigint AS rows, pg_catalog.sum(bytes)::bigint AS bytes,
        pg_catalog.sum(rows) FILTER (WHERE table_name = 'audit_changes')::bigint AS changes
    FROM partition GROUP BY month
),
-- Whole months only: the running one is not over.
growth AS (
    SELECT pg_catalog.max(bytes) AS bytes FROM month
    WHERE month < pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY_MM')
)
SELECT
    'ok' AS status,
    pg_catalog.format('%s in about %s changes; %s',
        pg_catalog.pg_size_pretty(COALESCE(pg_catalog.sum(month.bytes), 0)::bigint),
        COALESCE(pg_catalog.sum(month.changes), 0),
        COALESCE('the largest month that is over: ' || pg_catalog.pg_size_pretty(growth.bytes), 'no month is over yet')
    ) AS text,
    NULL::text AS hint,
    COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'month', month, 'rows', rows, 'changes', changes, 'bytes', month.bytes
    ) ORDER BY month) FILTER (WHERE rows > 0 OR month.bytes > 0), '[]')::text AS details
FROM growth LEFT JOIN month ON true
GROUP BY growth.bytes
