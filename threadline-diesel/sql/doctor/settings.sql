WITH wrong AS (
    SELECT setting.name, setting.setting, judged.status, judged.why
    FROM pg_catalog.pg_settings AS setting
    JOIN (VALUES
        ('session_replication_role', 'origin', 'fail',
            'no trigger fires in this session, so its writes are not captured: RESET session_replication_role, and find where it is set'),
        ('fsync', 'on', 'warn', 'a crash can lose or damage the trail: ALTER SYSTEM SET fsync = on'),
        ('full_page_writes', 'on', 'warn', 'a crash can damage the trail: ALTER SYSTEM SET full_page_writes = on'),
        ('autovacuum', 'on', 'warn', 'dead rows are not removed: ALTER SYSTEM SET autovacuum = on'),
        ('track_counts', 'on', 'warn',
            'autovacuum does not run, and index usage is not counted: ALTER SYSTEM SET track_counts = on'),
        ('synchronous_commit', 'off', 'warn',
            'a crash can lose the last commits, with their changes: SET synchronous_commit = on if that matters')
    ) AS judged (name, value, status, why)
        ON judged.name = setting.name
        AND CASE judged.name WHEN 'synchronous_commit' THEN setting.setting = judged.value
            ELSE setting.setting <> judged.value END
)
SELECT
    COALESCE((SELECT status FROM wrong ORDER BY status = 'fail' DESC LIMIT 1), 'ok') AS status,
    COALESCE(
        pg_catalog.string_agg(pg_catalog.format('%s = %s', name, setting), ', ' ORDER BY name),
        'all checked settings are as recommended'
    ) AS text,
    pg_catalog.string_agg(why, '; ' ORDER BY name) AS hint,
    COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('name', name, 'value', setting)), '[]')::text AS details
FROM wrong
