-- What is captured, how well, and what a mechanism cannot see by itself. Only the catalog is asked,
-- but for orphans and writers, which are looked for in what was captured since an instant.
--
-- The findings themselves are in 17_capture_findings.sql (triggers, functions, columns) and
-- 18_trail_findings.sql (the trail, its rights, its surroundings).

-- Every capture policy that is deployed: the table it names, its functions, and the table it is on.
SELECT @threadline@.ensure_view('deployed_policies', $view$
SELECT
    policy #>> '{table,name,schema}' AS table_schema,
    policy #>> '{table,name,name}' AS table_name,
    (policy ->> 'version')::integer AS version,
    policy ->> 'hash' AS hash,
    policy -> 'table' AS declared,
    function.oid AS function,
    function.proname LIKE 'capture\_row\_%' AS by_row,
    policy ->> 'body' IS DISTINCT FROM
        pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(function.prosrc, 'UTF8')), 'hex')
        AS changed_by_hand,
    function.prosecdef AND function.proowner = namespace.nspowner AS runs_as_owner,
    pg_catalog.to_regclass(pg_catalog.format(
        '%I.%I', policy #>> '{table,name,schema}', policy #>> '{table,name,name}'
    )) AS relation
FROM pg_catalog.pg_proc AS function
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
CROSS JOIN LATERAL @threadline@.policy_of(function.oid) AS policy
WHERE namespace.nspname = '@threadline@' AND function.proname LIKE 'capture\_%' AND policy IS NOT NULL
$view$);

-- The same, a row a table.
CREATE OR REPLACE FUNCTION @threadline@.captured_tables() RETURNS TABLE (
    table_schema text, table_name text, version integer, declared jsonb, relation regclass,
    row_function oid, statement_function oid
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT policy.table_schema, policy.table_name, min(policy.version),
        (array_agg(policy.declared ORDER BY policy.by_row DESC))[1],
        (array_agg(policy.relation))[1],
        max(policy.function) FILTER (WHERE policy.by_row),
        max(policy.function) FILTER (WHERE NOT policy.by_row)
    FROM @threadline@.deployed_policies AS policy
    GROUP BY policy.table_schema, policy.table_name;
END;

-- The tables of the host, each with whether it is captured: by a capture function, not merely by a
-- trigger of the right name.
CREATE OR REPLACE FUNCTION @threadline@.coverage()
RETURNS TABLE (table_schema text, table_name text, captured boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT namespace.nspname::text, class.relname::text,
        EXISTS (
            SELECT FROM pg_trigger AS trigger
            JOIN pg_proc AS function ON function.oid = trigger.tgfoid
            WHERE trigger.tgrelid = class.oid AND trigger.tgname = '00_threadline_update'
                AND trigger.tgenabled IN ('O', 'A')
                AND function.proname LIKE 'capture\_row\_%'
                AND function.pronamespace = to_regnamespace('@threadline@')
        )
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p') AND NOT class.relispartition
        -- There is nothing to capture of a table without columns.
        AND EXISTS (
            SELECT FROM pg_attribute AS attribute
            WHERE attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
        )
        AND namespace.nspname NOT IN ('pg_catalog', 'information_schema', '@threadline@')
        AND namespace.nspname NOT LIKE 'pg\_%'
    ORDER BY 1, 2;
END;

-- What an installation left behind, for coverage to compare with: the release that made it, what
-- the functions of the trail are, which triggers guard it and which indexes it has.
CREATE OR REPLACE FUNCTION @threadline@.installation() RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT obj_description(function.oid, 'pg_proc')::jsonb
    FROM pg_proc AS function
    WHERE function.pronamespace = to_regnamespace('@threadline@') AND function.proname = 'installation'
        AND obj_description(function.oid, 'pg_proc') LIKE '{%'
);

-- The functions of the trail as they are now. `body` is set only where it is not part of `plain`:
-- PostgreSQL keeps the body of such functions parsed, and may write it differently after an upgrade.
CREATE OR REPLACE FUNCTION @threadline@.trail_functions() RETURNS TABLE (
    signature text, function oid, plain text, body text, is_public boolean
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('%I(%s)', function.proname, oidvectortypes(function.proargtypes)), function.oid,
        encode(sha256(convert_to(concat_ws(
            E'\n', language.lanname, function.prosecdef, function.provolatile, function.proconfig, function.prosrc
        ), 'UTF8')), 'hex'),
        encode(sha256(convert_to(pg_get_function_sqlbody(function.oid), 'UTF8')), 'hex'),
        EXISTS (
            SELECT FROM aclexplode(COALESCE(function.proacl, acldefault('f', function.proowner))) AS privilege
            WHERE privilege.grantee = 0
        )
    FROM pg_proc AS function
    JOIN pg_language AS language ON language.oid = function.prolang
    WHERE function.pronamespace = to_regnamespace('@threadline@')
        AND function.proname NOT LIKE 'capture\_row\_%' AND function.proname NOT LIKE 'capture\_statement\_%';
END;

-- Writes the note that installation() reads. The last step of every installation.
CREATE OR REPLACE FUNCTION @threadline@.note_installation(release text, digest text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $note$
BEGIN
    EXECUTE format('COMMENT ON FUNCTION @threadline@.installation() IS %L', jsonb_build_object(
        'release', release,
        'digest', digest,
        'server', current_setting('server_version_num')::integer / 10000,
        'functions', (
            SELECT jsonb_object_agg(signature, jsonb_build_object('plain', plain, 'body', body, 'public', is_public))
            FROM @threadline@.trail_functions()
        ),
        'triggers', (
            SELECT jsonb_agg(jsonb_build_object(
                'table', class.relname, 'name', trigger.tgname, 'sql', pg_get_triggerdef(trigger.oid)
            ) ORDER BY class.relname, trigger.tgname)
            FROM pg_trigger AS trigger
            JOIN pg_class AS class ON class.oid = trigger.tgrelid
            WHERE class.relnamespace = '@threadline@'::regnamespace AND NOT class.relispartition
                AND NOT trigger.tgisinternal
        ),
        'indexes', (
            SELECT jsonb_agg(jsonb_build_object(
                'table', class.relname, 'name', named.relname, 'sql', pg_get_indexdef(named.oid)
            ) ORDER BY named.relname)
            FROM pg_index AS index
            JOIN pg_class AS named ON named.oid = index.indexrelid
            JOIN pg_class AS class ON class.oid = index.indrelid
            WHERE class.relnamespace = '@threadline@'::regnamespace AND NOT class.relispartition
                AND NOT index.indisprimary
        )
    ));
END
$note$;
