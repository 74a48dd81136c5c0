-- Row counts are the planner's estimates, so the cost does not depend on the size of the trail.
WITH @partitions_ahead@,
stored AS (
    SELECT parent.relname AS table_name, replace(class.relname, parent.relname || '_', '') AS period,
        GREATEST(class.reltuples, 0)::bigint AS rows,
        pg_catalog.pg_total_relation_size(class.oid) AS bytes
    FROM pg_catalog.pg_inherits AS inherits
    JOIN pg_catalog.pg_class AS class ON class.oid = inherits.inhrelid
    JOIN pg_catalog.pg_class AS parent ON parent.oid = inherits.inhparent
    WHERE parent.relnamespace = pg_catalog.to_regnamespace('@threadline@') AND parent.relkind = 'p'
),
period AS (
    SELECT stored.period AS name, pg_catalog.sum(stored.rows)::bigint AS rows,
        pg_catalog.sum(stored.bytes)::bigint AS bytes,
        pg_catalog.sum(stored.rows) FILTER (WHERE stored.table_name = 'audit_changes')::bigint AS changes
    FROM stored GROUP BY stored.period
),
-- Completed periods only.
growth AS (
    SELECT pg_catalog.max(period.bytes) AS bytes
    FROM period
    JOIN partition ON partition.period = period.name AND partition.parent = 'audit_changes'
    WHERE partition.to_instant <= pg_catalog.now()
)
SELECT
    'ok' AS status,
    pg_catalog.format('%s in about %s changes; %s',
        pg_catalog.pg_size_pretty(COALESCE(pg_catalog.sum(period.bytes), 0)::bigint),
        COALESCE(pg_catalog.sum(period.changes), 0),
        COALESCE('the largest completed partition: ' || pg_catalog.pg_size_pretty(growth.bytes), 'no partition is completed yet')
    ) AS text,
    NULL::text AS hint,
    COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'period', period.name, 'rows', period.rows, 'changes', period.changes, 'bytes', period.bytes
    ) ORDER BY period.name) FILTER (WHERE period.rows > 0 OR period.bytes > 0), '[]')::text AS details
FROM growth LEFT JOIN period ON true
GROUP BY growth.bytes
