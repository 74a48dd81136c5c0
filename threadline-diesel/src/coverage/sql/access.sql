-- Whether the database has a trail, and which of its tables the connected role may not read.
SELECT
    trail.oid IS NOT NULL AS is_installed,
    COALESCE(trail.owner, '') AS owner,
    EXISTS (
        SELECT FROM pg_proc AS function
        WHERE function.pronamespace = trail.oid AND function.proname = 'schema_version'
            AND function.pronargs = 0 AND has_function_privilege(function.oid, 'EXECUTE')
    ) AND trail.is_usable AS tells_version,
    ARRAY(
        SELECT needed.name
        FROM unnest($1::text[]) WITH ORDINALITY AS needed (name, place)
        LEFT JOIN pg_class AS class ON class.relnamespace = trail.oid AND class.relname = needed.name
        WHERE NOT trail.is_usable OR CASE class.relkind
            WHEN 'S' THEN NOT has_sequence_privilege(class.oid, 'SELECT')
            ELSE has_table_privilege(class.oid, 'SELECT') IS NOT TRUE
        END
        ORDER BY needed.place
    ) AS unreadable
FROM (VALUES (1)) AS one (row)
LEFT JOIN LATERAL (
    SELECT namespace.oid, namespace.nspowner::regrole::text AS owner,
        has_schema_privilege(namespace.oid, 'USAGE') AS is_usable
    FROM pg_namespace AS namespace
    JOIN pg_class AS class ON class.relnamespace = namespace.oid AND class.relname = 'audit_changes'
    WHERE namespace.nspname = '@threadline@'
) AS trail ON true
