-- Tables as of an instant by way of the present: what was not changed since then is as it is now, so
-- only what was changed since is looked up in the trail. What that costs grows with the changes since
-- the instant, not with those before it; and a condition on the table's columns finds its rows by the
-- table's own indexes.
--
-- It is right only while nothing but captured changes can have made the present from the past. Where
-- that is not certain, the trail alone answers, as in table_as_of.

-- Whether a change that was visible as of an instant bears witness that the table has not been
-- altered since: it was written by this very cluster (its row shows the transaction that its id
-- names, or a savepoint of that), after every alteration of the table's columns; and it tells the
-- same columns as the table has now, by the same rules and the same key.
--
-- Here and below in bodies whose plans are kept: making them takes several times as long as asking.
CREATE OR REPLACE FUNCTION @threadline@.is_unaltered_since(
    relation regclass, of_schema text, of_table text, policy jsonb, instant timestamptz
) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $unaltered$
DECLARE
    key text[] := ARRAY(
        SELECT jsonb_array_elements_text(
            CASE WHEN jsonb_typeof(policy -> 'key') = 'object' THEN policy #> '{key,columns}' ELSE '[]' END
        )
    );
    newest bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    altered bigint;
    witness record;
BEGIN
    -- A row shows half of an xid: the newest transaction that it can mean is the one to beware of.
    SELECT max(shown.xid - CASE WHEN shown.xid > newest THEN 4294967296 ELSE 0 END) INTO altered
    FROM (
        SELECT (newest & ~4294967295) | attribute.xmin::text::bigint AS xid FROM pg_attribute AS attribute
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS shown;
    FOR witness IN
        SELECT recent.xmin::text::bigint AS shown,
            ('x' || right(replace(recent.transaction_id::text, '-', ''), 16))::bit(64)::bigint AS xid,
            CASE WHEN recent.op = 'delete' THEN recent.changed_from ELSE recent.data_after END AS image,
            recent.table_pk
        FROM @threadline@.audit_changes AS recent
        WHERE recent.table_name = of_table AND recent.table_schema = of_schema
            AND recent.captured_at <= instant
        ORDER BY recent.captured_at DESC LIMIT 20
    LOOP
        CONTINUE WHEN (witness.shown - witness.xid) & 4294967295 >= 1000 OR witness.xid <= altered;
        IF witness.table_pk ?& key AND witness.table_pk - key = '{}' AND NOT EXISTS (
            SELECT FROM pg_attribute AS attribute
            LEFT JOIN jsonb_array_elements(policy -> 'columns') AS declared
                ON declared ->> 'name' = attribute.attname
            WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
                AND CASE declared ->> 'rule'
                    WHEN 'exclude' THEN witness.image ? attribute.attname
                    WHEN 'mask' THEN (witness.image ->> attribute.attname = policy ->> 'mask_with') IS NOT TRUE
                    WHEN 'clear' THEN NOT witness.image ? attribute.attname
                        OR witness.image ->> attribute.attname IN ('[REDACTED]', policy ->> 'mask_with')
                    ELSE true
                END
        ) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$unaltered$;

-- The policy that a table's capture was generated from.
CREATE OR REPLACE FUNCTION @threadline@.kept_policy(relation regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $policy$
BEGIN
    RETURN COALESCE((
        SELECT obj_description(tgfoid, 'pg_proc')::jsonb -> 'table' FROM pg_trigger
        WHERE tgrelid = relation AND tgname = '00_threadline_update'
            AND obj_description(tgfoid, 'pg_proc') LIKE '{%'
        LIMIT 1
    ), '{}');
END
$policy$;

-- Why the present cannot tell a table's past; null if it can. With the owner's rights, for whoever
-- reads changes needs it.
CREATE OR REPLACE FUNCTION @threadline@.rewinding_obstacle(
    of_schema text, of_table text, instant timestamptz
) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $obstacle$
DECLARE
    relation regclass := @threadline@.relation_named(of_schema, of_table);
    policy jsonb := @threadline@.kept_policy(relation);
    enrolled record;
BEGIN
    -- Partitions that are attached or detached bring and take rows without a change.
    IF NOT EXISTS (
        SELECT FROM pg_class AS class
        WHERE class.oid = relation AND class.relkind = 'r' AND class.relpersistence = 'p'
            AND NOT class.relispartition
    ) OR EXISTS (SELECT FROM pg_inherits WHERE relation IN (inhparent, inhrelid)) THEN
        RETURN 'it is partitioned, inherits, or is not logged';
    ELSIF 4 <> (
        SELECT count(*) FROM pg_trigger
        WHERE tgrelid = relation AND tgenabled IN ('O', 'A') AND tgname IN (
            '00_threadline_insert', '00_threadline_update', '00_threadline_delete', '00_threadline_truncate'
        )
    ) THEN
        RETURN 'it is not captured now';
    ELSIF NOT @threadline@.tells_rows_apart(relation, @threadline@.declared_key(policy)) THEN
        RETURN 'no key tells its rows apart at every moment';
    END IF;
    SELECT enrolment.event, enrolment.enrolled_at INTO enrolled
    FROM @threadline@.audit_enrolments AS enrolment
    WHERE enrolment.table_name = of_table AND enrolment.table_schema = of_schema
    ORDER BY enrolment.id DESC LIMIT 1;
    IF (enrolled.event = 'attached' AND enrolled.enrolled_at <= instant) IS NOT TRUE THEN
        RETURN 'it has not been captured ever since';
    ELSIF EXISTS (
        SELECT FROM @threadline@.audit_suspended_writes AS unseen
        -- When the statement began; a day is more than one takes.
        WHERE unseen.table_name = of_table AND unseen.table_schema = of_schema
            AND unseen.statement_at > instant - interval '1 day'
    ) THEN
        RETURN 'capture was suspended';
    ELSIF EXISTS (
        SELECT FROM @threadline@.audit_changes AS emptied
        WHERE emptied.table_name = of_table AND emptied.table_schema = of_schema
            AND emptied.row_key IS NULL AND emptied.captured_at > instant
    ) OR EXISTS (
        SELECT FROM @threadline@.audit_changes AS emptied
        WHERE emptied.table_name = of_table AND emptied.table_schema = of_schema
            AND emptied.row_key IS NULL AND emptied.partition_name IS NOT NULL
    ) THEN
        RETURN 'it was emptied';
    ELSIF NOT @threadline@.is_unaltered_since(relation, of_schema, of_table, policy, instant) THEN
        RETURN 'its columns were altered, or may have been';
    END IF;
    RETURN NULL;
END
$obstacle$;

-- Stands in every query that rewinds, so that it is never run where its ground is gone.
CREATE OR REPLACE FUNCTION @threadline@.can_still_rewind(
    of_schema text, of_table text, instant timestamptz
) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $still$
DECLARE
    obstacle text := @threadline@.rewinding_obstacle(of_schema, of_table, instant);
BEGIN
    IF obstacle IS NOT NULL THEN
        RAISE EXCEPTION 'table %.% cannot be rewound to % any more: %', of_schema, of_table, instant, obstacle
            USING ERRCODE = 'serialization_failure', HINT = 'Ask again: the trail alone will answer.';
    END IF;
    RETURN true;
END
$still$;

-- Whether the trail tells every row that a table had at an instant since when it is captured: because
-- the table was empty when capture began, or a baseline had been finished by then.
CREATE OR REPLACE FUNCTION @threadline@.is_known_whole(
    of_schema text, of_table text, instant timestamptz
) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN COALESCE((
    SELECT enrolment.table_was_empty OR EXISTS (
        SELECT FROM @threadline@.audit_baseline_runs AS run
        WHERE run.table_name = of_table AND run.table_schema = of_schema AND run.state = 'finished'
            AND run.started_at > enrolment.enrolled_at AND run.ended_at <= instant
    )
    FROM @threadline@.audit_enrolments AS enrolment
    WHERE enrolment.table_name = of_table AND enrolment.table_schema = of_schema
    ORDER BY enrolment.id DESC LIMIT 1
), false);

-- The columns of a table as they are now, in the types and the order of columns_from_image. What
-- capture does not store shows as it would in an image, never in clear. `row_key` is the expression
-- for the key as capture writes it.
CREATE OR REPLACE FUNCTION @threadline@.columns_of_present(
    relation regclass, allow_unknown boolean, OUT expressions text, OUT row_key text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $present$
DECLARE
    policy jsonb := @threadline@.kept_policy(relation);
BEGIN
    SELECT
        COALESCE(string_agg(
            CASE
                WHEN col.rule = 'clear' AND col.is_plain THEN col.value
                WHEN col.rule = 'clear' THEN format('%s::%s AS %I', col.value, col.type_name, col.name)
                WHEN col.rule = 'mask' AND col.is_text
                    THEN format('%L::%s AS %I', policy ->> 'mask_with', col.type_name, col.name)
                ELSE format('NULL::%s AS %I', col.type_name, col.name)
            END, ', ' ORDER BY col.attnum
        ) FILTER (WHERE allow_unknown OR col.rule = 'clear'), ''),
        format(
            CASE WHEN bool_and(col.is_short) FILTER (WHERE col.is_key)
                    AND count(*) FILTER (WHERE col.is_key) = 1
                THEN '%s COLLATE pg_catalog."C"'
                ELSE '@threadline@.row_key(%s) COLLATE pg_catalog."C"' END,
            string_agg(
                CASE WHEN col.is_short OR col.shown_as_text THEN format('%s::pg_catalog.text', col.value)
                    ELSE format('(pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.#>>) ''{}'')',
                        @threadline@.lossless(col.value, col.base_name)) END,
                ', ' ORDER BY col.name COLLATE "C"
            ) FILTER (WHERE col.is_key)
        )
    INTO expressions, row_key
    FROM (
        SELECT attribute.attnum, attribute.attname AS name, declared ->> 'rule' AS rule,
            format('"as it is now".%I', attribute.attname) AS value,
            format_type(type.oid, -1) AS type_name,
            type.oid = attribute.atttypid AS is_plain, type.typname::text AS base_name, type.typcategory = 'S' AS is_text,
            COALESCE(policy #> '{key,columns}' ? attribute.attname::text, false) AS is_key,
            -- Never too long for an index, and the same as text as in JSON.
            attribute.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype) AS is_short,
            declared -> 'column_type' ? 'other' AS shown_as_text
        FROM pg_attribute AS attribute
        JOIN pg_type AS own ON own.oid = attribute.atttypid
        JOIN pg_type AS type
            ON type.oid = CASE WHEN own.typtype = 'd' THEN @threadline@.base_type(own.oid) ELSE own.oid END
        LEFT JOIN jsonb_array_elements(policy -> 'columns') AS declared
            ON declared ->> 'name' = attribute.attname
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS col;
END
$present$;
