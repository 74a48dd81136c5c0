WITH old AS (
    SELECT gid, owner::text AS role, pg_catalog.clock_timestamp() - prepared AS age
    FROM pg_catalog.pg_prepared_xacts
    WHERE database = pg_catalog.current_database()
        AND prepared < pg_catalog.clock_timestamp() - interval '5 minutes'
)
SELECT
    CASE WHEN pg_catalog.count(*) > 0 THEN 'warn' ELSE 'ok' END AS status,
    CASE WHEN pg_catalog.count(*) > 0
        THEN pg_catalog.format('%s prepared transactions are older than five minutes, the oldest %s',
            pg_catalog.count(*), pg_catalog.date_trunc('second', pg_catalog.max(age)))
        ELSE 'no prepared transaction is older than five minutes'
    END AS text,
    CASE WHEN pg_catalog.count(*) > 0 THEN
        'their changes become visible late, and they hold back vacuum: COMMIT PREPARED or ROLLBACK PREPARED'
    END AS hint,
    COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'gid', gid, 'role', role, 'seconds', EXTRACT(EPOCH FROM age)::bigint
    ) ORDER BY age DESC), '[]')::text AS details
FROM old
