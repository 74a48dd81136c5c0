WITH @partitions_ahead@
SELECT
    CASE
        WHEN covered.until < now() + interval '7 days' THEN 'fail'
        WHEN covered.until < now() + interval '1 month' THEN 'warn'
        ELSE 'ok'
    END AS status,
    format('there are partitions until %s UTC', to_char(covered.until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')) AS text,
    CASE WHEN covered.until < now() + interval '1 month'
        THEN 'SELECT * FROM @threadline@.maintain(), and let a scheduler call it' END AS hint,
    json_build_array(json_build_object(
        'until', to_char(covered.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'days', floor(extract(epoch FROM covered.until - now()) / 86400)
    ))::text AS details
FROM (SELECT min(ahead.covered_until) AS until FROM ahead) AS covered
