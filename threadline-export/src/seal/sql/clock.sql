-- The fields of a clock record: the database's time and position.
SELECT jsonb_build_object(
    'settled_to', sealed_to::text,
    'read_at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
    'lsn', pg_current_wal_lsn()::text
)::text AS fields
FROM @threadline@.audit_seal_logs
