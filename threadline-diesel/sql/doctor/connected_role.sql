-- Whether the role can bypass the protection of the trail: as a superuser or as the owner of the trail.
SELECT
    CASE WHEN role.rolsuper OR trail.may_own THEN 'warn' ELSE 'ok' END AS status,
    pg_catalog.format(
        'connected as %I%s: %s', session_user,
        CASE WHEN session_user <> current_user THEN pg_catalog.format(' in role %I', current_user) ELSE '' END,
        CASE
            WHEN role.rolsuper THEN 'a superuser, which can change the trail'
            WHEN trail.may_own THEN 'may act as the owner of the trail and change it'
            WHEN trail.may_read THEN 'may read the trail, but not change it'
            WHEN trail.exists THEN 'may neither read nor change the trail'
            ELSE 'there is no trail in this database'
        END
    ) AS text,
    CASE WHEN role.rolsuper OR trail.may_own
        THEN 'suitable for migrations; use another role for the application, see https://github.com/threadline-rs/threadline/blob/main/guides/roles-and-trust.md'
    END AS hint,
    pg_catalog.json_build_array(pg_catalog.json_build_object(
        'session_user', session_user, 'current_user', current_user, 'superuser', role.rolsuper,
        'may_own_trail', trail.may_own, 'may_read_trail', trail.may_read,
        'bypasses_row_security', role.rolbypassrls
    ))::text AS details
FROM pg_catalog.pg_roles AS role
CROSS JOIN LATERAL (
    SELECT namespace.oid IS NOT NULL AS exists,
        COALESCE(pg_catalog.pg_has_role(session_user, namespace.nspowner, 'MEMBER'), false) AS may_own,
        COALESCE(pg_catalog.has_table_privilege(
            pg_catalog.to_regclass('@threadline@.audit_changes')::oid, 'SELECT'), false) AS may_read
    FROM (VALUES (1)) AS one (row)
    LEFT JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = '@threadline@'
) AS trail
WHERE role.rolname = session_user
