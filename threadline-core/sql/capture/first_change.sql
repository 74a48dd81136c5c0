        -- An update that is a transaction's first change and keeps its key: the change and the
        -- transaction's row by one statement.
        IF pg_catalog.concat(
            pg_catalog.current_setting('threadline.recorded', true),
            pg_catalog.current_setting('threadline.suspended', true), v_op
        ) OPERATOR(pg_catalog.=) 'update' AND v_previous_key IS NULL THEN
@read_context@@strict_first@            WITH change AS (
                INSERT INTO @threadline@.audit_changes (
                    id, captured_at, transaction_id, action_id, op, table_schema, table_name,
                    table_pk, row_key, data_after, changed_from
                ) VALUES (
                    pg_catalog.nextval('@threadline@.audit_changes_id_seq'::pg_catalog.regclass),
                    pg_catalog.clock_timestamp(), capture.v_transaction, v_context.action_id,
                    'update', @schema_literal@, @name_literal@, capture.v_table_pk,
                    capture.v_row_key, capture.v_data_after, capture.v_changed_from
                )
            )
            @first_transaction@;
            IF FOUND THEN
                @note@;
            ELSE
                PERFORM @threadline@.attribute_first_changes(
                    v_transaction, v_expected, @schema_literal@, @name_literal@, NULL
                );
            END IF;
@unpin_deep@            RETURN NEW;
        END IF;
