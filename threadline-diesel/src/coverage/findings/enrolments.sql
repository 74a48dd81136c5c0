-- The newest enrolment of each table compared with the catalog: columns that swapped names, and missing
-- capture functions.
WITH @captured@,
enrolment AS (
    SELECT DISTINCT ON (recorded.table_schema, recorded.table_name) recorded.*
    FROM @threadline@.audit_enrolments AS recorded
    ORDER BY recorded.table_schema, recorded.table_name, recorded.order_id DESC
),
recorded AS (
    SELECT captured.table_schema, captured.table_name, captured.relation,
        enrolment.relation IS NOT DISTINCT FROM captured.relation AS same_table,
        col ->> 'name' AS name, (col ->> 'attnum')::integer AS number
    FROM captured
    JOIN enrolment ON enrolment.table_schema = captured.table_schema
        AND enrolment.table_name = captured.table_name AND enrolment.event = 'enabled'
    CROSS JOIN LATERAL jsonb_array_elements(enrolment.columns) AS col
),
-- The enrolled columns that the table has by name. A restored table has other attribute numbers, but in
-- the same order.
present AS (
    SELECT recorded.table_schema, recorded.table_name, recorded.relation, recorded.same_table,
        recorded.name, attribute.attnum AS number,
        row_number() OVER (PARTITION BY recorded.relation ORDER BY recorded.number) AS recorded_place,
        row_number() OVER (PARTITION BY recorded.relation ORDER BY attribute.attnum) AS place
    FROM recorded
    JOIN pg_attribute AS attribute ON attribute.attrelid = recorded.relation
        AND attribute.attname = recorded.name AND NOT attribute.attisdropped
)
SELECT 'error' AS severity, 'column_renamed' AS code, present.table_schema, present.table_name,
    format('columns have swapped names since capture was generated: %s; each is stored by the rule of the other, in clear if that column is',
        string_agg(format('%I was %I', present.name, former.name), ', ' ORDER BY present.number)) AS explanation,
    'correct the columns in the code (diesel print-schema), erase what was stored in clear, then redeploy-triggers' AS remedy
FROM present
LEFT JOIN recorded ON present.same_table
    AND recorded.relation = present.relation AND recorded.number = present.number
LEFT JOIN present AS other ON NOT present.same_table
    AND other.relation = present.relation AND other.recorded_place = present.place
CROSS JOIN LATERAL (SELECT COALESCE(recorded.name, other.name) AS name) AS former
WHERE former.name <> present.name
GROUP BY present.table_schema, present.table_name

UNION ALL
SELECT 'error', 'function_missing', enrolment.table_schema, enrolment.table_name,
    'its capture function is missing: nothing is captured',
    format('redeploy-triggers %I.%I', enrolment.table_schema, enrolment.table_name)
FROM enrolment
LEFT JOIN captured ON captured.table_schema = enrolment.table_schema AND captured.table_name = enrolment.table_name
JOIN pg_class AS class ON class.relname = enrolment.table_name AND class.relkind IN ('r', 'p')
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace AND namespace.nspname = enrolment.table_schema
WHERE enrolment.event = 'enabled' AND captured.function IS NULL
    -- A function without a policy has its own finding.
    AND NOT EXISTS (
        SELECT FROM pg_trigger AS trigger
        WHERE trigger.tgrelid = class.oid AND trigger.tgname = '00_threadline_capture'
    )
