-- The tables of the host, and whether each has a trigger with a capture function. Tables without columns
-- are omitted. Materialized views cannot have triggers.
SELECT namespace.nspname::text AS table_schema, class.relname::text AS table_name,
    capture.function IS NOT NULL AS captured, class.relkind = 'm' AS materialized,
    extension.extname::text AS extension
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN LATERAL (
    SELECT function.oid AS function
    FROM pg_trigger AS trigger
    JOIN pg_proc AS function ON function.oid = trigger.tgfoid
    JOIN pg_namespace AS trail ON trail.oid = function.pronamespace AND trail.nspname = '@threadline@'
    WHERE trigger.tgrelid = class.oid AND trigger.tgname = '00_threadline_capture'
        AND trigger.tgenabled IN ('O', 'A') AND function.proname LIKE 'capture\_%'
) AS capture ON true
LEFT JOIN pg_depend AS membership
    ON membership.classid = 'pg_class'::regclass AND membership.objid = class.oid AND membership.deptype = 'e'
LEFT JOIN pg_extension AS extension ON extension.oid = membership.refobjid
WHERE class.relkind IN ('r', 'p', 'm') AND NOT class.relispartition
    AND EXISTS (
        SELECT FROM pg_attribute AS attribute
        WHERE attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    )
    AND namespace.nspname NOT IN ('information_schema', '@threadline@') AND namespace.nspname NOT LIKE 'pg\_%'
ORDER BY namespace.nspname, class.relname
