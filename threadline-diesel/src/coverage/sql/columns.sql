-- The current columns of captured tables ($1).
WITH @captured@
SELECT captured.table_schema, captured.table_name, array_agg(attribute.attname::text ORDER BY attribute.attnum) AS columns
FROM captured
JOIN pg_attribute AS attribute
    ON attribute.attrelid = captured.relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
GROUP BY captured.table_schema, captured.table_name
