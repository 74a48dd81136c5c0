SELECT
    CASE WHEN major < 15 THEN 'fail' WHEN major > 18 THEN 'warn' ELSE 'ok' END AS status,
    pg_catalog.format('PostgreSQL %s', pg_catalog.current_setting('server_version')) AS text,
    CASE
        WHEN major < 15 THEN 'PostgreSQL 15 is the oldest supported version: upgrade the server'
        WHEN major > 18 THEN 'this release was not tested with this version: use a newer release of Threadline'
    END AS hint,
    pg_catalog.json_build_array(pg_catalog.json_build_object('major', major))::text AS details
FROM (SELECT pg_catalog.current_setting('server_version_num')::integer / 10000 AS major) AS server
