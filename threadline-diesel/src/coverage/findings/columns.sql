-- Differences between captured tables and the columns and keys that their policies declare.
WITH RECURSIVE @captured@,
declared AS (
    SELECT captured.table_schema, captured.table_name, captured.relation, col ->> 'name' AS name,
        col -> 'column_type' AS type, col ->> 'rule' AS rule
    FROM captured
    CROSS JOIN LATERAL jsonb_array_elements(captured.declared -> 'columns') AS col
    WHERE captured.relation IS NOT NULL
),
-- The base type of each column, through nested domains.
base (relation, name, generated, type, kind, parent) AS (
    SELECT attribute.attrelid, attribute.attname::text, attribute.attgenerated, type.oid, type.typtype, type.typbasetype
    FROM pg_attribute AS attribute
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    WHERE attribute.attrelid IN (SELECT captured.relation FROM captured)
        AND attribute.attnum > 0 AND NOT attribute.attisdropped
    UNION ALL
    SELECT base.relation, base.name, base.generated, type.oid, type.typtype, type.typbasetype
    FROM base JOIN pg_type AS type ON type.oid = base.parent
    WHERE base.kind = 'd'
),
present AS (
    SELECT base.relation, base.name, type.typname::text AS type, type.typtype AS kind,
        base.generated = 'v' AS is_virtual
    FROM base JOIN pg_type AS type ON type.oid = base.type
    WHERE base.kind <> 'd'
),
undeclared AS (
    SELECT present.*, captured.table_schema, captured.table_name
    FROM present
    JOIN captured ON captured.relation = present.relation
    LEFT JOIN declared ON declared.relation = present.relation AND declared.name = present.name
    WHERE declared.name IS NULL AND NOT present.is_virtual
),
-- Declared columns, each with the column of that name.
compared AS (
    SELECT declared.*, present.type AS found_type, present.kind, present.is_virtual
    FROM declared
    LEFT JOIN present ON present.relation = declared.relation AND present.name = declared.name
),
typed (relation, name, other, is_declared_type) AS (
    SELECT compared.relation, compared.name, found.name, CASE
        WHEN compared.type ? 'builtin' THEN compared.type ->> 'builtin' = found.type
            OR compared.type ->> 'builtin' IN ('text', 'varchar', 'bpchar', 'name')
                AND found.type IN ('text', 'varchar', 'bpchar', 'name', 'citext')
        WHEN compared.type ? 'array' THEN '_' || (compared.type ->> 'array') = found.type
            OR compared.type ->> 'array' IN ('text', 'varchar', 'bpchar')
                AND found.type IN ('_text', '_varchar', '_bpchar')
        WHEN compared.type ? 'enum' THEN found.kind = 'e'
        ELSE true
    END
    FROM compared
    CROSS JOIN LATERAL (
        SELECT compared.name, compared.found_type, compared.kind WHERE compared.found_type IS NOT NULL
        UNION ALL
        SELECT undeclared.name, undeclared.type, undeclared.kind FROM undeclared
        WHERE undeclared.relation = compared.relation AND compared.found_type IS NULL
    ) AS found (name, type, kind)
),
declared_key AS (
    SELECT captured.*, ARRAY(
        SELECT jsonb_array_elements_text(CASE WHEN jsonb_typeof(captured.declared -> 'key') = 'object'
            THEN captured.declared #> '{key,columns}' ELSE '[]' END)
    ) AS key
    FROM captured WHERE captured.relation IS NOT NULL
),
-- The unique indexes that identify every row, checked immediately, with their key columns.
unique_index AS (
    SELECT index.indrelid AS relation, index.indisprimary AS is_primary,
        array_agg(attribute.attname::text ORDER BY part.place) AS key
    FROM pg_index AS index
    CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (attnum, place)
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = index.indrelid AND attribute.attnum = part.attnum
    WHERE index.indrelid IN (SELECT captured.relation FROM captured) AND part.place <= index.indnkeyatts
        AND (index.indisprimary OR index.indisunique AND index.indisvalid AND index.indisready
            AND index.indimmediate AND index.indpred IS NULL AND index.indexprs IS NULL)
    GROUP BY index.indexrelid, index.indrelid, index.indisprimary
    HAVING index.indisprimary OR bool_and(attribute.attnotnull)
)
SELECT 'error' AS severity,
    CASE WHEN renamed.names IS NULL THEN 'column_missing' ELSE 'column_renamed' END AS code,
    compared.table_schema, compared.table_name,
    CASE WHEN renamed.names IS NULL
        THEN format('column %I was dropped; capture uses its slower fallback without the column', compared.name)
        ELSE format('column %I does not exist and %s is not declared: it was renamed, or dropped and another one added; capture uses its slower fallback without both',
            compared.name, renamed.names)
    END AS explanation,
    'correct the columns in the code (diesel print-schema), then gen-triggers' AS remedy
FROM compared
LEFT JOIN LATERAL (
    SELECT string_agg(format('%I', typed.other), ' or ' ORDER BY typed.other) AS names
    FROM typed
    WHERE typed.relation = compared.relation AND typed.name = compared.name AND typed.is_declared_type
) AS renamed ON true
WHERE compared.found_type IS NULL

UNION ALL
SELECT 'error', 'column_unclassified', undeclared.table_schema, undeclared.table_name,
    format('column %I is not declared, so its values are not stored, and an update of nothing else leaves no row', undeclared.name),
    'declare it in the code: in clear, masked, ignored or excluded; then gen-triggers'
FROM undeclared

UNION ALL
SELECT 'error', 'column_retyped', compared.table_schema, compared.table_name,
    format('column %I is %s now, but declared as %s: values may be compared and stored by the rules of the wrong type',
        compared.name, compared.found_type,
        compared.type ->> (SELECT min(kind) FROM jsonb_object_keys(compared.type) AS kind)),
    'correct the type in the code (diesel print-schema), then gen-triggers'
FROM compared
JOIN typed ON typed.relation = compared.relation AND typed.name = compared.name AND NOT typed.is_declared_type
WHERE compared.found_type IS NOT NULL

UNION ALL
SELECT 'error', 'column_retyped', compared.table_schema, compared.table_name,
    format('column %I is a virtual generated column, and triggers do not see its values: they are not stored', compared.name),
    'exclude it in the code, or make it STORED, then gen-triggers'
FROM compared
WHERE compared.is_virtual AND compared.rule <> 'exclude'

UNION ALL
SELECT 'error', 'key_drift', declared_key.table_schema, declared_key.table_name,
    CASE WHEN found.key IS NULL
        THEN format('no primary key or unique index identifies rows by (%s), the key that capture uses',
            array_to_string(declared_key.key, ', '))
        ELSE format('the primary key is (%s), but capture identifies rows by (%s)',
            array_to_string(found.key, ', '), array_to_string(declared_key.key, ', '))
    END,
    'correct the key in the code, or in the table, then gen-triggers'
FROM declared_key
LEFT JOIN unique_index AS found ON found.relation = declared_key.relation AND found.is_primary
WHERE CASE
    WHEN found.key IS NOT NULL THEN NOT (found.key @> declared_key.key AND declared_key.key @> found.key)
    ELSE cardinality(declared_key.key) > 0 AND NOT EXISTS (
        SELECT FROM unique_index AS other
        WHERE other.relation = declared_key.relation
            AND other.key @> declared_key.key AND declared_key.key @> other.key
    )
END
