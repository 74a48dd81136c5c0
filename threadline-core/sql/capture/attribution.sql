            v_attribution := @threadline@.record_transaction(
                v_transaction, v_expected, @schema_literal@, @name_literal@
            );
            IF v_attribution.suspension IS NOT NULL THEN
@suspended@            END IF;
            v_action_id := v_attribution.action_id;
            v_actor_ref := v_attribution.actor_ref;
