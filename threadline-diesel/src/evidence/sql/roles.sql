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
-- The roles that each can set, itself included.
acting AS (
    SELECT role.oid AS role, other.oid, other.rolsuper, other.oid = trail.owner AS is_owner
    FROM role
    JOIN pg_catalog.pg_roles AS other ON other.oid = role.oid
        OR NOT role.rolsuper AND pg_catalog.pg_has_role(role.oid, other.oid, 'MEMBER')
    CROSS JOIN trail
),
-- Without roles that can do everything.
ordinary AS (
    SELECT acting.role, acting.oid FROM acting
    WHERE NOT EXISTS (
        SELECT FROM acting AS same WHERE same.role = acting.role AND (same.rolsuper OR same.is_owner)
    )
),
privilege (role, place, what) AS (
    SELECT acting.role, 1, CASE WHEN acting.oid = acting.role THEN 'do everything: it is a superuser'
        ELSE 'act as a superuser' END
    FROM acting WHERE acting.rolsuper
    UNION
    SELECT acting.role, 2, 'act as the owner of the trail'
    FROM acting WHERE acting.is_owner AND NOT EXISTS (
        SELECT FROM acting AS same WHERE same.role = acting.role AND same.rolsuper
    )
    UNION
    SELECT ordinary.role, 3, 'create objects in the schema of the trail'
    FROM ordinary CROSS JOIN trail WHERE pg_catalog.has_schema_privilege(ordinary.oid, trail.oid, 'CREATE')
    UNION
    SELECT ordinary.role, 4, 'write ' || class.relname::text
    FROM ordinary CROSS JOIN trail
    JOIN pg_catalog.pg_class AS class ON class.relnamespace = trail.oid AND class.relkind IN ('r', 'p')
    -- State of workers, not records.
    WHERE class.relname NOT IN ('audit_feed_consumers', 'audit_baseline_runs', 'audit_retention_runs',
            'audit_jobs', 'audit_schedules', 'audit_saved_views', 'audit_delivery_failures')
        AND (pg_catalog.has_table_privilege(ordinary.oid, class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
            OR pg_catalog.has_any_column_privilege(ordinary.oid, class.oid, 'INSERT, UPDATE'))
    UNION
    -- The order of records, and the mark of a captured transaction.
    SELECT ordinary.role, 4, 'set ' || class.relname::text
    FROM ordinary CROSS JOIN trail
    JOIN pg_catalog.pg_class AS class ON class.relnamespace = trail.oid AND class.relkind = 'S'
    WHERE class.relname IN ('audit_changes_id_seq', 'capture_session')
        AND pg_catalog.has_sequence_privilege(ordinary.oid, class.oid, 'USAGE, UPDATE')
    UNION
    SELECT ordinary.role, 5, 'execute ' || function.proname::text
    FROM ordinary CROSS JOIN trail
    JOIN pg_catalog.pg_proc AS function ON function.pronamespace = trail.oid
    WHERE (function.proname LIKE 'capture\_%' OR function.proname IN ('suspend_capture', 'erase_values',
            'erase_change_values', 'erase_change_actors', 'erase_context', 'remove_changes', 'remove_transactions',
            'remove_actions', 'drop_trail_partition', 'record_check'))
        AND pg_catalog.has_function_privilege(ordinary.oid, function.oid, 'EXECUTE')
    UNION
    SELECT acting.role, 6, 'set session_replication_role, which disables capture'
    FROM acting JOIN role ON role.oid = acting.role
    WHERE NOT role.rolsuper AND pg_catalog.has_parameter_privilege(acting.oid, 'session_replication_role', 'SET')
)
SELECT role.rolname::text AS name, (
    SELECT COALESCE(pg_catalog.jsonb_agg(privilege.what ORDER BY privilege.place, privilege.what), '[]')
    FROM privilege WHERE privilege.role = role.oid
) AS privileges
FROM role ORDER BY role.rolname
