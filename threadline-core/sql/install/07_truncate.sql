-- TRUNCATE, which no row trigger sees. One function for all tables; the trigger's arguments are
-- the audited table's schema and name, whether rows are to be counted, and whether an actor is
-- required.

-- What a truncated relation is of the audited table its trigger is for: null, the table itself,
-- whatever it is called now; its own name, a part of it; an empty text, no part of it any more.
CREATE OR REPLACE FUNCTION @threadline@.truncated_part(
    relation oid, table_schema text, table_name text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $part$
DECLARE
    shown text;
    is_named_so boolean;
    is_partition boolean;
    own_triggers boolean;
    row_triggers boolean;
    arguments bytea := convert_to(table_schema, getdatabaseencoding()) || '\x00'
        || convert_to(table_name, getdatabaseencoding()) || '\x00';
    belongs_to_another boolean;
BEGIN
    SELECT format('%I.%I', namespace.nspname, class.relname), class.relispartition,
        namespace.nspname = table_schema AND class.relname = table_name
    INTO shown, is_partition, is_named_so
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.oid = relation;
    SELECT count(*) > 0, COALESCE(bool_or(tgparentid = 0), false) INTO row_triggers, own_triggers
    FROM pg_trigger
    WHERE tgrelid = relation
        AND tgname IN ('00_threadline_insert', '00_threadline_update', '00_threadline_delete');
    IF is_partition THEN
        -- The triggers of a partition are its root's.
        RETURN CASE WHEN own_triggers OR is_named_so THEN NULL ELSE shown END;
    END IF;
    -- A child of the table, or one that was; or the table itself, which may have another name now.
    SELECT count(*) > 0 INTO belongs_to_another
    FROM pg_trigger AS trigger
    WHERE trigger.tgname = '00_threadline_truncate' AND trigger.tgrelid <> relation
        AND substr(trigger.tgargs, 1, length(arguments)) = arguments
        AND (
            trigger.tgrelid IN (
                WITH RECURSIVE ancestor (oid) AS (
                    SELECT inhparent FROM pg_inherits WHERE inhrelid = relation
                    UNION
                    SELECT inhparent FROM pg_inherits JOIN ancestor ON inhrelid = ancestor.oid
                )
                SELECT oid FROM ancestor
            )
            OR trigger.tgrelid = to_regclass(format('%I.%I', table_schema, table_name))
        );
    RETURN CASE
        WHEN is_named_so THEN NULL
        WHEN NOT row_triggers THEN '' -- a partition that was detached keeps this trigger alone
        WHEN belongs_to_another THEN shown
    END;
END
$part$;

-- Whether TRUNCATE ONLY is running: TRUNCATE has locked a table's children by the time its triggers
-- fire. Where they were locked before, ONLY cannot be told from what empties them too.
CREATE OR REPLACE FUNCTION @threadline@.truncates_only(relation oid) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    WITH RECURSIVE child (oid) AS (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = relation
        UNION
        SELECT inhrelid FROM pg_inherits JOIN child ON inhparent = child.oid
    )
    SELECT FROM child
    JOIN pg_class AS class ON class.oid = child.oid
    WHERE (class.relpersistence <> 't' OR class.relnamespace = pg_my_temp_schema())
        AND NOT EXISTS (
            SELECT FROM pg_locks AS held
            WHERE held.locktype = 'relation' AND held.relation = child.oid
                AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND held.pid = pg_backend_pid() AND held.mode = 'AccessExclusiveLock' AND held.granted
        )
);

-- Whether the trail says already that a part of a table is empty: the last that this transaction
-- recorded of the table is that all of it was emptied, or a partition above the part.
--
-- TRUNCATE of a partitioned table fires for its partitions too, the root first. Nobody else can have
-- added rows meanwhile, the table being locked; and what this transaction adds is recorded, unless
-- capture was suspended.
CREATE OR REPLACE FUNCTION @threadline@.is_known_empty(
    relation oid, this_transaction uuid, of_schema text, of_table text
) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $known$
BEGIN
    RETURN COALESCE((
        SELECT last.op = 'truncate' AND (
            last.partition_name IS NULL
            OR last.partition_name IN (
                SELECT format('%I.%I', namespace.nspname, class.relname)
                FROM pg_partition_ancestors(relation::regclass) AS ancestor
                JOIN pg_class AS class ON class.oid = ancestor.relid
                JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
                WHERE ancestor.relid <> relation
            )
        )
        FROM (
            SELECT change.op, change.partition_name FROM @threadline@.audit_changes AS change
            WHERE change.transaction_id = this_transaction
                AND change.table_schema = of_schema AND change.table_name = of_table
                AND change.captured_at > now() - interval '1 day'
            ORDER BY change.id DESC LIMIT 1
        ) AS last
    ), false) AND NOT EXISTS (
        SELECT FROM @threadline@.audit_suspensions AS suspension
        WHERE suspension.transaction_id = this_transaction
    );
END
$known$;

CREATE OR REPLACE FUNCTION @threadline@.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $truncate$
#variable_conflict use_column
DECLARE
    v_partition text := @threadline@.truncated_part(TG_RELID, TG_ARGV[0], TG_ARGV[1]);
    v_only text := '';
    v_rows bigint;
    v_attribution @threadline@.attribution;
    v_transaction uuid := @threadline@.current_transaction_id();
    v_mark text := format('%s %I.%I', statement_timestamp(), TG_ARGV[0], TG_ARGV[1]);
BEGIN
    IF v_partition = '' OR v_partition IS NOT NULL
        AND @threadline@.is_known_empty(TG_RELID, v_transaction, TG_ARGV[0], TG_ARGV[1])
    THEN
        RETURN NULL;
    END IF;
    IF (SELECT relkind FROM pg_class WHERE oid = TG_RELID) = 'r'
        AND @threadline@.truncates_only(TG_RELID)
    THEN
        v_partition := format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME);
        v_only := 'ONLY ';
    END IF;
    IF TG_ARGV[2] = 'count' THEN
        EXECUTE format('SELECT count(*) FROM %s%I.%I', v_only, TG_TABLE_SCHEMA, TG_TABLE_NAME)
            INTO v_rows;
    END IF;
    v_attribution := @threadline@.attribute_change(v_transaction, TG_ARGV[0], TG_ARGV[1]);
    IF v_attribution.suspension IS NOT NULL THEN
        -- What was counted with the whole table is not counted again by its parts.
        IF v_partition IS NULL THEN
            PERFORM set_config('threadline.truncating', @threadline@.signed(v_mark), true);
        ELSIF @threadline@.verified(current_setting('threadline.truncating', true)) = v_mark THEN
            RETURN NULL;
        END IF;
        PERFORM @threadline@.count_suspended(
            v_attribution.suspension, TG_ARGV[0], TG_ARGV[1], 'truncate', COALESCE(v_rows, 0)
        );
        RETURN NULL;
    END IF;
    IF TG_ARGV[3] = 'required' AND NOT v_attribution.attributed THEN
        PERFORM @threadline@.refuse_unattributed(TG_ARGV[0], TG_ARGV[1]);
    END IF;
    INSERT INTO @threadline@.audit_changes (
        id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
        row_count, partition_name
    ) VALUES (
        nextval('@threadline@.audit_changes_id_seq'), clock_timestamp(), v_transaction,
        v_attribution.action_id, v_attribution.actor_ref, 'truncate', TG_ARGV[0], TG_ARGV[1],
        v_rows, v_partition
    );
    RETURN NULL;
END
$truncate$;
