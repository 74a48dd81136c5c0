-- From a stored image back to the row, by PostgreSQL's own conversions.

-- The row that an image holds, in the row type of `base` (usually NULL::my_table). Columns the
-- image does not have are null. jsonb_populate_record does it all, but for json columns, whose
-- documents are stored as texts to keep every character of them.
CREATE OR REPLACE FUNCTION @threadline@.row_from_image(base anyelement, image jsonb)
RETURNS anyelement
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET lc_monetary = 'C' AS $row$
DECLARE
    row_type regtype := pg_typeof(base);
    json_columns text[] := ARRAY(
        SELECT attribute.attname::text
        FROM pg_type AS type
        JOIN pg_attribute AS attribute ON attribute.attrelid = type.typrelid
        WHERE type.oid = row_type AND attribute.attnum > 0 AND NOT attribute.attisdropped
            AND @threadline@.base_type(attribute.atttypid) = 'json'::regtype
    );
    filled ALIAS FOR $0;
BEGIN
    IF cardinality(json_columns) = 0 THEN
        RETURN jsonb_populate_record(base, image);
    END IF;
    EXECUTE (
        SELECT format(
            'SELECT (ROW(%s)::%s).* FROM jsonb_populate_record(NULL::%2$s, $1 - $2) AS p',
            string_agg(
                CASE
                    WHEN attribute.attname = ANY (json_columns)
                        THEN format('($1 ->> %L)::json', attribute.attname)
                    ELSE format('p.%I', attribute.attname)
                END,
                ', ' ORDER BY attribute.attnum
            ),
            row_type
        )
        FROM pg_type AS type
        JOIN pg_attribute AS attribute ON attribute.attrelid = type.typrelid
        WHERE type.oid = row_type AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) INTO filled USING image, json_columns;
    RETURN filled;
END
$row$;
