-- For people at a SQL prompt.

-- The names of the columns an update changed.
CREATE OR REPLACE FUNCTION @threadline@.changed_fields(op text, changed_from jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN op OPERATOR(pg_catalog.=) 'update' THEN
    ARRAY(SELECT key FROM pg_catalog.jsonb_object_keys(changed_from) AS key ORDER BY key)
END;

-- Every change with who, why, and what changed.
SELECT @threadline@.ensure_view('audit_timeline', $view$
SELECT
    change.id,
    change.captured_at,
    change.op,
    change.table_schema,
    change.table_name,
    change.table_pk,
    @threadline@.changed_fields(change.op, change.changed_from) AS changed_fields,
    change.changed_from,
    change.data_after,
    NULLIF(COALESCE(change.actor_ref, transaction.actor_ref), 'null') AS actor_ref,
    COALESCE(action.on_behalf_of, transaction.on_behalf_of) AS on_behalf_of,
    action.name AS action_name,
    action.reason,
    COALESCE(action.correlation_id, transaction.correlation_id) AS correlation_id,
    COALESCE(action.request_id, transaction.request_id) AS request_id,
    COALESCE(action.job_id, transaction.job_id) AS job_id,
    transaction.source,
    transaction.remote_addr,
    transaction.meta,
    transaction.db_user,
    transaction.application_name,
    change.row_count,
    change.partition_name,
    change.transaction_id,
    change.action_id
FROM @threadline@.audit_changes AS change
LEFT JOIN @threadline@.audit_transactions AS transaction ON transaction.id = change.transaction_id
LEFT JOIN @threadline@.audit_actions AS action ON action.id = change.action_id
-- What was there before capture is no change; audit_changes has it.
WHERE change.op <> 'baseline'
$view$);
