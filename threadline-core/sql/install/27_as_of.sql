-- What was, as of an instant: of one row, and of whole tables for any query.
--
-- A change is visible as of an instant if it was captured then or before, whenever its transaction
-- was committed. Of a row's visible changes the last in capture order (by id) counts. Everything
-- here runs with the caller's rights and reads the trail only, never the tables themselves.

-- Whether an update was captured in delta form: its image holds nothing but what changed.
CREATE OR REPLACE FUNCTION @threadline@.is_delta(op text, data_after jsonb, changed_from jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN op OPERATOR(pg_catalog.=) 'update' AND data_after OPERATOR(pg_catalog.-) ARRAY(
    SELECT pg_catalog.jsonb_object_keys(changed_from)
) OPERATOR(pg_catalog.=) '{}'::jsonb;

-- The image of a row after a change, put together from updates in delta form and the last whole
-- image before them. Columns of which nothing is known, because that image was removed or came
-- before capture, are missing in it.
CREATE OR REPLACE FUNCTION @threadline@.whole_image(
    of_schema text, of_table text, of_key text, of_change bigint
) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $whole$
DECLARE
    here text := of_key;
    upper_id bigint := of_change;
    image jsonb := '{}';
    change record;
BEGIN
    LOOP
        FOR change IN
            SELECT c.id, c.op, c.previous_key, c.data_after,
                @threadline@.is_delta(c.op, c.data_after, c.changed_from) AS is_delta
            FROM @threadline@.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = here
                AND c.id <= upper_id
            ORDER BY c.id DESC
        LOOP
            IF change.op = 'delete' THEN
                RETURN image;
            END IF;
            image := change.data_after || image;
            IF NOT change.is_delta THEN
                RETURN image;
            END IF;
            EXIT WHEN change.previous_key IS NOT NULL;
        END LOOP;
        IF change.previous_key IS NULL THEN
            RETURN image;
        END IF;
        here := change.previous_key;
        upper_id := change.id - 1;
        change := NULL;
    END LOOP;
END
$whole$;

-- The table with a name, by the catalogs: who may read the trail need not enter the table's schema.
CREATE OR REPLACE FUNCTION @threadline@.relation_named(of_schema text, of_table text) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT class.oid
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = of_schema AND class.relname = of_table
);

-- Whether a key tells the rows of a table apart at every moment: not where uniqueness is checked at
-- the commit, nor where children of the table have rows with the same keys.
CREATE OR REPLACE FUNCTION @threadline@.tells_rows_apart(relation regclass, key text[])
RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN cardinality(key) > 0 AND @threadline@.is_unique_key(relation, key) AND NOT EXISTS (
    SELECT FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = relation AND NOT child.relispartition
);

-- Rows as of an instant where no key tells them apart at every moment: every change adds the image
-- after it and takes away the one before. What is left over are the rows; what is missing were
-- rows that the trail does not know, and then nothing is answered. `of_key` asks for one key only.
CREATE OR REPLACE FUNCTION @threadline@.rows_by_counting(
    of_schema text, of_table text, instant timestamptz, of_key text DEFAULT NULL
) RETURNS TABLE (change_id bigint, image jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $counting$
#variable_conflict use_column
DECLARE
    emptied bigint := (
        SELECT max(t.id) FROM @threadline@.audit_changes AS t
        WHERE t.table_name = of_table AND t.table_schema = of_schema AND t.row_key IS NULL
            AND t.op = 'truncate' AND t.partition_name IS NULL AND t.captured_at <= instant
    );
    counted record;
BEGIN
    FOR counted IN
        WITH visible AS (
            SELECT c.id, c.op, c.row_key, COALESCE(c.previous_key, c.row_key) AS key_before,
                c.data_after, c.changed_from
            FROM @threadline@.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.captured_at <= instant
                AND c.id > COALESCE(emptied, -1) AND c.op <> 'truncate'
                AND (of_key IS NULL OR c.row_key = of_key OR c.previous_key = of_key)
        ),
        image AS (
            SELECT id, 1 AS step, data_after AS image, is_delta
            FROM visible, @threadline@.is_delta(op, data_after, changed_from) AS is_delta
            WHERE data_after IS NOT NULL AND (of_key IS NULL OR row_key = of_key)
            UNION ALL
            -- An unclassified column is in changed_from alone, and in no image.
            SELECT id, -1, COALESCE(
                data_after || (changed_from - ARRAY(
                    SELECT name FROM jsonb_object_keys(changed_from) AS name WHERE NOT data_after ? name
                )),
                changed_from
            ), false
            FROM visible
            WHERE changed_from IS NOT NULL AND (of_key IS NULL OR key_before = of_key)
        )
        SELECT max(id) FILTER (WHERE step = 1) AS id, sum(step) AS copies,
            (array_agg(image.image ORDER BY step DESC, id DESC))[1] AS image,
            bool_or(is_delta) AS is_delta
        FROM image
        -- As text, for 1.0 is not 1.00; without nulls, for a column added since was not there before.
        GROUP BY (
            SELECT jsonb_object_agg(field.key, field.value)::text
            FROM jsonb_each(image.image) AS field WHERE field.value <> 'null'
        )
        HAVING sum(step) <> 0 OR bool_or(is_delta)
    LOOP
        IF counted.copies < 0 OR counted.is_delta THEN
            RAISE EXCEPTION 'the rows of %.% as of % cannot be told exactly', of_schema, of_table, instant
                USING ERRCODE = 'data_exception',
                      HINT = 'No key tells its rows apart at every moment, and changes are recorded of rows that the trail does not know whole.';
        END IF;
        FOR copy IN 1 .. counted.copies LOOP
            change_id := counted.id;
            image := counted.image;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$counting$;

-- Whether the row of an image was in a partition, by the partition's bounds as they are now.
CREATE OR REPLACE FUNCTION @threadline@.was_in_partition(
    partition text, relation regclass, key_image jsonb
) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $partition$
DECLARE
    bounds text := pg_get_partition_constraintdef(to_regclass(partition));
    inside boolean;
BEGIN
    IF bounds IS NULL THEN
        RAISE EXCEPTION '% was emptied alone, and is no partition any more or never was one: which rows it held cannot be told', partition
            USING ERRCODE = 'data_exception';
    END IF;
    EXECUTE format('SELECT (%s) FROM @threadline@.row_from_image(NULL::%s, $1)', bounds, relation)
        INTO inside USING key_image;
    RETURN inside IS NOT FALSE;
END
$partition$;

-- The columns of a table, as it is now, whose values an image does not tell, each with the reason:
-- masked, excluded, erased, not_captured.
CREATE OR REPLACE FUNCTION @threadline@.unknown_columns(relation regclass, image jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $unknown$
DECLARE
    -- In a body whose plans are kept: this is most of what one row as of an instant costs.
    policy jsonb := COALESCE((
        SELECT obj_description(t.tgfoid, 'pg_proc') FROM pg_trigger AS t
        WHERE t.tgrelid = relation AND t.tgname = '00_threadline_update'
            AND obj_description(t.tgfoid, 'pg_proc') LIKE '{%'
    )::jsonb -> 'table', '{}');
    rules jsonb := COALESCE((
        SELECT jsonb_object_agg(col ->> 'name', col ->> 'rule')
        FROM jsonb_array_elements(policy -> 'columns') AS col
    ), '{}');
BEGIN
    RETURN COALESCE((
        SELECT jsonb_object_agg(found.name, found.reason)
        FROM (
            SELECT attribute.attname AS name, CASE
                WHEN NOT image ? attribute.attname THEN
                    CASE rules ->> attribute.attname WHEN 'exclude' THEN 'excluded' ELSE 'not_captured' END
                WHEN image ->> attribute.attname = '[ERASED]' THEN 'erased'
                WHEN rules ->> attribute.attname = 'mask'
                    OR image ->> attribute.attname IN ('[REDACTED]', policy ->> 'mask_with')
                    THEN 'masked'
            END AS reason
            FROM pg_attribute AS attribute
            WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
        ) AS found
        WHERE found.reason IS NOT NULL
    ), '{}');
END
$unknown$;

-- What one row was as of an instant: the row that has a key now or had it last, followed back
-- through its keys.
--
-- `state` is `row` (with its image, and the change that made it so), `deleted` (with the change
-- that did it), or `not_yet_known` (with the first change known of the row, if there is one).
CREATE OR REPLACE FUNCTION @threadline@.row_as_of(
    of_schema text, of_table text, of_key text, instant timestamptz,
    OUT state text, OUT change_id bigint, OUT captured_at timestamptz, OUT op text,
    OUT transaction_id uuid, OUT actor_ref jsonb, OUT image jsonb, OUT unknown jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
-- To plan for every month takes longer than to look into it.
SET plan_cache_mode = force_generic_plan AS $row$
#variable_conflict use_column
DECLARE
    relation regclass := @threadline@.relation_named(of_schema, of_table);
    last @threadline@.audit_changes;
    left_over record;
    emptied @threadline@.audit_changes;
    row_image jsonb;
BEGIN
    SELECT found.* INTO last
    FROM @threadline@.row_segments(of_schema, of_table, of_key) AS segment
    CROSS JOIN LATERAL (
        SELECT c.* FROM @threadline@.audit_changes AS c
        WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
            AND c.id BETWEEN segment.first_id AND segment.last_id AND c.captured_at <= instant
        ORDER BY c.id DESC LIMIT 1
    ) AS found
    ORDER BY found.id DESC LIMIT 1;

    IF last.id IS NULL THEN
        state := 'not_yet_known';
        SELECT found.* INTO last
        FROM @threadline@.row_segments(of_schema, of_table, of_key) AS segment
        CROSS JOIN LATERAL (
            SELECT c.* FROM @threadline@.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
                AND c.id BETWEEN segment.first_id AND segment.last_id
            ORDER BY c.id LIMIT 1
        ) AS found
        ORDER BY found.id LIMIT 1;
    ELSIF last.op = 'delete' THEN
        state := 'deleted';
        -- Where keys are unique at the commit only, the row that was deleted may have shared its key.
        IF relation IS NOT NULL AND NOT @threadline@.tells_rows_apart(
            relation, ARRAY(SELECT jsonb_object_keys(last.table_pk))
        ) THEN
            SELECT r.change_id, r.image INTO left_over
            FROM @threadline@.rows_by_counting(of_schema, of_table, instant, last.row_key) AS r
            ORDER BY r.change_id DESC LIMIT 1;
            IF left_over.image IS NOT NULL THEN
                state := 'row';
                SELECT c.* INTO last FROM @threadline@.audit_changes AS c
                WHERE c.table_name = of_table AND c.table_schema = of_schema
                    AND c.row_key = last.row_key AND c.id = left_over.change_id;
            END IF;
        END IF;
    ELSE
        state := 'row';
    END IF;

    IF state = 'row' THEN
        row_image := CASE
            WHEN last.op = 'update'
                AND (last.previous_key IS NOT NULL OR NOT last.data_after ?& ARRAY(SELECT jsonb_object_keys(last.table_pk)))
                AND @threadline@.is_delta(last.op, last.data_after, last.changed_from)
                THEN @threadline@.whole_image(of_schema, of_table, last.row_key, last.id)
            ELSE last.data_after
        END;
        FOR emptied IN
            SELECT c.* FROM @threadline@.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
                AND c.op = 'truncate' AND c.id > last.id AND c.captured_at <= instant
            ORDER BY c.id
        LOOP
            IF emptied.partition_name IS NULL OR @threadline@.was_in_partition(
                emptied.partition_name, relation, (
                    SELECT jsonb_object_agg(field.key, field.value)
                    FROM jsonb_each(row_image) AS field WHERE last.table_pk ? field.key
                )
            ) THEN
                state := 'deleted';
                last := emptied;
                EXIT;
            END IF;
        END LOOP;
    END IF;

    IF state = 'row' THEN
        image := row_image;
        unknown := @threadline@.unknown_columns(relation, row_image);
    END IF;
    change_id := last.id;
    captured_at := last.captured_at;
    op := last.op;
    transaction_id := last.transaction_id;
    actor_ref := NULLIF(COALESCE(last.actor_ref, (
        SELECT t.actor_ref FROM @threadline@.audit_transactions AS t WHERE t.id = last.transaction_id
    )), 'null');
END
$row$;

-- What stands for a value that is not there: NULL if the image says null, an error if the image
-- does not tell.
CREATE OR REPLACE FUNCTION @threadline@.known_null(image jsonb, name text, shown_table text)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $known$
BEGIN
    IF (image OPERATOR(pg_catalog.->) name) OPERATOR(pg_catalog.=) 'null'::pg_catalog.jsonb THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'column "%" of % is not known of every row as of the instant', name, shown_table
        USING ERRCODE = 'data_exception',
              HINT = 'It was masked, erased, excluded, or was not there then. Leave it out of the query, or allow unknown columns.';
END
$known$;

-- The expressions that turn images into the columns of a table as it is now, and the columns that
-- were left out with the reason. Values are read by the input functions of their types, without
-- limits of length or precision: those of today need not have held then.
CREATE OR REPLACE FUNCTION @threadline@.columns_from_image(
    relation regclass, allow_unknown boolean, OUT expressions text, OUT names text, OUT unknown jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $columns$
BEGIN
    -- In a body whose plan is kept: it takes longer to make than to use.
    SELECT
        COALESCE(string_agg(
            format(
                'CASE WHEN (%1$s) OPERATOR(pg_catalog.<>) ALL (%2$L::pg_catalog.text[]) THEN %3$s ELSE %4$s END AS %5$I',
                col.as_text, col.placeholders, col.value,
                CASE
                    WHEN NOT allow_unknown THEN format(
                        '@threadline@.known_null("image", %L, %L)::%s', col.name, relation, col.type_name)
                    WHEN col.is_text THEN format('(%s)::%s', col.as_text, col.type_name)
                    ELSE format('NULL::%s', col.type_name)
                END,
                col.name
            ), ', ' ORDER BY col.attnum
        ) FILTER (WHERE allow_unknown OR col.reason IS NULL), ''),
        COALESCE(string_agg(quote_ident(col.name), ', ' ORDER BY col.attnum)
            FILTER (WHERE allow_unknown OR col.reason IS NULL), ''),
        COALESCE(jsonb_object_agg(col.name, col.reason) FILTER (WHERE col.reason IS NOT NULL), '{}')
    INTO expressions, names, unknown
    FROM (
        SELECT
            attribute.attnum, attribute.attname AS name, format_type(type.oid, -1) AS type_name,
            type.typcategory = 'S' AS is_text,
            format('"image" OPERATOR(pg_catalog.->>) %L', attribute.attname) AS as_text,
            array_remove(ARRAY['[ERASED]', '[REDACTED]', deployed.policy ->> 'mask_with'], NULL) AS placeholders,
            CASE
                WHEN type.oid = 'jsonb'::regtype
                    THEN format('"image" OPERATOR(pg_catalog.->) %L', attribute.attname)
                WHEN 'money'::regtype IN (type.oid, type.typelem)
                    THEN format(
                        '(@threadline@.row_from_image(NULL::%s, pg_catalog.jsonb_build_object(%L, "image" OPERATOR(pg_catalog.->) %2$L))).%I::%s',
                        relation, attribute.attname, attribute.attname, format_type(type.oid, -1))
                WHEN type.typcategory = 'A' AND type.typelem NOT IN ('json'::regtype, 'jsonb'::regtype)
                    THEN format(
                        '(pg_catalog.jsonb_populate_record(NULL::%s, pg_catalog.jsonb_build_object(%L, "image" OPERATOR(pg_catalog.->) %2$L))).%I::%s',
                        relation, attribute.attname, attribute.attname, format_type(type.oid, -1))
                ELSE format('("image" OPERATOR(pg_catalog.->>) %L)::%s', attribute.attname, format_type(type.oid, -1))
            END AS value,
            -- Where capture was taken off, the images alone tell.
            CASE WHEN deployed.policy ? 'columns' THEN
                CASE declared.rule WHEN 'clear' THEN NULL WHEN 'mask' THEN 'masked'
                    WHEN 'exclude' THEN 'excluded' ELSE 'not_captured' END
            END AS reason
        FROM @threadline@.deployed_policy(relation) AS deployed (policy)
        CROSS JOIN pg_attribute AS attribute
        JOIN pg_type AS own ON own.oid = attribute.atttypid
        JOIN pg_type AS type
            ON type.oid = CASE WHEN own.typtype = 'd' THEN @threadline@.base_type(own.oid) ELSE own.oid END
        LEFT JOIN LATERAL (
            SELECT listed ->> 'rule' AS rule
            FROM jsonb_array_elements(deployed.policy -> 'columns') AS listed
            WHERE listed ->> 'name' = attribute.attname
        ) AS declared ON true
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS col;
END
$columns$;

-- The images of the rows of a table as of an instant, as a query of "change id" and "image".
--
-- The last change of each key is found by one pass over the visible changes (faster, measured, than
-- DISTINCT ON, which sorts images, and than a look-up a key); rows that left a key later go.
CREATE OR REPLACE FUNCTION @threadline@.images_as_of(
    relation regclass, of_schema text, of_table text, key text[], instant timestamptz
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN @threadline@.tells_rows_apart(relation, key) THEN format(
    $query$SELECT change.id AS "change id",
    CASE
        WHEN change.op OPERATOR(pg_catalog.=) 'update'
            AND (NOT change.data_after OPERATOR(pg_catalog.?) %4$L OR change.previous_key IS NOT NULL)
            AND @threadline@.is_delta(change.op, change.data_after, change.changed_from)
        THEN @threadline@.whole_image(%1$L, %2$L, change.row_key, change.id)
        ELSE change.data_after
    END AS "image"
FROM @threadline@.audit_changes AS change
WHERE change.table_name OPERATOR(pg_catalog.=) %2$L AND change.table_schema OPERATOR(pg_catalog.=) %1$L
    AND change.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    AND change.op OPERATOR(pg_catalog.<>) 'delete'
    -- Not a join: the set of last changes is what is to be hashed, not the changes.
    AND change.id OPERATOR(pg_catalog.=) ANY (
        SELECT pg_catalog.max(visible.id) FROM @threadline@.audit_changes AS visible
        WHERE visible.table_name OPERATOR(pg_catalog.=) %2$L AND visible.table_schema OPERATOR(pg_catalog.=) %1$L
            AND visible.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
            AND visible.row_key IS NOT NULL
        GROUP BY visible.row_key
    )
    AND change.id OPERATOR(pg_catalog.>) COALESCE((
        SELECT pg_catalog.max(emptied.id) FROM @threadline@.audit_changes AS emptied
        WHERE emptied.table_name OPERATOR(pg_catalog.=) %2$L AND emptied.table_schema OPERATOR(pg_catalog.=) %1$L
            AND emptied.row_key IS NULL AND emptied.op OPERATOR(pg_catalog.=) 'truncate'
            AND emptied.partition_name IS NULL
            AND emptied.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    ), -1)
    AND NOT EXISTS (
        SELECT FROM @threadline@.audit_renames AS departed
        WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
            AND departed.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
            AND departed.previous_key OPERATOR(pg_catalog.=) change.row_key
            AND departed.change_id OPERATOR(pg_catalog.>) change.id
    )
-- A fence: what a query asks of columns must only ever be asked of the images that count.
OFFSET 0$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', key[1]
) ELSE format(
    'SELECT counted.change_id AS "change id", counted.image AS "image" '
    'FROM @threadline@.rows_by_counting(%L, %L, %L::pg_catalog.timestamptz) AS counted',
    of_schema, of_table, to_jsonb(instant) #>> '{}'
) END;

-- What stands for a table in a query as of an instant: `sql`, or the `problem` why there is none.
-- `unknown` names the columns that were not captured; they are left out unless allowed, and then
-- hold the placeholder (texts) or NULL.
CREATE OR REPLACE FUNCTION @threadline@.table_as_of(
    of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    OUT problem text, OUT detail text, OUT horizon timestamptz, OUT unknown jsonb, OUT sql text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $table$
DECLARE
    relation regclass := @threadline@.relation_named(of_schema, of_table);
    key text[];
    columns record;
    emptied record;
    bounds text;
    conditions text := '';
BEGIN
    horizon := @threadline@.audit_horizon(of_schema, of_table);
    IF relation IS NULL THEN
        problem := 'no_such_table';
        RETURN;
    ELSIF horizon IS NULL OR instant < horizon THEN
        problem := 'before_horizon';
        RETURN;
    END IF;
    -- The columns by which the trail identifies rows.
    key := ARRAY(SELECT jsonb_object_keys((
        SELECT c.table_pk FROM @threadline@.audit_changes AS c
        WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NOT NULL
            AND c.captured_at <= instant
        ORDER BY c.captured_at DESC LIMIT 1
    )));
    columns := @threadline@.columns_from_image(relation, allow_unknown);
    unknown := columns.unknown;
    FOR emptied IN
        SELECT c.partition_name, max(c.id) AS id FROM @threadline@.audit_changes AS c
        WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
            AND c.op = 'truncate' AND c.partition_name IS NOT NULL AND c.captured_at <= instant
        GROUP BY c.partition_name
    LOOP
        bounds := pg_get_partition_constraintdef(to_regclass(emptied.partition_name));
        IF bounds IS NULL OR NOT @threadline@.tells_rows_apart(relation, key) THEN
            problem := 'inexact';
            detail := format('%s was emptied alone, and which rows it held cannot be told any more', emptied.partition_name);
            RETURN;
        END IF;
        conditions := conditions || format(
            ' AND NOT ("change id" OPERATOR(pg_catalog.<) %s AND (%s) IS NOT FALSE)', emptied.id, bounds
        );
    END LOOP;
    sql := format(
        'SELECT %s FROM (%s) AS "state"', columns.expressions,
        @threadline@.images_as_of(relation, of_schema, of_table, key, instant)
    );
    IF conditions <> '' THEN
        sql := format(
            'SELECT %s FROM (SELECT "change id", %s FROM (%s) AS "state") AS "typed" WHERE true%s',
            columns.names, columns.expressions,
            @threadline@.images_as_of(relation, of_schema, of_table, key, instant), conditions
        );
    END IF;
END
$table$;

-- Of the functions with these names, those that could read tables behind a query's back: a host's
-- own unless they are immutable, and PostgreSQL's own that run queries or read sequences.
CREATE OR REPLACE FUNCTION @threadline@.functions_that_may_read(names text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(
    SELECT DISTINCT format('%I.%I', namespace.nspname, function.proname)
    FROM pg_proc AS function
    JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
    WHERE function.proname = ANY (names) AND CASE
        WHEN namespace.nspname <> 'pg_catalog' THEN function.provolatile <> 'i'
        ELSE function.proname ~ '_to_xml' OR function.proname IN (
            'ts_stat', 'ts_rewrite', 'nextval', 'currval', 'lastval', 'setval'
        )
    END
    ORDER BY 1
);
