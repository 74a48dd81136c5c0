-- Enabling and disabling capture of a table; called by generated migrations.

-- A relation with its partitions and inheritance children.
CREATE FUNCTION @threadline@.relations_of(root regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE family (oid, depth) AS (
        SELECT root::oid, 0
        UNION
        SELECT inhrelid, depth + 1 FROM pg_inherits JOIN family ON inhparent = family.oid
    )
    SELECT oid::regclass FROM family GROUP BY oid ORDER BY min(depth), oid;
END;

-- Locks all of the tables or, if an attempt fails, none. An attempt waits for less than the default
-- deadlock_timeout, so that no writer is aborted by a deadlock.
CREATE FUNCTION @threadline@.lock_tables_with_retry(tables regclass[], lock_mode text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relations text := (
        SELECT string_agg(relation::text, ', ')
        FROM (SELECT DISTINCT @threadline@.relations_of(root) AS relation FROM unnest(tables) AS root) AS found
    );
    timeout_before text := current_setting('lock_timeout');
BEGIN
    IF relations IS NULL THEN
        RETURN;
    END IF;
    FOR attempt IN 1 .. 100 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '250ms', true);
            EXECUTE format('LOCK TABLE %s IN %s MODE', relations, lock_mode);
            PERFORM set_config('lock_timeout', timeout_before, true);
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.05 + random() * 0.1);
        END;
    END LOOP;
    RAISE EXCEPTION 'tables are busy: %', relations
        USING ERRCODE = 'lock_not_available',
              HINT = 'Nothing was changed. Run the migration again when fewer long transactions are running.';
END
$$;

-- Called first by a generated migration. Serializes enrolments, and blocks writes to tables that get
-- triggers until the migration commits. Tables that have their triggers are not locked, so that replacing
-- a function does not block writers; enable_capture reports tables that do not exist.
CREATE FUNCTION @threadline@.lock_for_enrolment(VARIADIC tables text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('@threadline@ enrolment', 0));
    PERFORM @threadline@.lock_tables_with_retry(
        ARRAY(
            SELECT to_regclass(given) FROM unnest(tables) AS given
            WHERE EXISTS (
                SELECT @threadline@.relations_of(to_regclass(given))
                EXCEPT
                SELECT tgrelid FROM pg_trigger WHERE tgname = '00_threadline_capture' AND tgenabled IN ('O', 'A')
            )
        ),
        'SHARE ROW EXCLUSIVE'
    );
END
$$;

-- Raises an error if a declaration contradicts the table.
CREATE FUNCTION @threadline@.check_declaration(shown text, relation regclass, declared jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    table_class pg_class;
    key text[] := ARRAY(SELECT jsonb_array_elements_text(declared #> '{key,columns}'));
    primary_key text[];
    key_is_unique boolean;
    wanted record;
BEGIN
    SELECT * INTO table_class FROM pg_class WHERE oid = relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % does not exist', shown
            USING HINT = 'Run the migration that creates it first, or correct its name in the code.';
    ELSIF table_class.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table, so its rows cannot be captured', shown
            USING HINT = 'Audit the tables that it reads.';
    ELSIF table_class.relispartition THEN
        RAISE EXCEPTION 'table % is a partition of %', shown, pg_partition_root(relation)
            USING HINT = format('Audit %s: its partitions are captured with it.', pg_partition_root(relation));
    END IF;
    -- Inheritance children have the capture triggers of their parent, so they cannot have their own.
    SELECT other AS name INTO wanted
    FROM @threadline@.relations_of(relation) AS holder
    CROSS JOIN LATERAL @threadline@.deployed_policy(holder) AS policy
    CROSS JOIN to_regclass(quote_ident(policy #>> '{name,schema}') || '.' || quote_ident(policy #>> '{name,name}')) AS other
    WHERE other <> relation;
    IF FOUND THEN
        RAISE EXCEPTION 'of the tables % and %, which would both be captured, one is an inheritance child of the other', shown, wanted.name
            USING HINT = 'Audit the parent: its children are captured with it. Disable capture of the other first.';
    END IF;
    FOR wanted IN
        SELECT col ->> 'name' AS name, col ->> 'rule' AS rule, type.typname AS found, attribute.attgenerated AS generated,
            coalesce(col #>> '{column_type,builtin}', '_' || (col #>> '{column_type,array}')) AS declared_type
        FROM jsonb_array_elements(declared -> 'columns') AS col
        LEFT JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation AND attribute.attname = col ->> 'name'
                AND attribute.attnum > 0 AND NOT attribute.attisdropped
        LEFT JOIN pg_type AS type ON type.oid = @threadline@.base_type(attribute.atttypid)
    LOOP
        IF wanted.found IS NULL THEN
            RAISE EXCEPTION 'table %: column "%" is declared in the code, but not in the database', shown, wanted.name
                USING HINT = 'Run the migration that adds it first, or take it out of the code (diesel print-schema) and generate again.';
        ELSIF wanted.generated = 'v' AND wanted.rule <> 'exclude' THEN
            RAISE EXCEPTION 'table %: column "%" is a virtual generated column, whose values no trigger sees', shown, wanted.name
                USING HINT = format('Exclude it, #[audited(exclude(%s))] or --exclude %1$s, and generate again; or have it stored: GENERATED ALWAYS AS (...) STORED.', wanted.name);
        ELSIF wanted.declared_type <> wanted.found
            AND NOT (ltrim(wanted.declared_type, '_') IN ('text', 'varchar', 'bpchar', 'name')
                AND wanted.found IN ('text', 'varchar', 'bpchar', 'name', 'citext', '_text', '_varchar', '_bpchar')
                AND starts_with(wanted.declared_type, '_') = starts_with(wanted.found, '_'))
        THEN
            RAISE EXCEPTION 'table %: column "%" is declared as %, but is % in the database',
                shown, wanted.name, wanted.declared_type, wanted.found
                USING HINT = 'Correct the type in the code (diesel print-schema) and generate again.';
        END IF;
    END LOOP;
    -- The primary key, and the unique indexes whose columns are the declared key.
    SELECT max(columns) FILTER (WHERE indisprimary), coalesce(bool_or(columns @> key AND key @> columns), false)
    INTO primary_key, key_is_unique
    FROM (
        SELECT indisprimary, array_agg(attname::text ORDER BY position) AS columns
        FROM pg_index
        CROSS JOIN unnest(indkey::smallint[]) WITH ORDINALITY AS part (number, position)
        JOIN pg_attribute ON attrelid = relation AND attnum = number
        WHERE indrelid = relation AND position <= indnkeyatts
            AND (indisprimary OR indisunique AND indisvalid AND indimmediate AND indpred IS NULL AND indexprs IS NULL)
        GROUP BY indexrelid, indisprimary
        HAVING bool_and(attnotnull)
    ) AS candidate;
    IF primary_key IS NOT NULL AND NOT (primary_key @> key AND key @> primary_key) THEN
        RAISE EXCEPTION 'table %: its primary key is (%), but the code declares %', shown, array_to_string(primary_key, ', '),
            coalesce('(' || nullif(array_to_string(key, ', '), '') || ')', 'no key')
            USING HINT = 'Correct the key in the code (diesel print-schema) and generate again.';
    ELSIF primary_key IS NULL AND cardinality(key) > 0 AND NOT key_is_unique THEN
        RAISE EXCEPTION 'table % has no primary key, and no unique index makes (%) one', shown, array_to_string(key, ', ')
            USING HINT = 'Add a primary key, or a plain unique index over columns that are NOT NULL, or declare the table without a key.';
    END IF;
END
$$;

-- Creates or replaces a trigger unless it exists with this definition, in the form of pg_get_triggerdef, and
-- is enabled. Returns whether it did.
CREATE FUNCTION @threadline@.create_trigger(relation regclass, name text, definition text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = relation AND tgname = name AND tgenabled IN ('O', 'A')
            AND pg_get_triggerdef(oid) = format('CREATE TRIGGER %I %s', name, definition)
    ) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE OR REPLACE TRIGGER %I %s', name, definition);
    EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', relation, name);
    RETURN true;
END
$$;

-- Creates capture triggers that are missing or differ. PostgreSQL copies row triggers of a partitioned
-- table to its partitions, also to those attached later, but neither truncate triggers nor triggers to
-- inheritance children. Returns whether all row triggers existed. The names begin with 00, because
-- PostgreSQL fires triggers in the order of their names.
CREATE FUNCTION @threadline@.create_triggers(root regclass, declared jsonb, function_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_partitioned boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = root);
    was_captured boolean := true;
    relation regclass;
BEGIN
    FOR relation IN SELECT @threadline@.relations_of(root) LOOP
        IF relation = root OR NOT is_partitioned THEN
            was_captured := NOT @threadline@.create_trigger(relation, '00_threadline_capture', format(
                'AFTER INSERT OR DELETE OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION @threadline@.%I()',
                relation, function_name
            )) AND was_captured;
        END IF;
        PERFORM @threadline@.create_trigger(relation, '00_threadline_truncate', format(
            'AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.capture_truncate(%L, %L, %L)',
            relation, declared #>> '{name,schema}', declared #>> '{name,name}', (declared ->> 'actor' = 'required')::text
        ));
    END LOOP;
    RETURN was_captured;
END
$$;

-- Enables capture of a table by its generated function, whose comment has the policy, or deploys a changed
-- policy. Also creates missing triggers, for example of a new child table.
CREATE FUNCTION @threadline@.enable_capture(table_schema text, table_name text, function_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown text := format('%I.%I', table_schema, table_name);
    root regclass := to_regclass(shown);
    policy jsonb := @threadline@.policy_of(format('@threadline@.%I()', function_name)::regprocedure);
    previous @threadline@.audit_enrolments := @threadline@.current_enrolment(table_schema, table_name);
    transaction_id uuid := @threadline@.current_transaction_id();
    order_id bigint;
    key_columns text[];
    key_attnums smallint[];
    key_since bigint;
    columns jsonb;
    was_captured boolean;
    table_was_empty boolean;
BEGIN
    PERFORM @threadline@.check_declaration(shown, root, policy -> 'table');
    PERFORM @threadline@.lock_for_enrolment(shown);
    -- A role with EXECUTE on a trigger function could create a trigger on its own table and forge changes.
    PERFORM @threadline@.revoke_all(format('FUNCTION @threadline@.%I()', function_name), proowner, coalesce(proacl, acldefault('f', proowner)))
    FROM pg_proc WHERE oid = format('@threadline@.%I()', function_name)::regprocedure;
    was_captured := @threadline@.create_triggers(root, policy -> 'table', function_name);

    SELECT coalesce(array_agg(part.name ORDER BY part.position), '{}'), coalesce(array_agg(attribute.attnum ORDER BY part.position), '{}')
    INTO key_columns, key_attnums
    FROM jsonb_array_elements_text(policy #> '{table,key,columns}') WITH ORDINALITY AS part (name, position)
    JOIN pg_attribute AS attribute ON attribute.attrelid = root AND attribute.attname = part.name;
    SELECT jsonb_agg(jsonb_build_object(
        'name', attribute.attname, 'attnum', attribute.attnum, 'rule', declared ->> 'rule',
        'type', format_type(attribute.atttypid, attribute.atttypmod)
    ) ORDER BY attribute.attnum) INTO columns
    FROM jsonb_array_elements(policy #> '{table,columns}') AS declared
    JOIN pg_attribute AS attribute ON attribute.attrelid = root AND attribute.attname = declared ->> 'name'
        AND NOT attribute.attisdropped;
    -- The key definition is unchanged if it has the same columns by attribute number, which allows renames;
    -- or, if the relation is another one (restored, created again), columns of the same names.
    key_since := CASE
        WHEN previous.order_id IS NULL THEN 0
        WHEN previous.relation = root::oid AND previous.key_attnums = key_attnums
            OR previous.relation <> root::oid AND previous.key_columns = key_columns
        THEN previous.key_since
    END;
    IF key_since IS NULL THEN
        -- Block writes, so that no change under the old key gets an id after the new definition.
        PERFORM @threadline@.lock_tables_with_retry(ARRAY[root], 'SHARE ROW EXCLUSIVE');
    END IF;
    order_id := nextval('@threadline@.audit_changes_id_seq');
    EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', root) INTO table_was_empty;
    INSERT INTO @threadline@.audit_enrolments (
        order_id, transaction_id, table_schema, table_name, event, recorded_at, recorded_by, relation, policy_hash,
        key_columns, key_attnums, key_since, columns, was_captured, table_was_empty, partition_columns
    ) VALUES (
        order_id, transaction_id, table_schema, table_name, 'enabled', clock_timestamp(), session_user, root,
        policy ->> 'hash', key_columns, key_attnums, coalesce(key_since, order_id), columns, was_captured, table_was_empty,
        ARRAY(
            SELECT attribute.attname::text FROM pg_partitioned_table AS partitioned
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = root AND attribute.attnum = ANY (partitioned.partattrs::smallint[])
            WHERE partitioned.partrelid = root
        )
    );
END
$$;

-- Disables capture of a table. Its records are kept.
CREATE FUNCTION @threadline@.disable_capture(table_schema text, table_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    root regclass := to_regclass(format('%I.%I', table_schema, table_name));
    transaction_id uuid := @threadline@.current_transaction_id();
    found_trigger record;
BEGIN
    IF root IS NOT NULL THEN
        PERFORM @threadline@.lock_tables_with_retry(ARRAY[root], 'ACCESS EXCLUSIVE');
        FOR found_trigger IN
            SELECT tgname, tgrelid::regclass AS relation FROM pg_trigger
            WHERE tgrelid IN (SELECT @threadline@.relations_of(root)) AND tgparentid = 0
                AND tgname IN ('00_threadline_capture', '00_threadline_truncate')
        LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', found_trigger.tgname, found_trigger.relation);
        END LOOP;
    END IF;
    INSERT INTO @threadline@.audit_enrolments (
        order_id, transaction_id, table_schema, table_name, event, recorded_at, recorded_by, relation
    ) VALUES (
        nextval('@threadline@.audit_changes_id_seq'), transaction_id, table_schema, table_name, 'disabled',
        clock_timestamp(), session_user, root
    );
END
$$;
