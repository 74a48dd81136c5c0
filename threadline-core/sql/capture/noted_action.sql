    IF v_noted THEN
        v_action_id := CASE
            WHEN pg_catalog.current_setting('threadline.action_id', true) OPERATOR(pg_catalog.<>) ''
                THEN pg_catalog.current_setting('threadline.action_id', true)::pg_catalog.uuid
        END;
