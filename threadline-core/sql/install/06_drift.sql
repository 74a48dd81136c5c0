-- What capture does when a table is no longer the one its functions were generated for.
--
-- A column that was dropped or renamed must not cost a write, and a column that was added must not
-- be stored before somebody has classified it. The generated functions notice the first by an
-- undefined column and the second by a row image that changed where no known column did; both then
-- ask here for a query built from the table as it is. Slow, exact, and reported by coverage.

-- The policy a capture function carries; null where there is none, or none that can be read.
CREATE OR REPLACE FUNCTION @threadline@.policy_of(function oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $policy$
DECLARE
    policy jsonb;
BEGIN
    policy := obj_description(function, 'pg_proc')::jsonb;
    IF jsonb_typeof(policy #> '{table,columns}') = 'array' AND policy #>> '{table,name,name}' <> ''
        AND jsonb_typeof(policy -> 'version') = 'number'
    THEN
        RETURN policy;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL; -- no JSON
END
$policy$;

-- The declaration that the capture triggers of a table were generated from.
CREATE OR REPLACE FUNCTION @threadline@.deployed_policy(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN COALESCE((
    SELECT policy -> 'table'
    FROM pg_trigger CROSS JOIN LATERAL @threadline@.policy_of(tgfoid) AS policy
    WHERE tgrelid = relation AND tgname LIKE '00\_threadline\_%' AND policy IS NOT NULL
    LIMIT 1
), '{}'); -- without a policy nothing is classified, so nothing is stored in clear

-- Whether a table has columns that its capture was not generated for.
CREATE OR REPLACE FUNCTION @threadline@.has_unclassified(relation oid, known text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND NOT attname = ANY (known)
);

-- The same, asked while an expression is planned: called immutable for that. A session that planned it
-- before a column was added does not know.
CREATE OR REPLACE FUNCTION @threadline@.had_unclassified(relation text, known text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN @threadline@.has_unclassified(to_regclass(relation), known);

-- Whether any of these columns of a table is a virtual generated one. In a row that a trigger sees
-- such a column is NULL, and to read it from the rows of a statement is an error.
--
-- Called immutable for the statement functions, which ask while their probe is planned: a plan is
-- made anew when the table changes, and a run of it then costs nothing.
CREATE OR REPLACE FUNCTION @threadline@.has_virtual(relation text, names text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass(relation) AND attnum > 0 AND NOT attisdropped
        AND attname = ANY (names) AND attgenerated = 'v'
);

-- The key of a row as one text: the value itself, or all values, by their columns' names, as a
-- JSON array. Texts that are
-- too long for an index are replaced by a digest.
CREATE OR REPLACE FUNCTION @threadline@.row_key(VARIADIC parts text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $key$
DECLARE
    joined pg_catalog.text;
BEGIN
    IF pg_catalog.array_length(parts, 1) OPERATOR(pg_catalog.=) 1 THEN
        joined := parts[1];
    ELSE
        joined := pg_catalog.to_jsonb(parts)::pg_catalog.text;
    END IF;
    IF pg_catalog.octet_length(joined) OPERATOR(pg_catalog.>) 512 THEN
        -- Of the bytes as they are where there is no saying what characters they are.
        joined := 'sha256:' OPERATOR(pg_catalog.||) pg_catalog.encode(
            pg_catalog.sha256(pg_catalog.convert_to(joined, CASE
                WHEN pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) ANY ('{SQL_ASCII,MULE_INTERNAL}')
                    THEN pg_catalog.getdatabaseencoding()
                ELSE 'UTF8'
            END)), 'hex'
        );
    END IF;
    RETURN joined;
END
$key$;

-- The type behind any number of domains.
CREATE OR REPLACE FUNCTION @threadline@.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH RECURSIVE chain (oid, base, kind) AS (
        SELECT t.oid, t.typbasetype, t.typtype FROM pg_type AS t WHERE t.oid = type
        UNION ALL
        SELECT t.oid, t.typbasetype, t.typtype
        FROM chain JOIN pg_type AS t ON t.oid = chain.base
        WHERE chain.kind = 'd'
    )
    SELECT chain.oid FROM chain WHERE chain.kind <> 'd'
);

-- An expression for a value of one of PostgreSQL's own types, by the name of the type, from which
-- to_jsonb loses nothing. The conditions are those of the generated functions: JSON numbers know no
-- negative zero, and JSON arrays no bounds but 1.
CREATE OR REPLACE FUNCTION @threadline@.lossless(value text, of_type text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN of_type IN ('float4', 'float8') THEN format(
        'CASE WHEN (%1$s::pg_catalog.text OPERATOR(pg_catalog.<>) ''-0'') IS NOT FALSE '
        'THEN pg_catalog.to_jsonb(%1$s) ELSE pg_catalog.to_jsonb(%1$s::pg_catalog.text) END', value)
    WHEN of_type IN ('json', '_json', '_jsonb') THEN format('%s::pg_catalog.text', value)
    WHEN of_type LIKE '\_%' THEN format(
        'CASE WHEN (pg_catalog.strpos(pg_catalog.replace(pg_catalog.array_dims(%1$s), '
        '''[1:'', ''''), ''['') OPERATOR(pg_catalog.=) 0' || CASE
            WHEN of_type IN ('_float4', '_float8')
                THEN ' AND %1$s::pg_catalog.text OPERATOR(pg_catalog.!~) ''-0[,}]'''
            ELSE ''
        END || ') IS NOT FALSE '
        'THEN pg_catalog.to_jsonb(%1$s) ELSE pg_catalog.to_jsonb(%1$s::pg_catalog.text) END', value)
    ELSE value
END;

-- The columns a table has now, each with its rule (null: not classified) and the expression that
-- renders it from a row called by `alias`.
CREATE OR REPLACE FUNCTION @threadline@.drifted_columns(
    relation oid, policy jsonb, alias text,
    OUT name text, OUT rule text, OUT rendered text
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        attribute.attname::text,
        declared.rule,
        CASE
            WHEN declared.rule = 'mask' THEN format('%L::pg_catalog.text', policy ->> 'mask_with')
            WHEN type.typnamespace <> 'pg_catalog'::regnamespace AND type.typtype <> 'e'
                OR type.typtype = 'c'
                THEN format('%I.%I::pg_catalog.text', alias, attribute.attname)
            ELSE @threadline@.lossless(format('%I.%I', alias, attribute.attname), type.typname)
        END
    FROM pg_attribute AS attribute
    JOIN pg_type AS type ON type.oid = @threadline@.base_type(attribute.atttypid)
    LEFT JOIN LATERAL (
        SELECT col ->> 'rule' AS rule
        FROM jsonb_array_elements(policy -> 'columns') AS col
        WHERE col ->> 'name' = attribute.attname
    ) AS declared ON true
    WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
        AND attribute.attgenerated <> 'v' -- no trigger sees its value
    ORDER BY attribute.attnum;
END;

-- An expression for the image of a row: classified columns that still exist.
CREATE OR REPLACE FUNCTION @threadline@.drifted_image(relation oid, policy jsonb, alias text)
RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT COALESCE(
        string_agg(
            format('pg_catalog.jsonb_build_object(%L, %s)', name, rendered),
            ' OPERATOR(pg_catalog.||) '
        ),
        '''{}''::pg_catalog.jsonb'
    )
    FROM @threadline@.drifted_columns(relation, policy, alias)
    WHERE rule IN ('clear', 'mask')
);

-- An expression for the old values of what changed between rows `o` and `n`. An unclassified
-- column shows that it changed, not from what.
CREATE OR REPLACE FUNCTION @threadline@.drifted_changes(relation oid, policy jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT string_agg(
        format(
            'CASE WHEN ROW(o.%1$I)::pg_catalog.record OPERATOR(pg_catalog.*<>) '
            'ROW(n.%1$I)::pg_catalog.record '
            'THEN pg_catalog.jsonb_build_object(%2$L, %3$s) ELSE ''{}''::pg_catalog.jsonb END',
            name, name,
            CASE WHEN rule IS NULL THEN '''[UNCLASSIFIED]''::pg_catalog.text' ELSE rendered END
        ),
        ' OPERATOR(pg_catalog.||) '
    )
    FROM @threadline@.drifted_columns(relation, policy, 'o')
    WHERE (rule <> 'exclude') IS NOT FALSE
);

-- Expressions for the key of a row; nulls where a key column is gone or there is no key.
CREATE OR REPLACE FUNCTION @threadline@.drifted_key(
    relation oid, policy jsonb, alias text, OUT table_pk text, OUT row_key text
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        CASE WHEN count(present.name) = count(*) AND count(*) > 0 THEN
            'pg_catalog.jsonb_build_object('
            || string_agg(format('%L, %s', key.name, present.as_text), ', ' ORDER BY key.position)
            || ')'
        ELSE 'NULL::pg_catalog.jsonb' END,
        CASE WHEN count(present.name) = count(*) AND count(*) > 0 THEN
            '@threadline@.row_key(' || string_agg(present.as_text, ', ' ORDER BY key.name COLLATE "C") || ')'
        ELSE 'NULL::pg_catalog.text' END
    FROM jsonb_array_elements_text(
        CASE WHEN jsonb_typeof(policy -> 'key') = 'object' THEN policy #> '{key,columns}'
        ELSE '[]' END
    ) WITH ORDINALITY AS key (name, position)
    LEFT JOIN LATERAL (
        SELECT current.name,
            format('(pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.#>>) ''{}'')', current.rendered)
                AS as_text
        FROM @threadline@.drifted_columns(relation, policy, alias) AS current
        WHERE current.name = key.name
    ) AS present ON true;
END;

-- The query that yields data_after, changed_from, table_pk, row_key and the old row_key of an
-- updated row, given as $1 (old) and $2 (new).
CREATE OR REPLACE FUNCTION @threadline@.drifted_update(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT format(
        'SELECT %s, %s, %s, %s, %s FROM (SELECT ($1).*) AS o, (SELECT ($2).*) AS n',
        @threadline@.drifted_image(relation, policy, 'n'),
        @threadline@.drifted_changes(relation, policy),
        new_key.table_pk, new_key.row_key, old_key.row_key
    )
    FROM @threadline@.deployed_policy(relation) AS policy,
        @threadline@.drifted_key(relation, policy, 'n') AS new_key,
        @threadline@.drifted_key(relation, policy, 'o') AS old_key
);

-- The query that yields the image, table_pk and row_key of rows. `source` is what stands in FROM
-- under the name r.
CREATE OR REPLACE FUNCTION @threadline@.drifted_rows(relation oid, source text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT format(
        'SELECT %s AS image, %s AS table_pk, %s AS row_key FROM %s AS r',
        @threadline@.drifted_image(relation, policy, 'r'), key.table_pk, key.row_key, source
    )
    FROM @threadline@.deployed_policy(relation) AS policy,
        @threadline@.drifted_key(relation, policy, 'r') AS key
);
