
-- Captures changes of @table@. Generated: change the declaration in the code instead.
@summary@
DECLARE
    table_pk jsonb;
    row_key text;
    previous_key text;
    data_after jsonb;
    changed_from jsonb;
    command_id integer;
    fallback record;
    is_recorded boolean;
BEGIN
    -- This block writes nothing, so its subtransaction gets no xid.
    BEGIN
        IF TG_OP = 'UPDATE' THEN
@comparisons@            IF changed_from IS NULL THEN
                RETURN NULL; -- no compared column changed
            END IF;
@ignored@        END IF;
        IF TG_OP = 'DELETE' THEN
@old_key@            changed_from := @old_image@;
        ELSE
@new_key@            data_after := @new_image@;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- The table differs from its declaration, or a value is too large for jsonb.
        fallback := @threadline@.fallback_change(TG_RELID, TG_OP, OLD, NEW);
        IF TG_OP = 'UPDATE' AND fallback.changed_from IS NULL THEN
            RETURN NULL;
        END IF;
        table_pk := fallback.table_pk;
        row_key := fallback.row_key;
        previous_key := fallback.previous_key;
        data_after := fallback.data_after;
        changed_from := fallback.changed_from;
    END;

    -- Where triggers write audited rows, the command that made a change tells their order. It is not
    -- known of a row version that this transaction both made and ended.
    IF pg_trigger_depth() > 1 OR current_setting('threadline.nested', true) <> '' THEN
        IF TG_OP <> 'INSERT' AND age(OLD.xmin) > 0 THEN
            command_id := OLD.cmax::text;
        ELSIF TG_OP <> 'DELETE' THEN
            command_id := CASE WHEN NEW.xmax = 0 THEN NEW.cmin::text END;
        END IF;
    END IF;

    is_recorded := @threadline@.record_change(
        lower(TG_OP COLLATE "C"), @schema_literal@, @name_literal@, table_pk, row_key, previous_key, data_after, changed_from,
        @actor_required@, command_id
    );
    RETURN NULL;
END
