            IF pg_catalog.concat(
                pg_catalog.current_setting('threadline.actor_ref', true),
                pg_catalog.current_setting('threadline.context', true),
                pg_catalog.current_setting('threadline.action_id', true)
            ) OPERATOR(pg_catalog.<>) '' THEN
                v_context := @threadline@.read_context();
                v_action_id := v_context.action_id;
            END IF;
