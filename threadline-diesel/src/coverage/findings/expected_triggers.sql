-- Each captured table with its partitions and inheritance children.
family (root, relation) AS (
    SELECT captured.relation, captured.relation FROM captured WHERE captured.relation IS NOT NULL
    UNION
    SELECT family.root, inherits.inhrelid
    FROM family JOIN pg_inherits AS inherits ON inherits.inhparent = family.relation
),
-- The triggers that enable_capture creates on each of them. `type` is pg_trigger.tgtype:
-- 29 is AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW, 32 is AFTER TRUNCATE FOR EACH STATEMENT.
expected AS (
    SELECT captured.table_schema, captured.table_name, captured.function_name, family.root,
        family.relation, holder.relispartition, trigger.name, trigger.type, trigger.function,
        trigger.arguments
    FROM captured
    JOIN family ON family.root = captured.relation
    JOIN pg_class AS holder ON holder.oid = family.relation
    CROSS JOIN LATERAL (VALUES
        ('00_threadline_capture', 29, captured.function, ''::bytea),
        ('00_threadline_truncate', 32, (
            SELECT function.oid FROM pg_proc AS function
            JOIN pg_namespace AS trail ON trail.oid = function.pronamespace
            WHERE trail.nspname = '@threadline@' AND function.proname = 'capture_truncate'
        ), (
            -- The arguments in the form of pg_trigger.tgargs.
            SELECT string_agg(convert_to(argument, getdatabaseencoding()) || '\x00', '' ORDER BY place)
            FROM unnest(ARRAY[
                captured.table_schema, captured.table_name,
                (captured.declared ->> 'actor' = 'required')::text
            ]) WITH ORDINALITY AS given (argument, place)
        ))
    ) AS trigger (name, type, function, arguments)
    -- A child that is captured itself has other triggers: see captured_twice.
    WHERE family.relation = family.root OR NOT EXISTS (
        SELECT FROM captured AS by_itself
        WHERE by_itself.relation = family.relation AND NOT by_itself.relispartition
    )
)
