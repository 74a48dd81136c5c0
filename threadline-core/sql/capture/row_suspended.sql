                PERFORM @threadline@.count_suspended(
                    v_attribution.suspension, @schema_literal@, @name_literal@,
                    pg_catalog.lower(TG_OP), 1
                );
@unpin@                RETURN NULL;
