-- Large: more than 64 MB. Not used: since the last reset of the statistics, which may be recent.
WITH found AS (
    SELECT named.oid::pg_catalog.regclass::text AS name, index.indisvalid AS valid,
        pg_catalog.pg_relation_size(named.oid) AS bytes,
        COALESCE(usage.idx_scan, 0) AS scans
    FROM pg_catalog.pg_index AS index
    JOIN pg_catalog.pg_class AS named ON named.oid = index.indexrelid AND named.relkind = 'i'
    LEFT JOIN pg_catalog.pg_stat_user_indexes AS usage ON usage.indexrelid = named.oid
    WHERE named.relnamespace = pg_catalog.to_regnamespace('@threadline@')
),
sum AS (
    SELECT pg_catalog.sum(bytes) AS bytes,
        pg_catalog.string_agg(name, ', ' ORDER BY name) FILTER (WHERE NOT valid) AS invalid,
        pg_catalog.string_agg(name, ', ' ORDER BY bytes DESC) FILTER (WHERE valid AND scans = 0 AND bytes > 67108864) AS idle,
        (SELECT largest.name FROM found AS largest ORDER BY largest.bytes DESC, largest.name LIMIT 1) AS largest
    FROM found
)
SELECT
    CASE WHEN invalid IS NOT NULL OR idle IS NOT NULL THEN 'warn' ELSE 'ok' END AS status,
    pg_catalog.concat_ws('; ',
        pg_catalog.format('%s of indexes, the largest %s', pg_catalog.pg_size_pretty(bytes), largest),
        'invalid: ' || invalid, 'large and not used: ' || idle
    ) AS text,
    NULLIF(pg_catalog.concat_ws('; ',
        CASE WHEN invalid IS NOT NULL THEN 'rebuild each invalid index: REINDEX INDEX CONCURRENTLY' END,
        CASE WHEN idle IS NOT NULL THEN
            'an unused index slows down every write; check pg_stat_database.stats_reset before you drop one' END
    ), '') AS hint,
    (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', name, 'valid', valid, 'bytes', bytes, 'scans', scans
    ) ORDER BY bytes DESC, name), '[]')::text FROM (SELECT * FROM found ORDER BY bytes DESC, name LIMIT 20) AS shown) AS details
FROM sum
