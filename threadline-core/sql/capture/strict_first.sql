            IF v_context.actor_ref IS NULL THEN
                PERFORM @threadline@.refuse_unattributed(@schema_literal@, @name_literal@);
            END IF;
