    -- Which transaction, and whether the context is the one noted before. Few expressions: each
    -- costs as much again in every transaction.
    v_transaction := pg_catalog.encode(
        pg_catalog.timestamptz_send(pg_catalog.now())
            OPERATOR(pg_catalog.||) pg_catalog.xid8send(pg_catalog.pg_current_xact_id_if_assigned()),
        'hex'
    )::pg_catalog.uuid;
@unless_rows@    v_expected := pg_catalog.concat(
        pg_catalog.uuid_hash_extended(
            v_transaction,
            pg_catalog.pg_sequence_last_value('@threadline@.capture_secret'::pg_catalog.regclass)
        ),
        '|', pg_catalog.current_setting('threadline.actor_ref', true),
        '|', pg_catalog.current_setting('threadline.context', true),
        '|', pg_catalog.current_setting('threadline.action_id', true)
    );
    IF (pg_catalog.current_setting('threadline.recorded', true)
        OPERATOR(pg_catalog.=) v_expected) IS TRUE
    THEN
        v_action_id := CASE
            WHEN pg_catalog.current_setting('threadline.action_id', true) OPERATOR(pg_catalog.<>) ''
                THEN pg_catalog.current_setting('threadline.action_id', true)::pg_catalog.uuid
        END;
