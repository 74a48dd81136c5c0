
#variable_conflict use_column
-- Capture of table @table@, row by row. Generated; see guides/how-it-works.md.
-- Runs with the owner's rights under the session's search path: every name is qualified, and
-- nothing is used that looks operators up by that path (IS DISTINCT FROM, IN, NULLIF).
<<capture>>
DECLARE
    v_op pg_catalog.text;
    v_table_pk pg_catalog.jsonb;
    v_row_key pg_catalog.text;
    v_previous_key pg_catalog.text;
    v_data_after pg_catalog.jsonb;
    v_changed_from pg_catalog.jsonb;
    v_session pg_catalog.text[];
    v_before pg_catalog.text[];
    v_id bigint;
    v_noted boolean;
    v_recorded_in bigint;
    v_captured_at pg_catalog.timestamptz;
    v_transaction pg_catalog.uuid;
    v_expected pg_catalog.text;
    v_note pg_catalog.text;
    v_action_id pg_catalog.uuid;
    v_actor_ref pg_catalog.jsonb;
    v_context @threadline@.context_in_force;
    v_attribution @threadline@.attribution;
    v_departure @threadline@.audit_moving_rows;
    v_hidden pg_catalog.jsonb;
BEGIN
@pin@    -- What can never be is parsed and planned with the rest: it fails if a column's type has changed.
    -- The static part writes nothing, so the block around it takes no subtransaction id.
    BEGIN
        IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
            v_op := CASE
                WHEN false AND ROW(@new_probe@) IS NULL OR @has_virtual@
                    THEN ''
                ELSE 'update'
            END;
@changes@
            IF v_changed_from IS NULL@or_had_unclassified@ THEN
                IF OLD OPERATOR(pg_catalog.*=) NEW
                    OR v_changed_from IS NULL AND NOT @threadline@.has_unclassified(
                        TG_RELID, @known_columns@
                    )
                THEN
@unpin_deeper@                    RETURN NULL; -- nothing that is stored changed
                END IF;
@drifted_update16@
                IF v_changed_from OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb THEN
@unpin_deeper@                    RETURN NULL;
                END IF;
            ELSE
@data_after@
            END IF;
            v_table_pk := @new_table_pk@;
            v_row_key := @new_row_key@;
        ELSIF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
            v_op := CASE
                WHEN false AND ROW(@new_probe@) IS NULL OR @has_virtual@
                    THEN ''
                ELSE 'insert'
            END;
@inserted@
            v_table_pk := @new_table_pk@;
            v_row_key := @new_row_key@;
        ELSE
            v_op := CASE
                WHEN false AND ROW(@old_probe@) IS NULL OR @has_virtual@
                    THEN ''
                ELSE 'delete'
            END;
@deleted@
            v_table_pk := @old_table_pk@;
            v_row_key := @old_row_key@;
        END IF;
        @transaction@
        @noted@
    EXCEPTION WHEN OTHERS THEN
        -- The table is not what it was when this was generated: by the catalog, then.
        v_op := pg_catalog.lower(TG_OP);
        v_changed_from := NULL;
        v_data_after := NULL;
        IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
@drifted_update12@
            IF v_changed_from OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb THEN
@unpin_deep@                RETURN NULL;
            END IF;
        ELSE
            v_before := @threadline@.pin_session();
            IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
                EXECUTE @threadline@.drifted_rows(TG_RELID, '(SELECT ($1).*)')
                    INTO v_data_after, v_table_pk, v_row_key USING NEW;
            ELSE
                EXECUTE @threadline@.drifted_rows(TG_RELID, '(SELECT ($1).*)')
                    INTO v_changed_from, v_table_pk, v_row_key USING OLD;
            END IF;
            PERFORM @threadline@.unpin_session(v_before);
        END IF;
        @transaction@
    END;

    -- A row that moves to another partition leaves by a delete and comes by an insert.
    IF v_op OPERATOR(pg_catalog.<>) 'update'
        AND pg_catalog.current_setting('threadline.moving', true) OPERATOR(pg_catalog.<>) ''
    THEN
        IF v_op OPERATOR(pg_catalog.=) 'delete' THEN
@hidden_old@
            IF @threadline@.lay_aside(
                TG_RELID, OLD.ctid, @schema_literal@, @name_literal@, v_table_pk, v_row_key,
                v_changed_from, v_hidden
            ) THEN
@unpin_deep@                RETURN NULL;
            END IF;
        ELSE
            v_departure := @threadline@.departure_of(TG_RELID);
            IF v_departure.moved_row IS NOT NULL THEN
@hidden_new@
                v_changed_from := @threadline@.changed_by_move(v_departure, v_data_after, v_hidden);
                IF v_changed_from OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb THEN
@unpin_deeper@                    RETURN NULL; -- nothing that is stored changed
                END IF;
                v_op := 'update';
                v_id := v_departure.change_id;
                v_captured_at := v_departure.captured_at;
@moved_delta@                IF v_departure.row_key OPERATOR(pg_catalog.<>) v_row_key THEN
                    v_previous_key := v_departure.row_key;
                END IF;
            END IF;
        END IF;
    END IF;

@attribution@
    v_id := COALESCE(v_id, pg_catalog.nextval('@threadline@.audit_changes_id_seq'::pg_catalog.regclass));
    v_captured_at := COALESCE(v_captured_at, pg_catalog.clock_timestamp());
    IF v_op OPERATOR(pg_catalog.=) 'update' AND v_previous_key IS NULL THEN
        NULL;
    ELSIF v_op OPERATOR(pg_catalog.=) 'update' THEN
        PERFORM @threadline@.record_rename(
            v_id, v_captured_at, v_transaction, @schema_literal@, @name_literal@, v_row_key,
            v_previous_key
        );
    END IF;
    INSERT INTO @threadline@.audit_changes (
        id, captured_at, transaction_id, action_id, actor_ref, op, table_schema, table_name,
        table_pk, row_key, previous_key, data_after, changed_from
    ) VALUES (
        capture.v_id, capture.v_captured_at, capture.v_transaction, capture.v_action_id,
        capture.v_actor_ref, capture.v_op, @schema_literal@, @name_literal@,
        capture.v_table_pk, capture.v_row_key, capture.v_previous_key, capture.v_data_after,
        capture.v_changed_from
    );
@unpin@    RETURN NEW; -- costs less than NULL, and means as little
END
