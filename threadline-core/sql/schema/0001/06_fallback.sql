-- Capture of changes that the generated function of a table cannot store: a column was renamed or dropped
-- or its type was changed, or a value is too large for jsonb. Builds a query from the catalog and the
-- deployed policy. It is slow; coverage reports tables that need it.

-- The policy in the comment of a capture function; null if the comment has none.
CREATE FUNCTION @threadline@.policy_of(function_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    policy jsonb;
BEGIN
    policy := obj_description(function_oid, 'pg_proc');
    RETURN CASE
        WHEN jsonb_typeof(policy #> '{table,columns}') = 'array' AND policy #>> '{table,name,name}' <> ''
        THEN policy
    END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL; -- a comment that is not JSON
END
$$;

-- The table declaration in the policy of a relation's capture trigger; {} without a trigger, so that no
-- column has a rule.
CREATE FUNCTION @threadline@.deployed_policy(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce((
    SELECT @threadline@.policy_of(tgfoid) -> 'table' FROM pg_trigger
    WHERE tgrelid = relation AND tgname = '00_threadline_capture'
), '{}');

-- The base type of a type, through nested domains.
CREATE FUNCTION @threadline@.base_type(type_oid oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH RECURSIVE chain (oid, base, kind) AS (
        SELECT oid, typbasetype, typtype FROM pg_type WHERE oid = type_oid
        UNION ALL
        SELECT type.oid, type.typbasetype, type.typtype
        FROM chain JOIN pg_type AS type ON type.oid = chain.base
        WHERE chain.kind = 'd'
    )
    SELECT oid FROM chain WHERE kind <> 'd'
);

-- The expression that stores a value, equal to the generator's. JSON has no -0 and no array bounds, and
-- jsonb does not preserve json documents, so these values are stored as text.
CREATE FUNCTION @threadline@.stored_expression(value text, value_type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT CASE
        WHEN type.typnamespace <> 'pg_catalog'::regnamespace AND type.typtype <> 'e'
            OR type.typname IN ('json', '_json', '_jsonb')
        THEN format('%s::text', value)
        WHEN type.typname IN ('float4', 'float8')
        THEN format('CASE WHEN %1$s::text = ''-0'' THEN to_jsonb(%1$s::text) ELSE to_jsonb(%1$s) END', value)
        WHEN type.typcategory = 'A'
        THEN format(
            'CASE WHEN array_dims(%1$s) ~ ''[[](?!1:)'' OR %1$s::text ~ ''[{,]-0[,}]'' '
            'THEN to_jsonb(%1$s::text) ELSE to_jsonb(%1$s) END', value)
        ELSE value
    END
    FROM pg_type AS type WHERE type.oid = @threadline@.base_type(value_type)
);

-- The query that returns, for rows $1 (old) and $2 (new) of a relation, both images, the names of the
-- columns that differ, and both keys. Values longer than `max_bytes` are replaced by size and digest.
CREATE FUNCTION @threadline@.fallback_query(relation oid, policy jsonb, max_bytes integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH enrolment AS (
        SELECT * FROM @threadline@.current_enrolment(policy #>> '{name,schema}', policy #>> '{name,name}')
    ), key_column AS (
        -- Key columns are found by attribute number, which a rename does not change; partitions and
        -- children have the same names. If the table was created again, by a restore, they are found by name.
        SELECT part.position, coalesce(attribute.attname::text, part.name) AS name
        FROM enrolment
        CROSS JOIN unnest(enrolment.key_columns, enrolment.key_attnums)
            WITH ORDINALITY AS part (name, attnum, position)
        LEFT JOIN pg_attribute AS attribute
            ON attribute.attrelid = enrolment.relation AND attribute.attnum = part.attnum
                AND NOT attribute.attisdropped
                AND enrolment.relation IN (
                    SELECT fallback_query.relation
                    UNION ALL SELECT pg_partition_root(fallback_query.relation)
                    UNION ALL SELECT inhparent FROM pg_inherits WHERE inhrelid = fallback_query.relation
                )
    ), stored AS (
        SELECT attribute.attnum, attribute.attname::text AS name, declared.rule, side.alias,
            CASE WHEN attribute.atttypid = 'bytea'::regtype THEN '' ELSE '::text COLLATE "C"' END AS compared_as,
            CASE
                WHEN declared.rule = 'mask' THEN format('%L::text', policy ->> 'mask_with')
                WHEN declared.rule = 'mask_keep_null' THEN
                    format('CASE WHEN %s IS DISTINCT FROM NULL THEN %L END', column_ref, policy ->> 'mask_with')
                WHEN max_bytes IS NULL THEN @threadline@.stored_expression(column_ref, attribute.atttypid)
                ELSE format(
                    'CASE WHEN octet_length(%1$s) > %2$s THEN to_jsonb(format(''[TOO LARGE: %%s bytes, sha256:%%s]'', '
                    'octet_length(%1$s), encode(sha256(%1$s), ''hex''))) ELSE to_jsonb(%3$s) END',
                    CASE attribute.atttypid WHEN 'bytea'::regtype THEN column_ref
                        ELSE format('convert_to(%s::text, getdatabaseencoding())', column_ref) END,
                    max_bytes, @threadline@.stored_expression(column_ref, attribute.atttypid)
                )
            END AS expression
        FROM pg_attribute AS attribute
        CROSS JOIN (VALUES ('o'), ('n')) AS side (alias)
        CROSS JOIN format('%s.%I', side.alias, attribute.attname) AS column_ref
        LEFT JOIN jsonb_array_elements(policy -> 'columns') AS listed ON listed ->> 'name' = attribute.attname
        CROSS JOIN coalesce(listed ->> 'rule', 'unclassified') AS declared (rule)
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
            AND attribute.attgenerated <> 'v' -- triggers do not see the value
            AND declared.rule <> 'exclude'
    ), image AS (
        SELECT alias, string_agg(format('jsonb_build_object(%L, %s)', name, expression), ' || ' ORDER BY attnum) AS expression
        FROM stored WHERE rule <> 'unclassified' GROUP BY alias
    ), row_key AS (
        SELECT side.alias,
            string_agg(format('%L, %s.%I::text', name, side.alias, name), ', ' ORDER BY position) AS pairs,
            string_agg(format('%s.%I::text', side.alias, name), ', ' ORDER BY position) AS key_values
        FROM key_column CROSS JOIN (VALUES ('o'), ('n')) AS side (alias)
        GROUP BY side.alias
        HAVING bool_and(name IN (SELECT attname FROM pg_attribute WHERE attrelid = relation AND NOT attisdropped))
    )
    SELECT format(
        'SELECT %s, %s, array_remove(ARRAY[%s]::text[], NULL), %s, %s, %s FROM (SELECT ($1).*) AS o, (SELECT ($2).*) AS n',
        coalesce((SELECT expression FROM image WHERE alias = 'o'), '''{}''::jsonb'),
        coalesce((SELECT expression FROM image WHERE alias = 'n'), '''{}''::jsonb'),
        (SELECT string_agg(format('CASE WHEN o.%1$I%2$s IS DISTINCT FROM n.%1$I%2$s THEN %1$L END', name, compared_as), ', ')
            FROM stored WHERE alias = 'n' AND rule <> 'ignore'),
        coalesce((SELECT format('@threadline@.row_key(%s)', key_values) FROM row_key WHERE alias = 'o'), 'NULL::text'),
        coalesce((SELECT format('@threadline@.row_key(%s)', key_values) FROM row_key WHERE alias = 'n'), 'NULL::text'),
        coalesce((SELECT format('jsonb_build_object(%s)', pairs) FROM row_key WHERE alias = 'n'), 'NULL::jsonb')
    )
);

-- Builds the arguments of record_change for a change. The SET clauses fix every setting that affects the
-- text form of values. changed_from is null for an update that changed no stored column.
CREATE FUNCTION @threadline@.fallback_change(
    relation oid, op text, old_row record, new_row record,
    OUT table_pk jsonb, OUT row_key text, OUT previous_key text, OUT data_after jsonb, OUT changed_from jsonb
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET bytea_output = 'hex'
SET extra_float_digits = 1 SET lc_monetary = 'C' AS $$
DECLARE
    policy jsonb := @threadline@.deployed_policy(relation);
    old_image jsonb;
    new_image jsonb;
    changed text[];
    old_key text;
    new_key text;
BEGIN
    -- An insert has no old row and a delete no new row: use the same row for both.
    old_row := coalesce(old_row, new_row);
    new_row := coalesce(new_row, old_row);
    BEGIN
        EXECUTE @threadline@.fallback_query(relation, policy, NULL)
            INTO old_image, new_image, changed, old_key, new_key, table_pk USING old_row, new_row;
    EXCEPTION WHEN OTHERS THEN
        EXECUTE @threadline@.fallback_query(relation, policy, 1048576)
            INTO old_image, new_image, changed, old_key, new_key, table_pk USING old_row, new_row;
    END;
    row_key := CASE op WHEN 'DELETE' THEN old_key ELSE new_key END;
    data_after := CASE op WHEN 'DELETE' THEN NULL ELSE new_image END;
    IF op = 'DELETE' THEN
        changed_from := old_image;
    ELSIF op = 'UPDATE' AND (cardinality(changed) > 0 OR old_key IS DISTINCT FROM new_key) THEN
        -- Ignored columns are included if they differ. Of a column without a rule, such as a renamed one, the
        -- name is stored, but not the value.
        SELECT coalesce(jsonb_object_agg(name, coalesce(old_image -> name, '"[UNCLASSIFIED]"')), '{}') INTO changed_from
        FROM (
            SELECT unnest(changed)
            UNION SELECT key FROM jsonb_each(old_image) WHERE new_image -> key IS DISTINCT FROM value
        ) AS different (name);
        previous_key := nullif(old_key, new_key);
    END IF;
END
$$;
