-- The roles $1, or else those of the newest 10,000 transactions since the id $2: by which privileges, their own or
-- those of roles that they are members of, they can write the trail or evidence.
WITH trail AS (
    SELECT namespace.oid, namespace.nspowner AS owner
    FROM pg_catalog.pg_namespace AS namespace WHERE namespace.nspname = '@threadline@'
),
recent AS (
    SELECT recorded.db_user FROM @threadline@.audit_transactions AS recorded
    WHERE recorded.id >= $2 ORDER BY recorded.id DESC LIMIT 10000
),
role AS (
    SELECT role.oid, role.rolname, role.rolsuper FROM pg_catalog.pg_roles AS role
    WHERE role.rolname = ANY ($1)
        OR pg_catalog.cardinality($1) = 0 AND role.rolname IN (SELECT recent.db_user FROM recent)
),
privilege (role, place, what) AS (
    SELECT role.oid, 1, 'do everything: it is a superuser' FROM role WHERE role.rolsuper
    UNION ALL
    SELECT role.oid, 2, 'act as the owner of the trail'
    FROM role CROSS JOIN trail WHERE NOT role.rolsuper AND pg_catalog.pg_has_role(role.oid, trail.owner, 'MEMBER')
    UNION ALL
    SELECT role.oid, 3, 'create objects in the schema of the trail'
    FROM role CROSS JOIN trail
    WHERE NOT role.rolsuper AND NOT pg_catalog.pg_has_role(role.oid, trail.owner, 'MEMBER')
        AND pg_catalog.has_schema_privilege(role.oid, trail.oid, 'CREATE')
    UNION ALL
    SELECT role.oid, 4, 'write ' || class.relname::text
    FROM role CROSS JOIN trail
    JOIN pg_catalog.pg_class AS class ON class.relnamespace = trail.oid AND class.relkind IN ('r', 'p')
    WHERE NOT role.rolsuper AND NOT pg_catalog.pg_has_role(role.oid, trail.owner, 'MEMBER')
        -- State of workers, not records.
        AND class.relname NOT IN ('audit_feed_consumers', 'audit_baseline_runs', 'audit_retention_runs',
            'audit_jobs', 'audit_schedules', 'audit_saved_views', 'audit_delivery_failures')
        AND (pg_catalog.has_table_privilege(role.oid, class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
            OR pg_catalog.has_any_column_privilege(role.oid, class.oid, 'INSERT, UPDATE'))
    UNION ALL
    -- The order of records, and the mark of a captured transaction.
    SELECT role.oid, 4, 'set ' || class.relname::text
    FROM role CROSS JOIN trail
    JOIN pg_catalog.pg_class AS class ON class.relnamespace = trail.oid AND class.relkind = 'S'
    WHERE NOT role.rolsuper AND NOT pg_catalog.pg_has_role(role.oid, trail.owner, 'MEMBER')
        AND class.relname IN ('audit_changes_id_seq', 'capture_session')
        AND pg_catalog.has_sequence_privilege(role.oid, class.oid, 'USAGE, UPDATE')
    UNION ALL
    SELECT role.oid, 5, 'execute ' || function.proname::text
    FROM role CROSS JOIN trail
    JOIN pg_catalog.pg_proc AS function ON function.pronamespace = trail.oid
    WHERE NOT role.rolsuper AND NOT pg_catalog.pg_has_role(role.oid, trail.owner, 'MEMBER')
        AND (function.proname LIKE 'capture\_%' OR function.proname IN ('suspend_capture', 'erase_values',
            'erase_change_actors', 'erase_context', 'remove_changes', 'remove_transactions', 'remove_actions',
            'drop_trail_partition', 'record_check'))
        AND pg_catalog.has_function_privilege(role.oid, function.oid, 'EXECUTE')
    UNION ALL
    SELECT role.oid, 6, 'set session_replication_role, which disables capture'
    FROM role CROSS JOIN trail
    WHERE NOT role.rolsuper AND pg_catalog.has_parameter_privilege(role.oid, 'session_replication_role', 'SET')
)
SELECT role.rolname::text AS name, (
    SELECT COALESCE(pg_catalog.jsonb_agg(privilege.what ORDER BY privilege.place, privilege.what), '[]')
    FROM privilege WHERE privilege.role = role.oid
) AS privileges
FROM role ORDER BY role.rolname
