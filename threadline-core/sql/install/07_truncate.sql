-- TRUNCATE, which no row trigger sees. One function for all tables; the trigger's arguments are
-- the audited table's schema and name, and whether rows are to be counted.

CREATE OR REPLACE FUNCTION @threadline@.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $truncate$
#variable_conflict use_column
DECLARE
    v_partition text;
    v_rows bigint;
    v_attribution @threadline@.attribution;
    v_transaction uuid := @threadline@.current_transaction_id();
    v_emptied text := current_setting('threadline.truncating', true);
BEGIN
    -- TRUNCATE of a partitioned table fires here for its partitions too, the root first.
    IF TG_TABLE_SCHEMA <> TG_ARGV[0] OR TG_TABLE_NAME <> TG_ARGV[1] THEN
        v_partition := format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME);
        -- A partition that was detached keeps this trigger, but is nobody's part any more. A renamed
        -- root does not have its old name, and its family is still captured.
        IF to_regclass(format('%I.%I', TG_ARGV[0], TG_ARGV[1])) IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = TG_RELID)
        THEN
            RETURN NULL;
        END IF;
        IF v_emptied = format('%s %I.%I', statement_timestamp(), TG_ARGV[0], TG_ARGV[1]) THEN
            RETURN NULL;
        END IF;
    ELSIF EXISTS (SELECT FROM pg_inherits WHERE inhparent = TG_RELID) THEN
        PERFORM set_config(
            'threadline.truncating',
            format('%s %I.%I', statement_timestamp(), TG_ARGV[0], TG_ARGV[1]), true
        );
    END IF;
    IF TG_ARGV[2] = 'count' THEN
        EXECUTE format('SELECT count(*) FROM %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO v_rows;
    END IF;
    v_attribution := @threadline@.attribute_change(v_transaction, TG_ARGV[0], TG_ARGV[1]);
    IF v_attribution.suspension IS NOT NULL THEN
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
