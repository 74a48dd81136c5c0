-- $1 schema, $2 table
WITH RECURSIVE named AS (
    SELECT class.oid,
        CASE
            WHEN class.relpersistence = 't' THEN 'a temporary table'
            WHEN namespace.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') THEN 'a system catalog'
            WHEN class.relkind IN ('r', 'p') THEN 'a table'
            WHEN class.relkind = 'v' THEN 'a view'
            WHEN class.relkind = 'm' THEN 'a materialized view'
            WHEN class.relkind = 'f' THEN 'a foreign table'
            WHEN class.relkind = 'S' THEN 'a sequence'
            WHEN class.relkind IN ('i', 'I') THEN 'an index'
            ELSE 'a composite type'
        END AS kind,
        CASE WHEN class.relispartition THEN pg_catalog.pg_partition_root(class.oid)::pg_catalog.text END AS root
    FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relname = $2
        AND (namespace.nspname = $1 OR namespace.nspname LIKE 'pg\_temp\_%' AND $1 = 'public')
    ORDER BY namespace.nspname = $1 DESC
    LIMIT 1
),
relation AS (
    SELECT named.oid FROM named WHERE named.kind = 'a table'
),
-- The base type of a type, through nested domains.
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
-- The primary key, or the smallest unique index over NOT NULL columns without expressions or predicate.
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
    named.kind,
    named.root,
    attribute.attname::text AS name,
    type.typname::text AS type_name,
    type.typtype::text AS type_kind,
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
            ON key_attribute.attrelid = named.oid AND key_attribute.attnum = part.attnum
        WHERE part.position <= key_index.indnkeyatts
        ORDER BY part.position
    ) AS key
FROM named
LEFT JOIN pg_catalog.pg_attribute AS attribute
    ON attribute.attrelid = named.oid AND named.kind = 'a table' AND attribute.attnum > 0
        AND NOT attribute.attisdropped
LEFT JOIN base ON base.attnum = attribute.attnum AND base.kind <> 'd'
LEFT JOIN pg_catalog.pg_type AS type ON type.oid = base.oid
-- An array type, not another type with elements (name, point, oidvector).
LEFT JOIN pg_catalog.pg_type AS element
    ON element.oid = type.typelem AND type.typcategory = 'A' AND element.typarray = type.oid
ORDER BY attribute.attnum
