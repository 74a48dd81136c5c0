SELECT
    CASE WHEN months = 0 THEN 'fail' WHEN months < 3 THEN 'warn' ELSE 'ok' END AS status,
    pg_catalog.format('there are partitions for the %s months after this one', months) AS text,
    CASE WHEN months < 3 THEN 'SELECT @threadline@.create_partitions(now(), 12)' END AS hint,
    pg_catalog.json_build_array(pg_catalog.json_build_object('months', months))::text AS details
FROM (
    SELECT pg_catalog.count(*) AS months
    FROM pg_catalog.generate_series(1, 24) AS step
    WHERE (
        SELECT pg_catalog.bool_and(pg_catalog.to_regclass(pg_catalog.format(
            '@threadline@.%I', root || '_' || pg_catalog.to_char(
                (pg_catalog.now() AT TIME ZONE 'UTC') + pg_catalog.make_interval(months => step), 'YYYY_MM'
            )
        )) IS NOT NULL)
        FROM pg_catalog.unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) AS root
    )
) AS ahead
