-- What stands for a table in a query that rewinds it; on what ground that may be done, 28_rewinding.sql
-- says.

-- The images, as of an instant, of the rows that have certain keys, as a query of "image". `keys` is a
-- query of row_key. The last change before the instant tells.
CREATE OR REPLACE FUNCTION @threadline@.images_of_keys(
    of_schema text, of_table text, key_column text, instant timestamptz, keys text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $images$
BEGIN
    RETURN format(
    $query$SELECT CASE
        WHEN before.op OPERATOR(pg_catalog.=) 'update'
            AND (NOT before.data_after OPERATOR(pg_catalog.?) %4$L OR before.previous_key IS NOT NULL)
            AND @threadline@.is_delta(before.op, before.data_after, before.changed_from)
        THEN @threadline@.whole_image(%1$L, %2$L, before.row_key, before.id)
        ELSE before.data_after
    END AS "image"
FROM (%5$s) AS asked
CROSS JOIN LATERAL (
    SELECT visible.id, visible.op, visible.row_key, visible.previous_key, visible.data_after, visible.changed_from
    FROM @threadline@.audit_changes AS visible
    WHERE visible.table_name OPERATOR(pg_catalog.=) %2$L AND visible.table_schema OPERATOR(pg_catalog.=) %1$L
        AND visible.row_key OPERATOR(pg_catalog.=) asked.row_key
        AND visible.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    ORDER BY visible.id DESC LIMIT 1
) AS before
WHERE before.op OPERATOR(pg_catalog.<>) 'delete'
    AND before.id OPERATOR(pg_catalog.>) COALESCE((
        SELECT pg_catalog.max(emptied.id) FROM @threadline@.audit_changes AS emptied
        WHERE emptied.table_name OPERATOR(pg_catalog.=) %2$L AND emptied.table_schema OPERATOR(pg_catalog.=) %1$L
            AND emptied.row_key IS NULL AND emptied.op OPERATOR(pg_catalog.=) 'truncate'
            AND emptied.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    ), -1)
    AND NOT EXISTS (
        SELECT FROM @threadline@.audit_renames AS departed
        WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
            AND departed.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
            AND departed.previous_key OPERATOR(pg_catalog.=) asked.row_key
            AND departed.change_id OPERATOR(pg_catalog.>) before.id
    )
-- A fence: what a query asks of columns must only ever be asked of the images that count.
OFFSET 0$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', key_column, keys
);
END
$images$;

-- The same of rows that are older than the trail: none of these keys has a change before the instant.
-- The first change after it tells what was there, unless it is an insert, or the row came from
-- another key.
CREATE OR REPLACE FUNCTION @threadline@.images_of_older_keys(
    of_schema text, of_table text, instant timestamptz, keys text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $images$
BEGIN
    RETURN format(
    $query$SELECT first.image AS "image"
FROM (%4$s) AS asked
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN event.op OPERATOR(pg_catalog.=) 'baseline' THEN event.data_after
        WHEN event.op OPERATOR(pg_catalog.=) 'delete' THEN event.changed_from
        -- An unclassified column is in changed_from alone, and in no image.
        WHEN event.op OPERATOR(pg_catalog.=) 'update' AND event.previous_key IS NOT DISTINCT FROM event.left_key
        THEN event.data_after OPERATOR(pg_catalog.||) (event.changed_from OPERATOR(pg_catalog.-) ARRAY(
            SELECT name FROM pg_catalog.jsonb_object_keys(event.changed_from) AS name
            WHERE NOT event.data_after OPERATOR(pg_catalog.?) name
        ))
    END AS image
    FROM (
        (
            SELECT later.id, later.op, later.previous_key, NULL AS left_key, later.data_after, later.changed_from
            FROM @threadline@.audit_changes AS later
            WHERE later.table_name OPERATOR(pg_catalog.=) %2$L AND later.table_schema OPERATOR(pg_catalog.=) %1$L
                AND later.row_key OPERATOR(pg_catalog.=) asked.row_key
                AND later.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
            ORDER BY later.id LIMIT 1
        )
        UNION ALL
        (
            SELECT later.id, later.op, later.previous_key, departed.previous_key, later.data_after, later.changed_from
            FROM @threadline@.audit_renames AS departed
            JOIN @threadline@.audit_changes AS later
                ON later.captured_at OPERATOR(pg_catalog.=) departed.captured_at
                AND later.id OPERATOR(pg_catalog.=) departed.change_id
            WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
                AND departed.previous_key OPERATOR(pg_catalog.=) asked.row_key
                AND departed.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
            ORDER BY departed.change_id LIMIT 1
        )
    ) AS event
    ORDER BY event.id LIMIT 1
) AS first
WHERE first.image IS NOT NULL
OFFSET 0$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', keys
);
END
$images$;

-- The keys of the rows of which values were erased from the trail: these rows are what the trail says
-- and not what the table holds.
CREATE OR REPLACE FUNCTION @threadline@.erased_keys(of_schema text, of_table text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS $erased$
BEGIN
    RETURN QUERY
    SELECT DISTINCT segment.row_key
    FROM @threadline@.audit_removals AS removal
    CROSS JOIN LATERAL @threadline@.row_segments(of_schema, of_table, removal.scope ->> 'row_key') AS segment
    WHERE removal.kind = 'erasure' AND removal.scope ->> 'table_name' = of_table
        AND removal.scope ->> 'table_schema' = of_schema;
END
$erased$;

-- The keys that were touched since an instant, as a query of row_key. `condition` narrows them.
CREATE OR REPLACE FUNCTION @threadline@.touched_keys(
    of_schema text, of_table text, instant timestamptz, condition text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $keys$
BEGIN
    RETURN format(
    $query$SELECT touched.row_key FROM (
        SELECT change.row_key FROM @threadline@.audit_changes AS change
        WHERE change.table_name OPERATOR(pg_catalog.=) %2$L AND change.table_schema OPERATOR(pg_catalog.=) %1$L
            AND change.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
        UNION
        SELECT departed.previous_key FROM @threadline@.audit_renames AS departed
        WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L AND departed.table_schema OPERATOR(pg_catalog.=) %1$L
            AND departed.captured_at OPERATOR(pg_catalog.>) %3$L::pg_catalog.timestamptz
        UNION
        SELECT erased.row_key FROM @threadline@.erased_keys(%1$L, %2$L) AS erased (row_key)
    ) AS touched
    WHERE %4$s$query$,
    of_schema, of_table, to_jsonb(instant) #>> '{}', condition
);
END
$keys$;

-- The rows of a table as it is now whose keys have no change, or none since an instant. PostgreSQL
-- chooses by the rows that are asked for between a look-up of each and one pass over the changes, as it
-- could not if this were a join.
CREATE OR REPLACE FUNCTION @threadline@.rows_without_changes(
    relation regclass, of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    since timestamptz
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $rows$
DECLARE
    present record := @threadline@.columns_of_present(relation, allow_unknown);
BEGIN
    RETURN format(
        $query$SELECT %1$s FROM %2$s AS "as it is now"
WHERE CASE WHEN EXISTS (
    SELECT FROM @threadline@.audit_changes AS later
    WHERE (SELECT @threadline@.can_still_rewind(%3$L, %4$L, %5$L::pg_catalog.timestamptz))
        AND later.table_name OPERATOR(pg_catalog.=) %4$L AND later.table_schema OPERATOR(pg_catalog.=) %3$L
        AND later.row_key OPERATOR(pg_catalog.=) %6$s
        AND later.captured_at OPERATOR(pg_catalog.>) %7$L::pg_catalog.timestamptz
) THEN false ELSE true END%8$s$query$,
        present.expressions, relation, of_schema, of_table, to_jsonb(instant) #>> '{}', present.row_key,
        to_jsonb(since) #>> '{}',
        -- There is hardly ever one, and asking costs.
        CASE WHEN EXISTS (SELECT FROM @threadline@.erased_keys(of_schema, of_table)) THEN format(
            ' AND %s OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT @threadline@.erased_keys(%L, %L)))',
            present.row_key, of_schema, of_table
        ) END
    );
END
$rows$;

-- A table as of an instant, made from the table as it is now: the rows that were not touched since,
-- and the images of those that were. A row that is there now and whose key was left since was touched
-- by whatever came to that key. `condition` narrows touched.row_key.
CREATE OR REPLACE FUNCTION @threadline@.rewound_table(
    relation regclass, of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    known_whole boolean, condition text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $rewound$
DECLARE
    columns text := (@threadline@.columns_from_image(relation, allow_unknown)).expressions;
    touched text := @threadline@.touched_keys(of_schema, of_table, instant, condition);
    sql text := format(
        E'%s\nUNION ALL\nSELECT %s FROM (%s) AS "state"',
        @threadline@.rows_without_changes(relation, of_schema, of_table, instant, allow_unknown, instant),
        columns,
        @threadline@.images_of_keys(
            of_schema, of_table, @threadline@.kept_policy(relation) #>> '{key,columns,0}', instant, touched
        )
    );
BEGIN
    IF known_whole THEN
        RETURN sql;
    END IF;
    RETURN format(
        E'%s\nUNION ALL\nSELECT %s FROM (%s) AS "state"', sql, columns,
        @threadline@.images_of_older_keys(of_schema, of_table, instant, format(
            $query$%4$s AND NOT EXISTS (
        SELECT FROM @threadline@.audit_changes AS known
        WHERE known.table_name OPERATOR(pg_catalog.=) %2$L AND known.table_schema OPERATOR(pg_catalog.=) %1$L
            AND known.row_key OPERATOR(pg_catalog.=) touched.row_key
            AND known.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz
    )$query$,
            of_schema, of_table, to_jsonb(instant) #>> '{}', touched
        ))
    );
END
$rewound$;

-- A table as of an instant, made from the trail, with the rows that are older than the trail.
CREATE OR REPLACE FUNCTION @threadline@.completed_table(
    relation regclass, of_schema text, of_table text, instant timestamptz, allow_unknown boolean,
    from_trail text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $completed$
BEGIN
    RETURN format(
        E'%s\nUNION ALL\n%s\nUNION ALL\nSELECT %s FROM (%s) AS "state"', from_trail,
        @threadline@.rows_without_changes(relation, of_schema, of_table, instant, allow_unknown, '-infinity'),
        (@threadline@.columns_from_image(relation, allow_unknown)).expressions,
        @threadline@.images_of_older_keys(of_schema, of_table, instant, format(
            $query$SELECT touched.row_key FROM (%4$s EXCEPT
    SELECT known.row_key FROM @threadline@.audit_changes AS known
    WHERE known.table_name OPERATOR(pg_catalog.=) %2$L AND known.table_schema OPERATOR(pg_catalog.=) %1$L
        AND known.captured_at OPERATOR(pg_catalog.<=) %3$L::pg_catalog.timestamptz) AS touched$query$,
            of_schema, of_table, to_jsonb(instant) #>> '{}',
            @threadline@.touched_keys(of_schema, of_table, instant, 'true')
        ))
    );
END
$completed$;

-- How many changes of a table PostgreSQL expects before or after an instant.
CREATE OR REPLACE FUNCTION @threadline@.expected_changes(
    of_schema text, of_table text, side text, instant timestamptz
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $expected$
DECLARE
    plan json;
BEGIN
    EXECUTE format(
        'EXPLAIN (FORMAT JSON) SELECT FROM @threadline@.audit_changes AS change '
        'WHERE change.table_name = %L AND change.table_schema = %L AND change.captured_at %s %L',
        of_table, of_schema, side, instant
    ) INTO plan;
    RETURN (plan #>> '{0,Plan,Plan Rows}')::numeric;
END
$expected$;

-- What stands for a table in a query as of an instant: as table_as_of, but by way of the present where
-- that is certain and not dearer, unless the trail only is to tell.
--
-- `rewound` says whether the table itself is read, under the name "as it is now". `probe` stands for
-- the table in a query whose plan shows which keys are asked for, by values of `key_column`, and that
-- is what table_of_keys wants to know; it is null where that would gain nothing.
CREATE OR REPLACE FUNCTION @threadline@.table_rewound(
    of_schema text, of_table text, instant timestamptz, allow_unknown boolean, trail_only boolean,
    OUT problem text, OUT detail text, OUT horizon timestamptz, OUT unknown jsonb, OUT sql text,
    OUT rewound boolean, OUT probe text, OUT key_column text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $rewound$
DECLARE
    relation regclass := @threadline@.relation_named(of_schema, of_table);
    sees_whole_table boolean := COALESCE(@threadline@.sees_whole_table(relation), false);
    is_certain boolean := NOT trail_only AND sees_whole_table
        AND @threadline@.rewinding_obstacle(of_schema, of_table, instant) IS NULL;
    known_whole boolean := is_certain AND @threadline@.is_known_whole(of_schema, of_table, instant);
    after bigint := 0;
BEGIN
    IF sees_whole_table THEN
        after := @threadline@.expected_changes(of_schema, of_table, '>', instant);
    END IF;
    -- A look-up of a key takes as long as reading ten changes in passing.
    rewound := is_certain
        AND (after <= 100 OR after * 10 < @threadline@.expected_changes(of_schema, of_table, '<=', instant) + 1000);
    horizon := @threadline@.audit_horizon(of_schema, of_table);
    IF rewound AND instant >= horizon THEN
        unknown := (@threadline@.columns_from_image(relation, allow_unknown)).unknown;
        sql := @threadline@.rewound_table(relation, of_schema, of_table, instant, allow_unknown, known_whole, 'true');
    ELSE
        SELECT found.* INTO problem, detail, horizon, unknown, sql
        FROM @threadline@.table_as_of(of_schema, of_table, instant, allow_unknown) AS found;
        rewound := problem IS NULL AND is_certain AND NOT known_whole;
        IF rewound THEN
            sql := @threadline@.completed_table(relation, of_schema, of_table, instant, allow_unknown, sql);
        END IF;
    END IF;
    IF problem IS NULL AND sees_whole_table AND (after > 100 OR NOT is_certain) THEN
        key_column := @threadline@.narrowing_column(relation);
        IF key_column IS NOT NULL THEN
            probe := format(
                'SELECT %s FROM %s AS "as it is now"',
                (@threadline@.columns_of_present(relation, allow_unknown)).expressions, relation
            );
        END IF;
    END IF;
END
$rewound$;

-- Whether the current role sees every row of a table. Who does not must not be told by it of the past.
CREATE OR REPLACE FUNCTION @threadline@.sees_whole_table(relation regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT has_schema_privilege(class.relnamespace, 'USAGE') AND has_table_privilege(relation, 'SELECT')
        AND NOT row_security_active(relation)
    FROM pg_class AS class WHERE class.oid = relation
);

-- The column whose values alone are a table's keys, if equal values of it are equal as texts.
CREATE OR REPLACE FUNCTION @threadline@.narrowing_column(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $narrowing$
DECLARE
    policy jsonb := @threadline@.kept_policy(relation);
    name text := policy #>> '{key,columns,0}';
BEGIN
    IF name IS NULL OR policy #> '{key,columns,1}' IS NOT NULL
        OR NOT @threadline@.tells_rows_apart(relation, ARRAY[name])
    THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT attribute.attname
        FROM pg_attribute AS attribute
        LEFT JOIN pg_collation AS "collation" ON "collation".oid = attribute.attcollation
        WHERE attribute.attrelid = relation AND attribute.attname = name AND NOT attribute.attisdropped
            AND attribute.atttypid IN (
                'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype, 'varchar'::regtype
            )
            AND "collation".collisdeterministic IS NOT FALSE
    );
END
$narrowing$;

-- What stands for a table in a query as of an instant that asks for certain keys only: `literal` is a
-- value, or an array of values, of a type. Otherwise as table_rewound, when that has found no problem.
CREATE OR REPLACE FUNCTION @threadline@.table_of_keys(
    of_schema text, of_table text, instant timestamptz, allow_unknown boolean, trail_only boolean,
    literal text, of_type regtype, is_array boolean, OUT sql text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $keys$
DECLARE
    relation regclass := @threadline@.relation_named(of_schema, of_table);
    keys text[];
BEGIN
    EXECUTE format(
        CASE WHEN is_array
            THEN 'SELECT array_agg(DISTINCT @threadline@.row_key(value::text)) FROM unnest(%L::%s[]) AS value WHERE value IS NOT NULL'
            ELSE 'SELECT ARRAY[@threadline@.row_key(%L::%s::text)]' END,
        literal, of_type
    ) INTO keys;
    keys := COALESCE(keys, '{}');
    IF NOT trail_only AND @threadline@.rewinding_obstacle(of_schema, of_table, instant) IS NULL THEN
        sql := @threadline@.rewound_table(
            relation, of_schema, of_table, instant, allow_unknown,
            @threadline@.is_known_whole(of_schema, of_table, instant),
            format('touched.row_key OPERATOR(pg_catalog.=) ANY (%L::pg_catalog.text[])', keys)
        );
    ELSE
        sql := format(
            'SELECT %s FROM (%s) AS "state"',
            (@threadline@.columns_from_image(relation, allow_unknown)).expressions,
            @threadline@.images_of_keys(
                of_schema, of_table, @threadline@.narrowing_column(relation), instant,
                format('SELECT given.row_key FROM pg_catalog.unnest(%L::pg_catalog.text[]) AS given (row_key)', keys)
            )
        );
    END IF;
END
$keys$;
