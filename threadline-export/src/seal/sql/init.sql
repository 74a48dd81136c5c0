-- Adds the log with the origin $1, unless there is one.
INSERT INTO @threadline@.audit_seal_logs (log, origin, genesis)
SELECT 1, $1, jsonb_build_object(
    'origin', $1,
    'from_id', '1',
    'began_at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'began_by', session_user,
    'system_identifier', (SELECT system_identifier::text FROM pg_control_system())
)
ON CONFLICT DO NOTHING
RETURNING genesis::text AS fields
