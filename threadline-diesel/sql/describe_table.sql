-- $1 schema, $2 table
WITH RECURSIVE relation AS (
    SELECT class.oid
    FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = $2 AND class.relkind IN ('r', 'p')
),
-- The type behind any number of domains.
base (attnum, oid, kind, parent) AS (
    SELECT attribute.attnum, type.oid, type.typtype, type.typbasetype
    FROM pg_catalog.pg_attribute AS attribute
    JOIN relation ON attribute.attrelid = relation.oid
    JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid
    WHERE attribute.attnum > 0 AND NOT attribute.attisdropped
    UNION ALL
    SELECT base.attnum, type.oid, type.typtype, type.typbasetype
    FROM base JOIN pg_catalog.pg_type AS type ON type.oid = base.parent
    WHERE base.kind = 'd'
),
-- The primary key, or the smallest plain unique index over columns that cannot be null.
key_index AS (
    SELECT index.indkey, index.indnkeyatts
    FROM pg_catalog.pg_index AS index
    JOIN relation ON index.indrelid = relation.oid
    WHERE index.indisprimary
        OR index.indisunique AND index.indisvalid AND index.indisready AND index.indimmediate
            AND index.indpred IS NULL AND index.indexprs IS NULL
            AND NOT EXISTS (
                SELECT
                FROM pg_catalog.unnest(index.indkey::smallint[])
                    WITH ORDINALITY AS part (attnum, position)
                JOIN pg_catalog.pg_attribute AS attribute
                    ON attribute.attrelid = relation.oid AND attribute.attnum = part.attnum
                WHERE part.position <= index.indnkeyatts AND NOT attribute.attnotnull
            )
    ORDER BY index.indisprimary DESC, index.indnkeyatts, index.indexrelid
    LIMIT 1
)
SELECT
    COALESCE(attribute.attname::text, '') AS name, -- empty: the table has no columns
    COALESCE(type.typname::text, '') AS type_name,
    COALESCE(type.typtype::text, '') AS type_kind,
    COALESCE(type.typnamespace = 'pg_catalog'::regnamespace, false) AS is_builtin,
    COALESCE(attribute.attgenerated = 'v', false) AS is_virtual,
    element.typname::text AS element_name,
    COALESCE(
        element.typnamespace = 'pg_catalog'::regnamespace AND element.typtype IN ('b', 'r', 'm'),
        false
    ) AS element_is_plain,
    ARRAY(
        SELECT key_attribute.attname::text
        FROM key_index
        CROSS JOIN LATERAL pg_catalog.unnest(key_index.indkey::smallint[])
            WITH ORDINALITY AS part (attnum, position)
        JOIN pg_catalog.pg_attribute AS key_attribute
            ON key_attribute.attrelid = relation.oid AND key_attribute.attnum = part.attnum
        WHERE part.position <= key_index.indnkeyatts
        ORDER BY part.position
    ) AS key
FROM relation
LEFT JOIN pg_catalog.pg_attribute AS attribute
    ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
LEFT JOIN base ON base.attnum = attribute.attnum AND base.kind <> 'd'
LEFT JOIN pg_catalog.pg_type AS type ON type.oid = base.oid
-- A true array, not a type that merely has elements (name, point, oidvector).
LEFT JOIN pg_catalog.pg_type AS element
    ON element.oid = type.typelem AND type.typcategory = 'A' AND element.typarray = type.oid
ORDER BY attribute.attnum
