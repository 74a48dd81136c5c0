    -- Which transaction, which action, and whether the context is the one noted before.
    v_transaction := pg_catalog.encode(
        pg_catalog.timestamptz_send(pg_catalog.now())
            OPERATOR(pg_catalog.||) pg_catalog.xid8send(pg_catalog.pg_current_xact_id()),
        'hex'
    )::pg_catalog.uuid;
    v_note_key := pg_catalog.uuid_hash_extended(
        v_transaction,
        pg_catalog.pg_sequence_last_value('@threadline@.capture_secret'::pg_catalog.regclass)
    )::text;
    v_action := pg_catalog.current_setting('threadline.action_id', true);
    v_expected := pg_catalog.concat(
        v_note_key, '|', pg_catalog.current_setting('threadline.actor_ref', true),
        '|', pg_catalog.current_setting('threadline.context', true), '|', v_action
    );
    IF (pg_catalog.current_setting('threadline.recorded', true)
        OPERATOR(pg_catalog.=) v_expected) IS TRUE
    THEN
        IF v_action OPERATOR(pg_catalog.<>) '' THEN
            v_action_id := v_action::pg_catalog.uuid;
        END IF;
    ELSE
        v_attribution := @threadline@.record_transaction(
            v_transaction, v_note_key, v_expected, @schema_literal@, @name_literal@
        );
        IF v_attribution.suspension IS NOT NULL THEN
@suspended@        END IF;
        v_action_id := v_attribution.action_id;
        v_actor_ref := v_attribution.actor_ref;
    END IF;
@strict@
