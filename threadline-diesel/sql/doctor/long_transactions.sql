-- The start of transactions of other roles is visible only to members of pg_read_all_stats.
WITH old AS (
    SELECT pid, usename::text AS role, state, age
    FROM (
        SELECT activity.*, pg_catalog.clock_timestamp() - activity.xact_start AS age
        FROM pg_catalog.pg_stat_activity AS activity
        WHERE activity.datname = pg_catalog.current_database()
            AND activity.backend_type = 'client backend' AND activity.pid <> pg_catalog.pg_backend_pid()
    ) AS running
    WHERE age > interval '5 minutes'
)
SELECT
    CASE WHEN pg_catalog.count(*) > 0 THEN 'warn' ELSE 'ok' END AS status,
    CASE WHEN pg_catalog.count(*) > 0
        THEN pg_catalog.format('%s transactions are older than five minutes, the oldest %s',
            pg_catalog.count(*), pg_catalog.date_trunc('second', pg_catalog.max(age)))
        ELSE 'no visible transaction is older than five minutes'
    END AS text,
    CASE WHEN pg_catalog.count(*) > 0 THEN pg_catalog.format(
        'they hold back vacuum and consumers of the feed; find their purpose, or end one: SELECT pg_terminate_backend(%s)',
        (SELECT pid FROM old ORDER BY age DESC LIMIT 1))
    END AS hint,
    COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'pid', pid, 'role', role, 'state', state, 'seconds', EXTRACT(EPOCH FROM age)::bigint
    ) ORDER BY age DESC), '[]')::text AS details
FROM old
