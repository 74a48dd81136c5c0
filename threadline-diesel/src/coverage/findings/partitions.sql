-- Whether partitions for the next month exist.
WITH @partitions_ahead@
SELECT 'warning' AS severity, 'partition_missing' AS code, '@threadline@' AS table_schema, ahead.parent AS table_name,
    format('its partitions end at %s UTC; later records are stored in the default partition',
        to_char(ahead.covered_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')) AS explanation,
    'SELECT * FROM @threadline@.maintain()' AS remedy
FROM ahead
WHERE ahead.covered_until < now() + interval '1 month'
