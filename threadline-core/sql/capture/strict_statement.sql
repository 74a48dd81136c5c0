        IF NOT COALESCE(
            CASE WHEN v_first THEN v_context.actor_ref IS NOT NULL ELSE v_attribution.attributed END,
            pg_catalog.current_setting('threadline.actor_ref', true) OPERATOR(pg_catalog.<>) '',
            false -- never set in this session
        ) THEN
            PERFORM @threadline@.refuse_unattributed(@schema_literal@, @name_literal@);
        END IF;
