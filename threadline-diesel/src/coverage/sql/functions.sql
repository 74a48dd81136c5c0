-- The functions of the trail with comment, body, settings, owner and grantees; capture functions with the
-- table of their trigger.
SELECT function.oid, function.proname::text AS name, function.oid::regprocedure::text AS signature,
    obj_description(function.oid, 'pg_proc') AS comment, function.prosrc AS body,
    COALESCE(function.proconfig, '{}') AS settings, function.prosecdef AS is_definer,
    function.prorettype = 'trigger'::regtype AS is_trigger, function.proowner::regrole::text AS owner,
    ARRAY(
        SELECT DISTINCT CASE privilege.grantee WHEN 0 THEN 'PUBLIC' ELSE privilege.grantee::regrole::text END
        FROM aclexplode(COALESCE(function.proacl, acldefault('f', function.proowner))) AS privilege
        WHERE privilege.grantee <> function.proowner
    ) AS grantees,
    used.table_schema, used.table_name
FROM pg_proc AS function
JOIN pg_namespace AS trail ON trail.oid = function.pronamespace AND trail.nspname = '@threadline@'
LEFT JOIN (
    SELECT DISTINCT ON (trigger.tgfoid) trigger.tgfoid AS function,
        namespace.nspname::text AS table_schema, class.relname::text AS table_name
    FROM pg_trigger AS trigger
    JOIN pg_class AS class ON class.oid = trigger.tgrelid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE trigger.tgparentid = 0
    ORDER BY trigger.tgfoid, trigger.tgrelid
) AS used ON used.function = function.oid
ORDER BY function.proname, function.oid::regprocedure::text COLLATE "C"
