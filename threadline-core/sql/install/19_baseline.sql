-- Rows that are older than capture: since when a table is captured, and the record of the rows that
-- were there before (op `baseline`), which is no change and is never counted as one.

-- When capture began and ended, table by table.
CREATE TABLE IF NOT EXISTS @threadline@.audit_enrolments (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    event          text        NOT NULL CHECK (event IN ('attached', 'detached')),
    enrolled_at    timestamptz NOT NULL,
    enrolled_by    text        NOT NULL
);

COMMENT ON TABLE @threadline@.audit_enrolments IS
    'When tables came under capture, and when they were taken out.';

-- Whether capture began with an empty table, so that no row is older than the trail.
DO $column$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute
        WHERE attrelid OPERATOR(pg_catalog.=) '@threadline@.audit_enrolments'::regclass
            AND attname OPERATOR(pg_catalog.=) 'table_was_empty'
    ) THEN
        PERFORM @threadline@.may_change('@threadline@.audit_enrolments');
        ALTER TABLE @threadline@.audit_enrolments ADD COLUMN table_was_empty boolean;
    END IF;
END
$column$;

SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_enrolments
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record()
$guard$);

-- Each attempt to record the rows of a table as they are.
CREATE TABLE IF NOT EXISTS @threadline@.audit_baseline_runs (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    table_schema   text COLLATE "C" NOT NULL,
    table_name     text COLLATE "C" NOT NULL,
    -- Which rows: those without history, or all.
    selection      text        NOT NULL CHECK (selection IN ('unknown', 'all')),
    state          text        NOT NULL CHECK (state IN ('running', 'finished', 'stopped', 'interrupted')),
    started_at     timestamptz NOT NULL,
    started_by     text        NOT NULL,
    ended_at       timestamptz,
    -- The run whose work this one went on with.
    continues      bigint,
    actor_ref      jsonb,
    context        jsonb,
    action_id      uuid,
    -- Changes from here on belong to this run or to one it goes on with, or came later.
    first_change   bigint      NOT NULL,
    -- The table's newest truncate when the run began: nothing older speaks of a row that is there.
    last_truncate  bigint      NOT NULL,
    rows_seen      bigint      NOT NULL DEFAULT 0,
    rows_recorded  bigint      NOT NULL DEFAULT 0,
    -- Rows that somebody else had locked, and that were not recorded yet.
    rows_left      bigint      NOT NULL DEFAULT 0,
    last_key       jsonb,
    reached_end    boolean     NOT NULL DEFAULT false
);

COMMENT ON TABLE @threadline@.audit_baseline_runs IS
    'Who recorded the rows of which table as they were, when, and how far it went.';

SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_baseline_runs_table_idx
    ON @threadline@.audit_baseline_runs (table_name, table_schema, id)
$index$);

-- Runs move on by the functions below, and nobody takes them back.
CREATE OR REPLACE FUNCTION @threadline@.guard_baseline_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND @threadline@.is_sanctioned() THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$guard$;

SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_baseline_run BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_baseline_runs
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_baseline_run()
$guard$);

-- Whether the triggers that make a table captured are there and fire.
CREATE OR REPLACE FUNCTION @threadline@.is_captured(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN 3 = (
    SELECT count(*) FROM pg_trigger
    WHERE tgrelid = relation AND tgenabled IN ('O', 'A')
        AND tgname IN ('00_threadline_insert', '00_threadline_update', '00_threadline_delete')
);

-- Notes that a table comes under capture, unless it is. Takes the lock that creating a trigger takes,
-- so that no write falls between the instant that is noted and the first trigger.
CREATE OR REPLACE FUNCTION @threadline@.note_attached(
    table_schema text, table_name text, relation regclass
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $note$
DECLARE
    was_empty boolean;
BEGIN
    IF @threadline@.is_captured(relation) THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
    -- Where not every row is to be seen, it is not known.
    IF has_table_privilege(relation, 'SELECT') AND NOT row_security_active(relation) THEN
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', relation) INTO was_empty;
    END IF;
    INSERT INTO @threadline@.audit_enrolments (
        transaction_id, table_schema, table_name, event, enrolled_at, enrolled_by, table_was_empty
    ) VALUES (
        @threadline@.current_transaction_id(), table_schema, table_name, 'attached',
        clock_timestamp(), session_user, was_empty
    );
END
$note$;

-- Notes that a table is taken out, if it was captured.
CREATE OR REPLACE FUNCTION @threadline@.note_detached(table_schema text, table_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $note$
BEGIN
    IF @threadline@.is_captured(to_regclass(format('%I.%I', table_schema, table_name))) THEN
        INSERT INTO @threadline@.audit_enrolments (
            transaction_id, table_schema, table_name, event, enrolled_at, enrolled_by
        ) VALUES (
            @threadline@.current_transaction_id(), table_schema, table_name, 'detached',
            clock_timestamp(), session_user
        );
    END IF;
END
$note$;

-- What capture stores of a column: its rule, and the expression that renders it from a row called r.
-- The same as the generated functions have it, but for the table as it was declared; where a declared
-- column is gone, capture goes by the catalog, and so does who asks here.
CREATE OR REPLACE FUNCTION @threadline@.captured_columns(
    declared jsonb, OUT name text, OUT rendered text, OUT key_text text
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        col.name,
        CASE
            WHEN col.rule = 'mask' THEN format('%L::pg_catalog.text', declared ->> 'mask_with')
            WHEN col.builtin <> 'json' AND EXISTS (
                SELECT FROM pg_type AS type
                WHERE type.typnamespace = 'pg_catalog'::regnamespace AND type.typname = col.builtin
                    AND type.typcategory <> 'A'
            ) THEN @threadline@.lossless(format('r.%I', col.name), col.builtin)
            WHEN col.type ? 'enum' THEN format('r.%I', col.name)
            WHEN col.type ? 'array'
                THEN @threadline@.lossless(format('r.%I', col.name), '_' || (col.type ->> 'array'))
            ELSE format('r.%I::pg_catalog.text', col.name)
        END,
        CASE
            WHEN col.type ? 'other' THEN format('r.%I::pg_catalog.text', col.name)
            ELSE format('(pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.#>>) ''{}'')',
                @threadline@.lossless(
                    format('r.%I', col.name), COALESCE('_' || (col.type ->> 'array'), col.builtin)
                ))
        END
    FROM (
        SELECT given ->> 'name' AS name, given ->> 'rule' AS rule, given -> 'column_type' AS type,
            COALESCE(given #>> '{column_type,builtin}', '') AS builtin
        FROM jsonb_array_elements(declared -> 'columns') AS given
    ) AS col
    WHERE col.rule <> 'exclude';
END;

-- The names of the columns that a declaration tells rows apart by.
CREATE OR REPLACE FUNCTION @threadline@.declared_key(declared jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN ARRAY(
    SELECT jsonb_array_elements_text(
        CASE WHEN jsonb_typeof(declared -> 'key') = 'object' THEN declared #> '{key,columns}'
        ELSE '[]' END
    )
);

-- Expressions over a row called r, as capture has them: the image, the key, and the key as one text.
CREATE OR REPLACE FUNCTION @threadline@.captured_row(
    relation oid, declared jsonb, OUT image text, OUT table_pk text, OUT row_key text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $row$
BEGIN
    IF EXISTS (
        SELECT FROM @threadline@.captured_columns(declared) AS col
        WHERE NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = relation AND attname = col.name AND attnum > 0 AND NOT attisdropped
        )
    ) THEN
        image := @threadline@.drifted_image(relation, declared, 'r');
        SELECT key.table_pk, key.row_key || ' COLLATE pg_catalog."C"' INTO table_pk, row_key
        FROM @threadline@.drifted_key(relation, declared, 'r') AS key;
        RETURN;
    END IF;
    SELECT format('(SELECT pg_catalog.to_jsonb(image) FROM (SELECT %s) AS image)', string_agg(
        format('%s AS %I', col.rendered, col.name), ', '
    )) INTO image FROM @threadline@.captured_columns(declared) AS col;
    SELECT
        format('pg_catalog.jsonb_build_object(%s)', string_agg(
            format('%L, %s', col.name, col.key_text), ', ')),
        -- Whatever the columns' collations are: the trail's is this.
        format('@threadline@.row_key(%s) COLLATE pg_catalog."C"', string_agg(
            col.key_text, ', ' ORDER BY col.name COLLATE "C"))
    INTO table_pk, row_key
    FROM @threadline@.captured_columns(declared) AS col
    WHERE col.name = ANY (@threadline@.declared_key(declared));
END
$row$;

-- How the rows of a table are walked through by their key: expressions over a row called r and a
-- position, an expression for the key's values as text, by column. They are written with the
-- operators of the index itself, so that order, comparison and index are one, whatever the types are.
CREATE OR REPLACE FUNCTION @threadline@.key_walk(
    relation oid, declared jsonb, from_position text,
    OUT place text, OUT is_after text, OUT is_at text, OUT in_order text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $walk$
DECLARE
    key text[] := @threadline@.declared_key(declared);
    found_index oid;
    part record;
    values_at text[] := '{}';
    columns_at text[] := '{}';
    uniform boolean := true;
BEGIN
    SELECT index.indexrelid INTO found_index
    FROM pg_index AS index
    WHERE index.indrelid = relation AND index.indisunique AND index.indisvalid
        AND index.indimmediate AND index.indpred IS NULL AND index.indexprs IS NULL
        AND index.indnkeyatts = cardinality(key)
        AND NOT EXISTS (
            SELECT FROM unnest(index.indkey::smallint[]) WITH ORDINALITY AS col (attnum, position)
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = relation AND attribute.attnum = col.attnum
            WHERE col.position <= index.indnkeyatts AND NOT attribute.attname = ANY (key)
        )
    ORDER BY index.indisprimary DESC, index.indexrelid LIMIT 1;
    -- Uniqueness that is checked at the end of a transaction is uniqueness all the same.
    IF found_index IS NULL THEN
        SELECT index.indexrelid INTO found_index
        FROM pg_index AS index
        WHERE index.indrelid = relation AND index.indisprimary AND index.indisvalid
            AND index.indnkeyatts = cardinality(key);
    END IF;
    IF found_index IS NULL THEN
        RAISE EXCEPTION 'table % has no unique index over (%), so its rows cannot be walked through',
            relation::regclass, array_to_string(key, ', ')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Correct the key in the code, then generate and apply the capture migration again (gen-triggers).';
    END IF;
    is_after := '';
    FOR part IN
        SELECT format('r.%I', attribute.attname) AS col,
            format(
                '(%s OPERATOR(pg_catalog.->>) %L)::%s',
                from_position, attribute.attname, format_type(attribute.atttypid, -1)
            ) AS value,
            format('%L, r.%I::pg_catalog.text', attribute.attname, attribute.attname) AS as_text,
            operators.less, operators.equal, operators.greater, operators.name, operators.is_builtin
        FROM pg_index AS index
        CROSS JOIN LATERAL unnest(index.indkey::smallint[], index.indclass::oid[])
            WITH ORDINALITY AS col (attnum, opclass, position)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation AND attribute.attnum = col.attnum
        JOIN pg_opclass AS opclass ON opclass.oid = col.opclass
        CROSS JOIN LATERAL (
            SELECT
                max(format('OPERATOR(%I.%s)', namespace.nspname, operator.oprname))
                    FILTER (WHERE member.amopstrategy = 1) AS less,
                max(format('OPERATOR(%I.%s)', namespace.nspname, operator.oprname))
                    FILTER (WHERE member.amopstrategy = 3) AS equal,
                max(format('OPERATOR(%I.%s)', namespace.nspname, operator.oprname))
                    FILTER (WHERE member.amopstrategy = 5) AS greater,
                max(operator.oprname::text) FILTER (WHERE member.amopstrategy = 5) AS name,
                bool_and(namespace.nspname = 'pg_catalog') AS is_builtin
            FROM pg_amop AS member
            JOIN pg_operator AS operator ON operator.oid = member.amopopr
            JOIN pg_namespace AS namespace ON namespace.oid = operator.oprnamespace
            WHERE member.amopfamily = opclass.opcfamily AND member.amoppurpose = 's'
                AND member.amoplefttype = opclass.opcintype AND member.amoprighttype = opclass.opcintype
        ) AS operators
        WHERE index.indexrelid = found_index AND col.position <= index.indnkeyatts
        ORDER BY col.position DESC
    LOOP
        uniform := uniform AND part.is_builtin AND part.name = '>';
        columns_at := part.col || columns_at;
        values_at := part.value || values_at;
        is_after := CASE WHEN is_after = '' THEN format('%s %s %s', part.col, part.greater, part.value)
            ELSE format('(%1$s %2$s %3$s OR %1$s %4$s %3$s AND (%5$s))',
                part.col, part.greater, part.value, part.equal, is_after) END;
        is_at := concat_ws(' AND ', format('%s %s %s', part.col, part.equal, part.value), is_at);
        in_order := concat_ws(', ', format('%s USING %s', part.col, part.less), in_order);
        place := concat_ws(', ', part.as_text, place);
    END LOOP;
    place := format('pg_catalog.jsonb_build_object(%s)', place);
    IF uniform AND cardinality(columns_at) > 1 THEN
        is_after := format('ROW(%s) OPERATOR(pg_catalog.>) ROW(%s)',
            array_to_string(columns_at, ', '), array_to_string(values_at, ', '));
    END IF;
END
$walk$;

-- An instant that no change has reached: a bound that spares searches the partitions of coming months.
CREATE OR REPLACE FUNCTION @threadline@.instant_not_reached() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT GREATEST(max(change.captured_at), clock_timestamp()) + interval '1 day'
    FROM @threadline@.audit_changes AS change
);

-- An expression for whether the trail knows the row with a key to be there: the last it heard of the
-- key is a row that came or stayed. `key` is an expression.
CREATE OR REPLACE FUNCTION @threadline@.known_row(
    table_schema text, table_name text, key text, last_truncate bigint, before timestamptz
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format(
    '(SELECT last.op OPERATOR(pg_catalog.<>) ''delete'' AND last.id OPERATOR(pg_catalog.>) %4$s'
    ' AND NOT EXISTS ('
        'SELECT FROM @threadline@.audit_changes AS departed'
        ' WHERE departed.table_name OPERATOR(pg_catalog.=) %2$L'
        ' AND departed.table_schema OPERATOR(pg_catalog.=) %1$L'
        ' AND departed.previous_key OPERATOR(pg_catalog.=) last.row_key'
        ' AND departed.captured_at OPERATOR(pg_catalog.<) %5$L'
        ' AND departed.id OPERATOR(pg_catalog.>) last.id'
        -- While keys are swapped, one may come before the other leaves.
        ' AND (departed.data_after OPERATOR(pg_catalog.||) departed.changed_from)'
        ' OPERATOR(pg_catalog.=) last.data_after)'
    ' FROM @threadline@.audit_changes AS last'
    ' WHERE last.table_name OPERATOR(pg_catalog.=) %2$L'
    ' AND last.table_schema OPERATOR(pg_catalog.=) %1$L'
    ' AND last.row_key OPERATOR(pg_catalog.=) %3$s'
    ' AND last.captured_at OPERATOR(pg_catalog.<) %5$L'
    ' ORDER BY last.id DESC LIMIT 1) IS TRUE',
    table_schema, table_name, key, last_truncate, before
);

-- An expression for whether a run has nothing to record for the row with a key: because the trail
-- knows the row, or, where all rows are to be recorded, because the run has recorded it.
CREATE OR REPLACE FUNCTION @threadline@.settled_row(
    run @threadline@.audit_baseline_runs, key text, before timestamptz
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE run.selection
    WHEN 'unknown' THEN @threadline@.known_row(
        run.table_schema, run.table_name, key, run.last_truncate, before
    )
    ELSE format(
        'EXISTS (SELECT FROM @threadline@.audit_changes AS recorded'
        ' WHERE recorded.table_name OPERATOR(pg_catalog.=) %2$L'
        ' AND recorded.table_schema OPERATOR(pg_catalog.=) %1$L'
        ' AND recorded.row_key OPERATOR(pg_catalog.=) %3$s'
        ' AND recorded.captured_at OPERATOR(pg_catalog.<) %5$L'
        ' AND recorded.id OPERATOR(pg_catalog.>) %4$s'
        ' AND recorded.op OPERATOR(pg_catalog.=) ''baseline'')',
        run.table_schema, run.table_name, key, run.first_change, before
    )
END;

-- The newest change that emptied a table, 0 if there is none.
CREATE OR REPLACE FUNCTION @threadline@.last_truncate(of_schema text, of_table text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT COALESCE(max(change.id), 0) FROM @threadline@.audit_changes AS change
    WHERE change.table_name = of_table AND change.table_schema = of_schema
        AND change.op = 'truncate' AND change.partition_name IS NULL
);
