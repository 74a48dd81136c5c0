        -- An update that is a transaction's first change and keeps its key: the change and the
        -- transaction's row by one statement. Where the row is there already, the note was lost.
        IF pg_catalog.concat(
            pg_catalog.current_setting('threadline.recorded', true),
            pg_catalog.current_setting('threadline.suspended', true),
            v_op, v_previous_key
        ) OPERATOR(pg_catalog.=) 'update' THEN
            IF pg_catalog.concat(
                pg_catalog.current_setting('threadline.actor_ref', true),
                pg_catalog.current_setting('threadline.context', true),
                pg_catalog.current_setting('threadline.action_id', true)
            ) OPERATOR(pg_catalog.<>) '' THEN
                v_context := @threadline@.read_context();
            END IF;
@strict@            WITH change AS (
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
            INSERT INTO @threadline@.audit_transactions (
                id, occurred_at, xid, action_id, backend_pid, actor_ref, on_behalf_of, request_id,
                correlation_id, job_id, source, remote_addr, meta, db_user, application_name,
                client_addr
            ) VALUES (
                capture.v_transaction, pg_catalog.clock_timestamp(),
                pg_catalog.pg_current_xact_id(), v_context.root_action_id,
                pg_catalog.pg_backend_pid(), v_context.actor_ref, v_context.on_behalf_of,
                v_context.request_id, v_context.correlation_id, v_context.job_id,
                v_context.source, v_context.remote_addr, v_context.meta, session_user,
                pg_catalog.current_setting('application_name'), pg_catalog.inet_client_addr()
            ) ON CONFLICT DO NOTHING
            RETURNING pg_catalog.set_config(
                'threadline.recorded',
                capture.v_expected OPERATOR(pg_catalog.||)
                    CASE WHEN v_context.error IS NULL THEN '' ELSE '!' END,
                true
            ) INTO v_note;
            IF NOT FOUND THEN
                PERFORM @threadline@.attribute_first_change(
                    v_transaction, v_expected, @schema_literal@, @name_literal@
                );
            END IF;
@unpin_deep@            RETURN NEW;
        END IF;
