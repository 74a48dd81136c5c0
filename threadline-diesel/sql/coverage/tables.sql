-- The host's tables, each with whether it is captured and which extension brought it along.
SELECT coverage.table_schema, coverage.table_name, coverage.captured, extension.extname::text AS extension
FROM @threadline@.coverage() AS coverage
LEFT JOIN pg_catalog.pg_depend AS membership
    ON membership.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND membership.deptype = 'e'
    AND membership.objid = pg_catalog.to_regclass(
        pg_catalog.format('%I.%I', coverage.table_schema, coverage.table_name)
    )
LEFT JOIN pg_catalog.pg_extension AS extension ON extension.oid = membership.refobjid
ORDER BY coverage.table_schema COLLATE "C", coverage.table_name COLLATE "C"
