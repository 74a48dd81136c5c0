INSERT INTO @threadline@.audit_transactions (
    id, occurred_at, xid, action_id, backend_pid, actor_ref, on_behalf_of, request_id,
    correlation_id, job_id, source, remote_addr, meta, db_user, application_name,
    client_addr
) VALUES (
    capture.v_transaction, @occurred_at@, pg_catalog.pg_current_xact_id(),
    v_context.root_action_id, pg_catalog.pg_backend_pid(), v_context.actor_ref,
    v_context.on_behalf_of, v_context.request_id, v_context.correlation_id, v_context.job_id,
    v_context.source, v_context.remote_addr, v_context.meta, session_user,
    pg_catalog.current_setting('application_name'), pg_catalog.inet_client_addr()
) ON CONFLICT DO NOTHING
