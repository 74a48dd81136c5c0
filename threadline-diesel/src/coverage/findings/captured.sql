-- The captured tables according to the deployed functions ($1), each with the relation of that name. It is
-- looked up in the catalog, because the role may lack USAGE on the schema.
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
