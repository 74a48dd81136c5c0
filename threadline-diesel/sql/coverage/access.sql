-- Whether there is a trail here, and whether the connected role may ask about it.
SELECT
    current_user::text AS role,
    pg_catalog.to_regnamespace('@threadline@') IS NOT NULL AS is_installed,
    pg_catalog.to_regprocedure('@threadline@.installation()') IS NOT NULL AS is_known,
    COALESCE(
        pg_catalog.has_function_privilege(
            pg_catalog.to_regprocedure('@threadline@.coverage()')::oid, 'EXECUTE'
        )
        AND pg_catalog.has_function_privilege(
            pg_catalog.to_regprocedure('@threadline@.coverage_findings(integer, timestamptz)')::oid, 'EXECUTE'
        )
        AND pg_catalog.has_table_privilege(
            pg_catalog.to_regclass('@threadline@.deployed_policies')::oid, 'SELECT'
        ),
        false
    ) AS is_allowed
