v_before := @threadline@.pin_session();
EXECUTE @threadline@.drifted_update(TG_RELID)
    INTO v_data_after, v_changed_from, v_table_pk, v_row_key, v_previous_key
    USING OLD, NEW;
PERFORM @threadline@.unpin_session(v_before);
IF v_previous_key OPERATOR(pg_catalog.=) v_row_key THEN
    v_previous_key := NULL;
END IF;
