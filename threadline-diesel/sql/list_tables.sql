-- The tables of some schemas ($1; empty: all). $2 is the schema of the trail, $3 Diesel's migrations table.
SELECT namespace.nspname::text AS schema, class.relname::text AS name
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.relkind IN ('r', 'p', 'f') AND NOT class.relispartition
    AND namespace.nspname NOT IN ('information_schema', $2) AND namespace.nspname NOT LIKE 'pg\_%'
    AND class.relname <> $3
    AND (namespace.nspname = ANY ($1) OR pg_catalog.cardinality($1) = 0)
    AND EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS attribute
        WHERE attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    )
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS membership
        WHERE membership.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND membership.objid = class.oid
            AND membership.deptype = 'e'
    )
    -- An inheritance child is captured with its parent.
    AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_inherits AS inherits
        JOIN pg_catalog.pg_class AS parent ON parent.oid = inherits.inhparent
        JOIN pg_catalog.pg_namespace AS above ON above.oid = parent.relnamespace
        WHERE inherits.inhrelid = class.oid
            AND (above.nspname = ANY ($1) OR pg_catalog.cardinality($1) = 0)
    )
ORDER BY namespace.nspname, class.relname
