-- Sessions in which no trigger fires, and current suspensions of capture.
SELECT 'error' AS severity, 'replication_role_default' AS code, NULL AS table_schema, NULL AS table_name,
    format('%s starts sessions with %s, in which no trigger fires', COALESCE(
        'role ' || role.rolname || COALESCE(' in database ' || database.datname, ''),
        'database ' || database.datname, 'the server'), setting) AS explanation,
    CASE
        WHEN role.oid IS NULL THEN format('ALTER DATABASE %I RESET session_replication_role', database.datname)
        WHEN database.oid IS NULL THEN format('ALTER ROLE %I RESET session_replication_role', role.rolname)
        ELSE format('ALTER ROLE %I IN DATABASE %I RESET session_replication_role', role.rolname, database.datname)
    END AS remedy
FROM pg_db_role_setting AS defaults
CROSS JOIN LATERAL unnest(defaults.setconfig) AS setting
LEFT JOIN pg_roles AS role ON role.oid = defaults.setrole
LEFT JOIN pg_database AS database ON database.oid = defaults.setdatabase
WHERE setting LIKE 'session\_replication\_role=%' AND setting NOT LIKE '%=origin'
    AND (defaults.setdatabase = 0 OR database.datname = current_database())

UNION ALL
SELECT 'warning', 'replication_role_settable', NULL, NULL,
    format('role %s may set session_replication_role, so that its writes fire no trigger', grantee.name),
    format('REVOKE SET ON PARAMETER session_replication_role FROM %s', grantee.name)
FROM pg_parameter_acl AS parameter
CROSS JOIN LATERAL aclexplode(parameter.paracl) AS privilege
CROSS JOIN LATERAL (
    SELECT CASE privilege.grantee WHEN 0 THEN 'PUBLIC' ELSE privilege.grantee::regrole::text END
) AS grantee (name)
LEFT JOIN pg_roles AS role ON role.oid = privilege.grantee
WHERE parameter.parname = 'session_replication_role' AND privilege.privilege_type = 'SET'
    AND role.rolsuper IS NOT TRUE

UNION ALL
-- suspend_capture locks audit_suspensions until the end of the transaction. The lock of a prepared
-- transaction has no pid.
SELECT 'warning', 'capture_suspended', NULL, NULL,
    CASE WHEN held.pid IS NULL THEN 'a prepared transaction suspended capture, and is not finished'
        ELSE format('capture is suspended now by process %s%s', held.pid,
            ', since ' || to_char(activity.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC') END,
    CASE WHEN held.pid IS NULL THEN COALESCE(
            (SELECT string_agg(format('ROLLBACK PREPARED %L', prepared.gid), '; ')
             FROM pg_prepared_xacts AS prepared WHERE held.virtualtransaction = '-1/' || prepared.transaction),
            'find the transaction in pg_prepared_xacts')
        ELSE format('SELECT pg_terminate_backend(%s)', held.pid) END
FROM pg_locks AS held
JOIN pg_class AS class ON class.oid = held.relation AND class.relname = 'audit_suspensions'
JOIN pg_namespace AS trail ON trail.oid = class.relnamespace AND trail.nspname = '@threadline@'
LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
WHERE held.locktype = 'relation' AND held.granted AND held.mode = 'RowExclusiveLock'
    AND held.database = (SELECT database.oid FROM pg_database AS database WHERE database.datname = current_database())
    AND held.pid IS DISTINCT FROM pg_backend_pid()

UNION ALL
-- Attribution is set for a transaction. A default would be recorded for every write of the sessions.
SELECT 'error', 'attribution_default', NULL, NULL,
    format('%s starts sessions with %s, which is recorded for every write', COALESCE(
        'role ' || role.rolname || COALESCE(' in database ' || database.datname, ''),
        'database ' || database.datname, 'the server'), setting.name),
    CASE
        WHEN role.oid IS NULL THEN format('ALTER DATABASE %I RESET %s', database.datname, setting.name)
        WHEN database.oid IS NULL THEN format('ALTER ROLE %I RESET %s', role.rolname, setting.name)
        ELSE format('ALTER ROLE %I IN DATABASE %I RESET %s', role.rolname, database.datname, setting.name)
    END
FROM pg_db_role_setting AS defaults
CROSS JOIN LATERAL unnest(defaults.setconfig) AS assignment
CROSS JOIN LATERAL (SELECT split_part(assignment, '=', 1)) AS setting (name)
LEFT JOIN pg_roles AS role ON role.oid = defaults.setrole
LEFT JOIN pg_database AS database ON database.oid = defaults.setdatabase
WHERE setting.name LIKE 'threadline.%'
    AND (defaults.setdatabase = 0 OR database.datname = current_database())

UNION ALL
SELECT 'warning', 'encoding_unchecked', NULL, NULL,
    'the database has encoding SQL_ASCII, which does not check text: changes can have bytes that readers cannot decode',
    'dump the database, and restore it into a database with encoding UTF8'
FROM pg_database AS database
WHERE database.datname = current_database() AND database.encoding = 0
