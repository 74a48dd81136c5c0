-- Items of the feed that a receiver refused and that were set aside.
WITH refused AS (
    SELECT consumer, pg_catalog.count(*) AS items, pg_catalog.min(item_id) AS first_id,
        pg_catalog.max(last_error) AS last_error, pg_catalog.max(last_failed_at) AS last_failed_at
    FROM @threadline@.audit_delivery_failures
    GROUP BY consumer
)
SELECT
    CASE WHEN pg_catalog.count(*) > 0 THEN 'warn' ELSE 'ok' END AS status,
    CASE WHEN pg_catalog.count(*) > 0
        THEN 'receivers refused changes or actions, which were set aside: '
            || pg_catalog.string_agg(consumer || ' (' || items || ')', ', ' ORDER BY consumer)
        ELSE 'no change or action is set aside'
    END AS text,
    CASE WHEN pg_catalog.count(*) > 0
        THEN 'find out why the receiver refuses them, then run feed deliver NAME --retry-failed'
    END AS hint,
    COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'consumer', consumer, 'items', items, 'first_id', first_id, 'last_error', last_error,
        'last_failed_at', last_failed_at
    ) ORDER BY consumer), '[]')::text AS details
FROM refused
