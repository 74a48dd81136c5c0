                PERFORM @threadline@.record_suspended(
                    v_attribution.suspension, @schema_literal@, @name_literal@,
                    pg_catalog.lower(TG_OP), (SELECT pg_catalog.count(*) FROM captured_rows AS r)
                );
                RETURN NULL;
