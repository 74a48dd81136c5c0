-- Whether the context is the one noted before. A session can write the note itself, but not what
-- capture remembers beside it; asking for that fails where there is nothing to remember.
IF (pg_catalog.current_setting('threadline.recorded', true) OPERATOR(pg_catalog.=) v_expected) IS TRUE THEN
    v_noted := pg_catalog.currval('@threadline@.capture_session'::pg_catalog.regclass)
            OPERATOR(pg_catalog.=) pg_catalog.txid_current_if_assigned()
        OR pg_catalog.currval('@threadline@.capture_session'::pg_catalog.regclass)
            OPERATOR(pg_catalog.>) pg_catalog.txid_current_if_assigned()
        AND pg_catalog.txid_status(
            pg_catalog.currval('@threadline@.capture_session'::pg_catalog.regclass)
        ) OPERATOR(pg_catalog.=) 'in progress';
END IF;
