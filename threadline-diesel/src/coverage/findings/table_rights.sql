-- Roles that may create and replace triggers of captured tables. Superusers, the owner and its members may
-- without the privilege.
WITH @captured@
SELECT 'warning' AS severity, 'trigger_granted' AS code, captured.table_schema, captured.table_name,
    format('%s may create and replace triggers of this table, those of capture included', grantee.name) AS explanation,
    format('REVOKE TRIGGER ON %s FROM %s', captured.relation::regclass, grantee.name) AS remedy
FROM captured
JOIN pg_class AS class ON class.oid = captured.relation
CROSS JOIN LATERAL aclexplode(class.relacl) AS privilege
CROSS JOIN LATERAL (
    SELECT CASE privilege.grantee WHEN 0 THEN 'PUBLIC' ELSE privilege.grantee::regrole::text END
) AS grantee (name)
LEFT JOIN pg_roles AS role ON role.oid = privilege.grantee
WHERE privilege.privilege_type = 'TRIGGER' AND privilege.grantee <> class.relowner
    AND role.rolsuper IS NOT TRUE
    AND (role.oid IS NULL OR NOT pg_has_role(role.oid, class.relowner, 'MEMBER'))
