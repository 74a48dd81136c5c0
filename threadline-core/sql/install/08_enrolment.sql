-- Putting a table under capture, and taking it out: called by generated migrations.

-- Stops a migration whose declaration contradicts the table it finds.
CREATE OR REPLACE FUNCTION @threadline@.check_declaration(declared jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $check$
DECLARE
    shown text := format('%I.%I', declared #>> '{name,schema}', declared #>> '{name,name}');
    relation regclass := to_regclass(shown);
    kind "char";
    declared_key text[] := ARRAY(
        SELECT jsonb_array_elements_text(
            CASE WHEN jsonb_typeof(declared -> 'key') = 'object' THEN declared #> '{key,columns}'
            ELSE '[]' END
        )
    );
    table_key text[];
    difference record;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'table % does not exist', shown
            USING HINT = 'Run the migration that creates it first, or correct its name in the code.';
    END IF;
    SELECT relkind INTO kind FROM pg_class WHERE oid = relation;
    IF kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table, so its rows cannot be captured', shown
            USING HINT = 'Audit the tables behind it.';
    END IF;
    IF (SELECT relispartition FROM pg_class WHERE oid = relation) THEN
        RAISE EXCEPTION 'table % is a partition of %', shown, pg_partition_root(relation)
            USING HINT = format('Audit %s: its partitions are captured with it.', pg_partition_root(relation));
    END IF;
    -- Triggers of one name can be of one table only.
    FOR difference IN SELECT related.* FROM @threadline@.captured_relatives(relation) AS related LIMIT 1 LOOP
        RAISE EXCEPTION 'table % is an inheritance child of %, with which it is captured', difference.child, difference.parent
            USING HINT = 'Audit one of the two; to change from one to the other, gen-triggers --retire the one first.';
    END LOOP;
    IF (SELECT relpersistence FROM pg_class WHERE oid = relation) = 'u' THEN
        RAISE WARNING 'table % is unlogged: after a crash it is empty, and its trail is not', shown;
    END IF;

    -- Columns that the code names must be there, with the types it names.
    FOR difference IN
        SELECT col ->> 'name' AS name, type.typname AS found,
            COALESCE(col #>> '{column_type,builtin}', col #>> '{column_type,array}') AS wanted,
            col -> 'column_type' ? 'array' AS wants_array
        FROM jsonb_array_elements(declared -> 'columns') AS col
        LEFT JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation AND attribute.attname = col ->> 'name'
                AND attribute.attnum > 0 AND NOT attribute.attisdropped
        LEFT JOIN LATERAL @threadline@.base_type(attribute.atttypid) AS base ON true
        LEFT JOIN pg_type AS type ON type.oid = base
    LOOP
        IF difference.found IS NULL THEN
            RAISE EXCEPTION 'table %: column "%" is declared in the code, but not in the database',
                shown, difference.name
                USING HINT = 'Run the migration that adds it first, or take it out of the code (diesel print-schema) and generate again.';
        END IF;
        CONTINUE WHEN difference.wanted IS NULL;
        IF difference.wants_array THEN
            difference.wanted := '_' || difference.wanted;
        END IF;
        CONTINUE WHEN difference.wanted = difference.found
            OR difference.wanted IN ('text', 'varchar', 'bpchar', 'name')
                AND difference.found IN ('text', 'varchar', 'bpchar', 'name', 'citext')
            OR difference.wanted IN ('_text', '_varchar', '_bpchar')
                AND difference.found IN ('_text', '_varchar', '_bpchar');
        RAISE EXCEPTION 'table %: column "%" is declared as %, but is % in the database',
            shown, difference.name, difference.wanted, difference.found
            USING HINT = 'Correct the type in the code (diesel print-schema) and generate again.';
    END LOOP;

    -- A virtual generated column is computed when it is read, and no trigger sees its value.
    FOR difference IN
        SELECT col ->> 'name' AS name
        FROM jsonb_array_elements(declared -> 'columns') AS col
        WHERE col ->> 'rule' <> 'exclude' AND @threadline@.has_virtual(shown, ARRAY[col ->> 'name'])
    LOOP
        RAISE EXCEPTION 'table %: column "%" is a virtual generated column, whose values no trigger sees',
            shown, difference.name
            USING HINT = format('Exclude it in the code, #[audited(exclude(%s))] or --exclude %1$s, and generate again; or have it stored: GENERATED ALWAYS AS (...) STORED.', difference.name);
    END LOOP;

    -- Columns that nobody classified are not captured, which somebody should know.
    FOR difference IN
        SELECT attribute.attname AS name
        FROM pg_attribute AS attribute
        WHERE attribute.attrelid = relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
            AND attribute.attgenerated <> 'v'
            AND NOT EXISTS (
                SELECT FROM jsonb_array_elements(declared -> 'columns') AS col
                WHERE col ->> 'name' = attribute.attname
            )
    LOOP
        RAISE WARNING 'table %: column "%" is not declared in the code, so its values will not be captured',
            shown, difference.name;
    END LOOP;

    -- The key must be the table's key.
    SELECT array_agg(attribute.attname::text ORDER BY position) INTO table_key
    FROM pg_index AS index
    CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (attnum, position)
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = relation AND attribute.attnum = part.attnum
    WHERE index.indrelid = relation AND index.indisprimary AND position <= index.indnkeyatts;
    IF table_key IS NOT NULL THEN
        IF NOT (table_key @> declared_key AND declared_key @> table_key) THEN
            RAISE EXCEPTION 'table %: its primary key is (%), but the code declares %',
                shown, array_to_string(table_key, ', '),
                COALESCE('(' || NULLIF(array_to_string(declared_key, ', '), '') || ')', 'no key')
                USING HINT = 'Correct the key in the code (diesel print-schema) and generate again.';
        END IF;
    ELSIF cardinality(declared_key) > 0
        AND NOT @threadline@.is_unique_key(relation, declared_key)
    THEN
        RAISE EXCEPTION 'table % has no primary key, and no unique index makes (%) one',
            shown, array_to_string(declared_key, ', ')
            USING HINT = 'Add a primary key, or a plain unique index over columns that are NOT NULL, or declare the table without a key.';
    END IF;
END
$check$;

-- Whether a unique index tells rows apart by exactly these columns, always and at once.
CREATE OR REPLACE FUNCTION @threadline@.is_unique_key(relation regclass, key text[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT
    FROM pg_index AS index
    WHERE index.indrelid = relation AND index.indisunique AND index.indisvalid
        AND index.indisready AND index.indimmediate AND index.indpred IS NULL
        AND index.indexprs IS NULL
        AND index.indnkeyatts = cardinality(key)
        AND NOT EXISTS (
            SELECT
            FROM unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (attnum, position)
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = relation AND attribute.attnum = part.attnum
            WHERE part.position <= index.indnkeyatts
                AND NOT (attribute.attnotnull AND attribute.attname = ANY (key))
        )
);

-- Writes the policy that the capture functions of a table carry, where the catalog can be asked
-- for it, with digests of their bodies: a function that was changed by hand no longer has its own.
CREATE OR REPLACE FUNCTION @threadline@.deploy_policy(
    policy jsonb, row_function text, statement_function text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $deploy$
DECLARE
    function text;
    -- What the columns are by number: names can be swapped.
    attributes jsonb := (
        SELECT jsonb_object_agg(attname, attnum) FROM pg_attribute
        WHERE attrelid = to_regclass(format(
                '%I.%I', policy #>> '{table,name,schema}', policy #>> '{table,name,name}'
            )) AND attnum > 0 AND NOT attisdropped
    );
BEGIN
    FOREACH function IN ARRAY ARRAY[row_function, statement_function] LOOP
        EXECUTE format(
            'COMMENT ON FUNCTION %s() IS %L', function,
            policy || jsonb_build_object('attributes', attributes, 'body', (
                SELECT encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') FROM pg_proc
                WHERE oid = (function || '()')::regprocedure
            ))
        );
        -- What default privileges gave on it.
        PERFORM @threadline@.take_back('FUNCTION', function || '()', privilege.grantee)
        FROM pg_proc AS deployed CROSS JOIN LATERAL aclexplode(deployed.proacl) AS privilege
        WHERE deployed.oid = (function || '()')::regprocedure AND privilege.grantee <> deployed.proowner;
    END LOOP;
END
$deploy$;

-- Creates a trigger, unless it is there and as wanted: creating one locks the table.
CREATE OR REPLACE FUNCTION @threadline@.ensure_trigger(
    relation regclass, trigger_name text, events integer, function text, arguments text[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $ensure$
DECLARE
    target regprocedure := (function || '()')::regprocedure;
    stored_arguments bytea := COALESCE(
        (SELECT string_agg(convert_to(argument, getdatabaseencoding()) || '\x00', '')
         FROM unnest(arguments) AS argument),
        ''
    );
BEGIN
    IF EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = relation AND tgname = trigger_name AND tgfoid = target
            AND tgtype = events AND tgargs = stored_arguments AND tgqual IS NULL
            AND tgattr = ''::int2vector
            AND tgenabled IN ('O', 'A')
    ) THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH %s EXECUTE FUNCTION %s(%s)',
        trigger_name,
        CASE events & ~1
            WHEN 4 THEN 'AFTER INSERT' WHEN 8 THEN 'AFTER DELETE'
            WHEN 16 THEN 'AFTER UPDATE' WHEN 6 THEN 'BEFORE INSERT' WHEN 10 THEN 'BEFORE DELETE'
            WHEN 18 THEN 'BEFORE UPDATE' WHEN 34 THEN 'BEFORE TRUNCATE'
        END,
        relation,
        CASE events
            WHEN 4 THEN 'REFERENCING NEW TABLE AS captured_rows'
            WHEN 8 THEN 'REFERENCING OLD TABLE AS captured_rows'
            ELSE ''
        END,
        CASE events & 1 WHEN 1 THEN 'ROW' ELSE 'STATEMENT' END,
        function,
        (SELECT string_agg(quote_literal(argument), ', ') FROM unnest(arguments) AS argument)
    );
    EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', relation, trigger_name);
END
$ensure$;

-- The tables that hold the rows of tables, themselves first.
CREATE OR REPLACE FUNCTION @threadline@.families_of(tables text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    WITH RECURSIVE family (oid, place, depth) AS (
        SELECT to_regclass(given)::oid, given, 0 FROM unnest(tables) AS given WHERE to_regclass(given) IS NOT NULL
        UNION
        SELECT inherits.inhrelid, family.place, family.depth + 1
        FROM pg_inherits AS inherits JOIN family ON inherits.inhparent = family.oid
    )
    SELECT COALESCE(array_agg(family.oid::regclass::text ORDER BY family.place, family.depth, family.oid), '{}')
    FROM family
);

-- Locks tables that are about to get triggers, all or none, without ever making a writer a victim.
CREATE OR REPLACE FUNCTION @threadline@.lock_for_enrolment(tables text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $lock$
DECLARE
    waiting text[] := ARRAY(
        SELECT given FROM unnest(tables) AS given
        WHERE to_regclass(given) IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = to_regclass(given) AND tgname = '00_threadline_update' AND tgenabled IN ('O', 'A')
        )
        ORDER BY given
    );
BEGIN
    -- Two migrations of one kind would replace the same functions.
    PERFORM pg_advisory_xact_lock(hashtextextended('threadline enrolment', 0));
    IF NOT @threadline@.lock_patiently(@threadline@.families_of(waiting), 'SHARE ROW EXCLUSIVE') THEN
        RAISE EXCEPTION 'tables are too busy to put them under capture: %', array_to_string(waiting, ', ')
            USING ERRCODE = 'lock_not_available',
                  HINT = 'Run the migration again at a quieter time; nothing was changed.';
    END IF;
END
$lock$;

-- Puts the capture triggers on a table and on everything that holds its rows.
--
-- Updates are captured row by row everywhere. Inserts and deletes are captured by the statement,
-- which halves what bulk writes cost, but only where that sees everything in order:
-- * a statement trigger on a partitioned table misses writes that name a partition, and one on a
--   parent misses its children, so there row triggers do it (partitions get them from the root,
--   also when they are attached later; children are visited here);
-- * a host's own AFTER ROW trigger runs before a statement trigger, so what it changes would be
--   recorded before what caused it.
-- The names sort before any other trigger's, since PostgreSQL fires by name. What has to be the last
-- word before a row of a partitioned table is written (see 13_row_movement.sql) sorts after them.
CREATE OR REPLACE FUNCTION @threadline@.attach_capture(
    declared jsonb, row_function text, statement_function text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $attach$
DECLARE
    root regclass := format('%I.%I', declared #>> '{name,schema}', declared #>> '{name,name}')::regclass;
    name text[] := ARRAY[declared #>> '{name,schema}', declared #>> '{name,name}'];
    partitioned boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = root);
    has_children boolean := EXISTS (SELECT FROM pg_inherits WHERE inhparent = root);
    row_level boolean := partitioned OR has_children OR EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = root AND NOT tgisinternal AND tgname NOT LIKE '00\_threadline\_%'
            AND tgtype::integer & 3 = 1 -- AFTER, FOR EACH ROW
    );
    relation regclass;
    truncate_arguments text[] := ARRAY[
        declared #>> '{name,schema}', declared #>> '{name,name}', declared ->> 'truncate',
        declared ->> 'actor'
    ];
BEGIN
    PERFORM @threadline@.note_attached(declared #>> '{name,schema}', declared #>> '{name,name}', root);
    FOR relation IN
        WITH RECURSIVE family (oid) AS (
            SELECT root::oid
            UNION
            SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = family.oid
        )
        SELECT oid FROM family
    LOOP
        IF relation = root AND partitioned THEN
            PERFORM @threadline@.ensure_trigger(relation, '~threadline_update', 19, '@threadline@.note_update', '{}'),
                @threadline@.ensure_trigger(relation, '00_threadline_leave', 11, '@threadline@.leave_partition', name),
                @threadline@.ensure_trigger(relation, '00_threadline_come', 7, '@threadline@.come_to_partition', '{}'),
                @threadline@.ensure_trigger(relation, '~threadline_insert', 7, '@threadline@.settle_in_partition', '{}');
        END IF;
        IF relation = root OR NOT partitioned THEN
            PERFORM @threadline@.ensure_trigger(relation, '00_threadline_update', 17, row_function, '{}');
            IF row_level THEN
                PERFORM @threadline@.ensure_trigger(relation, '00_threadline_insert', 5, row_function, '{}');
                PERFORM @threadline@.ensure_trigger(relation, '00_threadline_delete', 9, row_function, '{}');
            ELSE
                PERFORM @threadline@.ensure_trigger(relation, '00_threadline_insert', 4, statement_function, '{}');
                PERFORM @threadline@.ensure_trigger(relation, '00_threadline_delete', 8, statement_function, '{}');
            END IF;
        END IF;
        PERFORM @threadline@.ensure_trigger(
            relation, '00_threadline_truncate', 34, '@threadline@.capture_truncate', truncate_arguments
        );
    END LOOP;
END
$attach$;

-- Puts the triggers of a deployed policy where they belong now: after a partition or a child was
-- added, a trigger dropped, or a trigger of the host's own created.
CREATE OR REPLACE FUNCTION @threadline@.refresh_capture(table_schema text, table_name text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $refresh$
DECLARE
    declared jsonb;
    row_function text;
    statement_function text;
    lacking text[];
BEGIN
    SELECT (array_agg(policy -> 'table'))[1],
        min(format('@threadline@.%I', proname)) FILTER (WHERE proname LIKE 'capture\_row\_%'),
        min(format('@threadline@.%I', proname)) FILTER (WHERE proname LIKE 'capture\_statement\_%')
    INTO declared, row_function, statement_function
    FROM pg_proc CROSS JOIN LATERAL @threadline@.policy_of(pg_proc.oid) AS policy
    WHERE pronamespace = '@threadline@'::regnamespace AND proname LIKE 'capture\_%'
        AND policy #>> '{table,name,schema}' = refresh_capture.table_schema
        AND policy #>> '{table,name,name}' = refresh_capture.table_name;
    IF declared IS NULL THEN
        RAISE EXCEPTION 'table %.% has no capture policy', table_schema, table_name
            USING HINT = 'Declare it in the code and run gen-triggers.';
    END IF;
    -- Those that get a trigger, all at once; where all is well, none.
    lacking := ARRAY(
        SELECT holder FROM unnest(@threadline@.families_of(
            ARRAY[format('%I.%I', refresh_capture.table_schema, refresh_capture.table_name)]
        )) WITH ORDINALITY AS family (holder, place)
        WHERE EXISTS (
            SELECT FROM @threadline@.expected_triggers() AS expected
            LEFT JOIN pg_trigger AS trigger
                ON trigger.tgrelid = expected.relation AND trigger.tgname = expected.trigger_name
            WHERE expected.relation = holder::regclass AND expected.table_schema = refresh_capture.table_schema
                AND expected.table_name = refresh_capture.table_name
                AND (trigger.tgenabled IN ('O', 'A') AND trigger.tgtype = ANY (expected.levels)
                    AND trigger.tgfoid = ANY (expected.functions) AND trigger.tgqual IS NULL
                    AND trigger.tgattr = ''::int2vector
                    AND trigger.tgargs = @threadline@.trigger_arguments(expected.arguments)) IS NOT TRUE
        )
        ORDER BY place
    );
    IF NOT @threadline@.lock_patiently(lacking, 'SHARE ROW EXCLUSIVE') THEN
        RAISE EXCEPTION 'tables are too busy to put their triggers in order: %', array_to_string(lacking, ', ')
            USING ERRCODE = 'lock_not_available',
                  HINT = 'Call it again at a quieter time; nothing was changed.';
    END IF;
    PERFORM @threadline@.attach_capture(declared, row_function, statement_function);
END
$refresh$;

-- Takes the capture triggers off a table and everything that holds its rows. Its trail stays.
CREATE OR REPLACE FUNCTION @threadline@.detach_capture(table_schema text, table_name text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $detach$
DECLARE
    found_trigger record;
BEGIN
    PERFORM @threadline@.note_detached(table_schema, table_name);
    PERFORM @threadline@.lock_patiently(
        @threadline@.families_of(ARRAY[format('%I.%I', table_schema, table_name)]), 'ACCESS EXCLUSIVE');
    FOR found_trigger IN
        WITH RECURSIVE family (oid) AS (
            SELECT to_regclass(format('%I.%I', table_schema, table_name))::oid
            UNION
            SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = family.oid
        )
        SELECT tgrelid::regclass AS relation, tgname
        FROM pg_trigger JOIN family ON tgrelid = family.oid
        -- Triggers of partitions go with their root's.
        WHERE (tgname LIKE '00\_threadline\_%' OR tgname LIKE '~threadline\_%') AND tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found_trigger.tgname, found_trigger.relation);
    END LOOP;
END
$detach$;
