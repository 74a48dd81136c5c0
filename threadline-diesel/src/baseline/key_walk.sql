-- The columns of a unique index of a relation ($1) over its key ($2), with the operators of the index, so
-- that reading in key order uses the index.
SELECT
    attribute.attname::text AS name, pg_catalog.format_type(attribute.atttypid, -1) AS type_name,
    operators.less, operators.equal, operators.greater, operators.is_builtin
FROM (
    SELECT index.indkey::int2[] AS attnums, index.indclass::oid[] AS classes, index.indnkeyatts AS size
    FROM pg_catalog.pg_index AS index
    WHERE index.indrelid = $1 AND index.indisunique AND index.indisvalid
        AND index.indpred IS NULL AND index.indexprs IS NULL
        AND index.indnkeyatts = pg_catalog.cardinality($2)
        AND NOT EXISTS (
            SELECT FROM pg_catalog.unnest(index.indkey::int2[]) WITH ORDINALITY AS part (attnum, position)
            JOIN pg_catalog.pg_attribute AS attribute
                ON attribute.attrelid = $1 AND attribute.attnum = part.attnum
            WHERE part.position <= index.indnkeyatts AND NOT attribute.attname = ANY ($2)
        )
    ORDER BY index.indimmediate DESC, index.indisprimary DESC, index.indexrelid LIMIT 1
) AS chosen
CROSS JOIN LATERAL ROWS FROM (
    pg_catalog.unnest(chosen.attnums), pg_catalog.unnest(chosen.classes)
) WITH ORDINALITY AS part (attnum, class, position)
JOIN pg_catalog.pg_attribute AS attribute
    ON attribute.attrelid = $1 AND attribute.attnum = part.attnum
JOIN pg_catalog.pg_opclass AS opclass ON opclass.oid = part.class
CROSS JOIN LATERAL (
    SELECT
        pg_catalog.max(spelt.name) FILTER (WHERE member.amopstrategy = 1) AS less,
        pg_catalog.max(spelt.name) FILTER (WHERE member.amopstrategy = 3) AS equal,
        pg_catalog.max(spelt.name) FILTER (WHERE member.amopstrategy = 5) AS greater,
        pg_catalog.bool_and(
            namespace.nspname = 'pg_catalog' AND operator.oprname IN ('<', '<=', '=', '>=', '>')
        ) AS is_builtin
    FROM pg_catalog.pg_amop AS member
    JOIN pg_catalog.pg_operator AS operator ON operator.oid = member.amopopr
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = operator.oprnamespace
    CROSS JOIN LATERAL (
        SELECT pg_catalog.format('OPERATOR(%I.%s)', namespace.nspname, operator.oprname) AS name
    ) AS spelt
    WHERE member.amopfamily = opclass.opcfamily AND member.amoppurpose = 's'
        AND member.amoplefttype = opclass.opcintype AND member.amoprighttype = opclass.opcintype
) AS operators
WHERE part.position <= chosen.size
ORDER BY part.position
