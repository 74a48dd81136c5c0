    IF NOT COALESCE(
        v_attribution.attributed,
        pg_catalog.current_setting('threadline.actor_ref', true) OPERATOR(pg_catalog.<>) '',
        false -- never set in this session
    ) THEN
        PERFORM @threadline@.refuse_unattributed(@schema_literal@, @name_literal@);
    END IF;
