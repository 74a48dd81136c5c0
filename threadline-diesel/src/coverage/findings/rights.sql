-- Roles that could change the trail, and privileges that capture lacks. Functions are checked elsewhere.
WITH @captured@,
trail AS (
    SELECT namespace.oid, namespace.nspowner AS owner, namespace.nspowner::regrole::text AS owner_name, namespace.nspacl
    FROM pg_namespace AS namespace WHERE namespace.nspname = '@threadline@'
),
-- Tables, views and sequences of the trail, with their kind in GRANT and ALTER.
part AS (
    SELECT class.*, class.oid::regclass::text AS shown,
        CASE class.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
    FROM pg_class AS class
    JOIN trail ON trail.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p', 'v', 'S')
),
given AS (
    SELECT part.shown, part.relname, part.relkind, part.relowner, privilege.grantee, privilege.type, privilege.columns
    FROM part
    CROSS JOIN LATERAL (
        SELECT whole.grantee, whole.privilege_type, '' FROM aclexplode(part.relacl) AS whole
        UNION ALL
        SELECT single.grantee, single.privilege_type, format(' (%I)', attribute.attname)
        FROM pg_attribute AS attribute CROSS JOIN LATERAL aclexplode(attribute.attacl) AS single
        WHERE attribute.attrelid = part.oid
    ) AS privilege (grantee, type, columns)
),
excess AS (
    SELECT given.*, CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END AS role
    FROM given WHERE given.type <> 'SELECT' AND given.grantee <> given.relowner
        -- State of workers, of the sealer and of the console, written with the privileges of their roles.
        AND given.relname NOT IN (
            'audit_feed_consumers', 'audit_baseline_runs', 'audit_retention_runs', 'audit_jobs', 'audit_schedules',
            'audit_saved_views', 'audit_delivery_failures', 'audit_erasure_runs', 'audit_seal_logs', 'audit_seal_chunks',
            'audit_seal_transactions', 'audit_seal_checkpoints', 'audit_seal_openings'
        )
),
needed AS (
    SELECT part.relname, part.shown, CASE part.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, right_.name
    FROM part CROSS JOIN trail
    CROSS JOIN LATERAL unnest(CASE part.relkind
        WHEN 'S' THEN ARRAY['USAGE', 'SELECT', 'UPDATE']
        WHEN 'v' THEN ARRAY['SELECT']
        ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
    END) AS right_ (name)
    WHERE CASE part.relkind
        WHEN 'S' THEN NOT has_sequence_privilege(trail.owner, part.oid, right_.name)
        ELSE NOT has_table_privilege(trail.owner, part.oid, right_.name)
    END
)
SELECT 'error' AS severity, 'trail_writable' AS code, '@threadline@' AS table_schema, excess.relname AS table_name,
    format('role %s may %s %s', excess.role, lower(string_agg(excess.type, ', ' ORDER BY excess.type)),
        CASE excess.relkind WHEN 'S' THEN format('sequence %I', excess.relname) ELSE 'the trail' END) AS explanation,
    format('REVOKE %s ON %s %s FROM %s', string_agg(excess.type || excess.columns, ', ' ORDER BY excess.type),
        CASE excess.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, excess.shown, excess.role) AS remedy
FROM excess
GROUP BY excess.relname, excess.relkind, excess.shown, excess.role

UNION ALL
SELECT 'error', 'schema_writable', '@threadline@', NULL,
    format('role %s may create objects in the schema of the trail', grantee.name),
    format('REVOKE CREATE ON SCHEMA @threadline@ FROM %s', grantee.name)
FROM trail
CROSS JOIN LATERAL aclexplode(trail.nspacl) AS privilege
CROSS JOIN LATERAL (
    SELECT CASE privilege.grantee WHEN 0 THEN 'PUBLIC' ELSE privilege.grantee::regrole::text END
) AS grantee (name)
WHERE privilege.privilege_type = 'CREATE' AND privilege.grantee <> trail.owner

UNION ALL
-- The owner of an object of the trail can change the object.
SELECT 'error', 'trail_owner_mixed', '@threadline@', part.relname,
    format('its owner is %s, not the owner of the trail, %s', part.relowner::regrole, trail.owner_name),
    format('ALTER %s %s OWNER TO %s', part.kind, part.shown, trail.owner_name)
FROM part CROSS JOIN trail WHERE part.relowner <> trail.owner

UNION ALL
SELECT 'error', 'trail_owned_by_writer', captured.table_schema, captured.table_name,
    format('role %s owns the table and the trail: it can disable capture and change the trail', trail.owner_name),
    'let a role of its own own the trail; see https://github.com/threadline-rs/threadline/blob/main/guides/roles-and-trust.md'
FROM captured
JOIN trail ON trail.owner = captured.relowner
JOIN pg_roles AS role ON role.oid = trail.owner AND NOT role.rolsuper

UNION ALL
SELECT 'info', 'trail_owner_member', '@threadline@', NULL,
    format('role %I can log in and may act as %s, which owns the trail: suitable for migrations, not for an application',
        role.rolname, trail.owner_name),
    'check that no application logs in as it'
FROM pg_roles AS role CROSS JOIN trail
WHERE role.rolcanlogin AND NOT role.rolsuper AND role.oid <> trail.owner
    AND pg_has_role(role.oid, trail.owner, 'MEMBER')

UNION ALL
SELECT CASE WHEN part.relforcerowsecurity THEN 'error' ELSE 'warning' END,
    'trail_row_security', '@threadline@', part.relname,
    CASE WHEN part.relforcerowsecurity
        THEN 'row-level security also applies to the owner, so capture may fail to write'
        ELSE 'row-level security hides rows of the trail from some readers' END,
    format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', part.shown)
FROM part WHERE part.relrowsecurity

UNION ALL
-- Capture writes with the privileges of the trail's owner, which can revoke its own.
SELECT 'error', 'trail_owner_lacks', '@threadline@', needed.relname,
    format('%s, which owns the trail, may not %s it: writes to captured tables, reading or maintenance of the trail fail',
        trail.owner_name, lower(string_agg(needed.name, ', '))),
    format('GRANT %s ON %s %s TO %s', string_agg(needed.name, ', '), needed.kind, needed.shown, trail.owner_name)
FROM needed CROSS JOIN trail
GROUP BY needed.relname, needed.shown, needed.kind, trail.owner_name

UNION ALL
SELECT 'error', 'trail_owner_lacks', '@threadline@', NULL,
    format('%s, which owns the trail, may not execute %s: writes to captured tables, reading or maintenance of the trail fail',
        trail.owner_name, function.oid::regprocedure),
    format('GRANT EXECUTE ON ROUTINE %s TO %s', function.oid::regprocedure, trail.owner_name)
FROM trail
JOIN pg_proc AS function ON function.pronamespace = trail.oid
WHERE NOT has_function_privilege(trail.owner, function.oid, 'EXECUTE')

UNION ALL
SELECT 'error', 'trail_owner_lacks', '@threadline@', NULL,
    format('%s, which owns the trail, may not use its schema: writes to captured tables fail', trail.owner_name),
    format('GRANT USAGE, CREATE ON SCHEMA @threadline@ TO %s', trail.owner_name)
FROM trail
WHERE NOT has_schema_privilege(trail.owner, trail.oid, 'USAGE')
    OR NOT has_schema_privilege(trail.owner, trail.oid, 'CREATE')
