-- Relations outside the trail that this transaction has locked.
SELECT COALESCE(pg_catalog.array_agg(DISTINCT pg_catalog.format('%I.%I', namespace.nspname, root.relname)), '{}') AS names
FROM pg_catalog.pg_locks AS lock
JOIN pg_catalog.pg_class AS class ON class.oid = lock.relation AND class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
JOIN pg_catalog.pg_class AS root ON root.oid = COALESCE(pg_catalog.pg_partition_root(class.oid)::oid, class.oid)
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = root.relnamespace
WHERE lock.locktype = 'relation' AND lock.pid = pg_catalog.pg_backend_pid()
    AND lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND namespace.nspname NOT IN ('pg_catalog', 'information_schema', '@threadline@')
