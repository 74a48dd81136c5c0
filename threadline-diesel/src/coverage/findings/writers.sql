-- Privileges of the roles ($3) by which the application writes.
WITH @captured@,
trail AS (
    SELECT namespace.nspowner AS owner FROM pg_namespace AS namespace WHERE namespace.nspname = '@threadline@'
),
writer AS (
    SELECT role.oid, role.rolname, role.rolsuper, role.oid = trail.owner AS owns_trail, trail.owner
    FROM pg_roles AS role CROSS JOIN trail WHERE role.rolname = ANY ($3)
)
SELECT 'warning' AS severity, 'writer_is_superuser' AS code, NULL AS table_schema, NULL AS table_name,
    format('%I writes captured tables and is a superuser, which can change the trail', writer.rolname) AS explanation,
    'let the application log in as a role of its own; see https://github.com/threadline-rs/threadline/blob/main/guides/roles-and-trust.md' AS remedy
FROM writer WHERE writer.rolsuper

UNION ALL
SELECT 'error', 'writer_is_trail_owner', NULL, NULL,
    format('%I writes captured tables and owns the trail', writer.rolname),
    'let a role of its own own the trail; see https://github.com/threadline-rs/threadline/blob/main/guides/roles-and-trust.md'
FROM writer WHERE writer.owns_trail AND NOT writer.rolsuper

UNION ALL
SELECT 'error', 'writer_may_own_trail', NULL, NULL,
    format('%I writes captured tables and, as a member of %s, may act as the owner of the trail',
        writer.rolname, membership.roleid::regrole),
    format('REVOKE %s FROM %I', membership.roleid::regrole, writer.rolname)
FROM writer
JOIN pg_auth_members AS membership ON membership.member = writer.oid
WHERE NOT writer.rolsuper AND NOT writer.owns_trail AND pg_has_role(membership.roleid, writer.owner, 'MEMBER')

UNION ALL
SELECT 'warning', 'writer_owns_table', captured.table_schema, captured.table_name,
    format('%I writes this table and may act as its owner, which can disable capture without a record', writer.rolname),
    format('let another role own it: ALTER TABLE %s OWNER TO ...; see https://github.com/threadline-rs/threadline/blob/main/guides/roles-and-trust.md', captured.relation::regclass)
FROM captured
JOIN writer ON NOT writer.rolsuper AND NOT writer.owns_trail
    AND pg_has_role(writer.oid, captured.relowner, 'MEMBER')
