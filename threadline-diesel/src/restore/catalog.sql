-- A table, and the foreign keys that refer to it. $1: schema, $2: name, $3: whether to include the tables
-- that refer to it, directly or through others.
WITH RECURSIVE reference AS (
    -- Changes of a partition are recorded under its root.
    SELECT COALESCE(pg_catalog.pg_partition_root(fk.conrelid)::oid, fk.conrelid) AS child,
        COALESCE(pg_catalog.pg_partition_root(fk.confrelid)::oid, fk.confrelid) AS parent,
        (
            SELECT pg_catalog.array_agg(a.attname ORDER BY k.place)
            FROM pg_catalog.unnest(fk.conkey) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = fk.conrelid AND a.attnum = k.attnum
        ) AS child_columns,
        (
            SELECT pg_catalog.array_agg(a.attname ORDER BY k.place)
            FROM pg_catalog.unnest(fk.confkey) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = fk.confrelid AND a.attnum = k.attnum
        ) AS parent_columns
    FROM pg_catalog.pg_constraint AS fk
    WHERE fk.contype = 'f' AND fk.conparentid = 0
),
included (relation) AS (
    SELECT class.oid FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = $2 AND class.relkind IN ('r', 'p')
    UNION
    SELECT reference.child FROM included JOIN reference ON reference.parent = included.relation
    WHERE $3
),
listed AS (
    SELECT class.oid AS relation, namespace.nspname AS schema, class.relname AS name,
        pg_catalog.obj_description(trigger.tgfoid, 'pg_proc')::jsonb -> 'table' AS policy,
        trigger.oid IS NOT NULL AS is_captured
    FROM included
    JOIN pg_catalog.pg_class AS class ON class.oid = included.relation
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_catalog.pg_trigger AS trigger
        ON trigger.tgrelid = class.oid AND trigger.tgname = '00_threadline_capture'
)
SELECT pg_catalog.jsonb_build_object(
    'tables', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', pg_catalog.jsonb_build_object('schema', listed.schema, 'name', listed.name),
            'is_captured', listed.is_captured,
            'mask_with', listed.policy ->> 'mask_with',
            'columns', (
                SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                    'name', a.attname,
                    'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    'is_not_null', a.attnotnull OR type.typnotnull,
                    'has_default', a.atthasdef OR type.typdefault IS NOT NULL OR a.attidentity <> '',
                    'kind', CASE
                        WHEN a.attgenerated <> '' THEN 'generated'
                        WHEN a.attidentity = 'a' THEN 'always_identity'
                        ELSE 'plain'
                    END,
                    'rule', (
                        SELECT rule.listed ->> 'rule'
                        FROM pg_catalog.jsonb_array_elements(listed.policy -> 'columns') AS rule (listed)
                        WHERE rule.listed ->> 'name' = a.attname LIMIT 1
                    )
                ) ORDER BY a.attnum), '[]')
                FROM pg_catalog.pg_attribute AS a
                JOIN pg_catalog.pg_type AS type ON type.oid = a.atttypid
                WHERE a.attrelid = listed.relation AND a.attnum > 0 AND NOT a.attisdropped
            )
        ) ORDER BY listed.schema, listed.name), '[]')
        FROM listed
    ),
    'references', (
        SELECT COALESCE(pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_object(
            'child', pg_catalog.jsonb_build_object('schema', child.schema, 'name', child.name),
            'child_columns', reference.child_columns,
            'parent', pg_catalog.jsonb_build_object('schema', parent.schema, 'name', parent.name),
            'parent_columns', reference.parent_columns
        )), '[]')
        FROM reference
        JOIN listed AS child ON child.relation = reference.child
        JOIN listed AS parent ON parent.relation = reference.parent
    )
) AS catalog
