-- What is captured, as the deployed functions say ($1), each with the table that has its name now.
-- Tables are looked up in the catalog, which a role may read that may not use the table's schema.
captured AS (
    SELECT given.table_schema, given.table_name, given.function, given.function_name, given.declared,
        relation.oid AS relation, relation.relkind, relation.relispartition, relation.relowner,
        relation.relpersistence
    FROM jsonb_to_recordset($1) AS given (
        table_schema text, table_name text, function oid, function_name text, declared jsonb
    )
    LEFT JOIN (
        pg_class AS relation JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
    ) ON namespace.nspname = given.table_schema AND relation.relname = given.table_name
        AND relation.relkind IN ('r', 'p')
)
