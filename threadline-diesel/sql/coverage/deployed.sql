-- The policies that are deployed, a row a capture function.
SELECT table_schema, table_name, version, hash, declared::text AS declared,
    function::pg_catalog.regprocedure::text AS function, by_row, changed_by_hand
FROM @threadline@.deployed_policies
ORDER BY table_schema COLLATE "C", table_name COLLATE "C", by_row DESC
