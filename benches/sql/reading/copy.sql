-- The columns of an export, written by COPY.
COPY (
    SELECT
        c.id, c.captured_at, c.op, c.table_schema, c.table_name, c.table_pk,
        CASE WHEN c.op = 'update' THEN ARRAY(SELECT jsonb_object_keys(c.changed_from)) END,
        c.changed_from, c.data_after,
        c.actor,
        COALESCE(a.on_behalf_of, t.on_behalf_of),
        c.transaction_id, t.occurred_at,
        COALESCE(a.request_id, t.request_id),
        COALESCE(a.correlation_id, t.correlation_id),
        COALESCE(a.job_id, t.job_id),
        t.context ->> 'source', t.context ->> 'remote_addr', t.context -> 'meta', t.db_user,
        t.application_name, c.partition_name
    FROM threadline.audit_changes AS c
    LEFT JOIN threadline.audit_transactions AS t ON t.id = c.transaction_id
    LEFT JOIN threadline.audit_actions AS a ON a.id = c.action_id
    LIMIT $1
) TO STDOUT WITH (FORMAT csv)
