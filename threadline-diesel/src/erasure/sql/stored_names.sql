-- The names under which images can have columns: a column that was renamed keeps its number. No row if the table
-- was never captured.
WITH stored AS (
    SELECT enrolled.relation, enrolled.key_columns, (col ->> 'attnum')::integer AS attnum, col ->> 'name' AS name
    FROM @threadline@.audit_enrolments AS enrolled
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(enrolled.columns) AS col
    WHERE enrolled.table_schema = $1 AND enrolled.table_name = $2
)
SELECT given.name AS given,
    coalesce(array_agg(DISTINCT other.name) FILTER (WHERE other.name IS NOT NULL), '{}') AS names,
    coalesce(bool_or(other.name = ANY (other.key_columns)), false) AS is_key
FROM unnest($3::text[]) AS given (name)
LEFT JOIN stored AS own ON own.name = given.name
LEFT JOIN stored AS other ON other.name = own.name OR other.relation = own.relation AND other.attnum = own.attnum
WHERE EXISTS (SELECT FROM stored)
GROUP BY given.name
