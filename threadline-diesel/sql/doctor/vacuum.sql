-- The trail is append-only, so dead rows come from rolled-back transactions and from removals.
WITH bloated AS (
    SELECT relid::pg_catalog.regclass::text AS name, n_live_tup AS live, n_dead_tup AS dead,
        GREATEST(last_vacuum, last_autovacuum) AS vacuumed
    FROM pg_catalog.pg_stat_user_tables
    WHERE schemaname = '@threadline@' AND n_dead_tup > 10000 AND n_dead_tup > n_live_tup / 5
)
SELECT
    CASE WHEN pg_catalog.count(*) > 0 THEN 'warn' ELSE 'ok' END AS status,
    CASE WHEN pg_catalog.count(*) > 0
        THEN 'more than a sixth of the rows are dead: ' || pg_catalog.string_agg(name, ', ' ORDER BY dead DESC)
        ELSE 'no table of the trail has many dead rows'
    END AS text,
    'VACUUM ' || pg_catalog.string_agg(name, ', ' ORDER BY dead DESC) AS hint,
    COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', name, 'live', live, 'dead', dead, 'vacuumed_at', vacuumed
    ) ORDER BY dead DESC), '[]')::text AS details
FROM bloated
