-- Views for psql and reports.

-- All changes with actor, action, context and changed fields. Baselines are not changes: they are only in
-- audit_changes.
CREATE VIEW @threadline@.audit_timeline AS
SELECT
    change.id,
    change.captured_at,
    change.op,
    change.table_schema,
    change.table_name,
    change.row_key,
    change.previous_key,
    change.table_pk,
    CASE WHEN change.op = 'update' THEN ARRAY(
        SELECT name FROM jsonb_object_keys(change.changed_from) AS name ORDER BY name
    ) END AS changed_fields,
    change.changed_from,
    change.data_after,
    change.actor,
    COALESCE(action.on_behalf_of, transaction.on_behalf_of) AS on_behalf_of,
    action.name AS action_name,
    action.reason,
    COALESCE(action.correlation_id, transaction.correlation_id) AS correlation_id,
    COALESCE(action.request_id, transaction.request_id) AS request_id,
    COALESCE(action.job_id, transaction.job_id) AS job_id,
    transaction.context ->> 'source' AS source,
    transaction.context ->> 'remote_addr' AS remote_addr,
    transaction.context -> 'meta' AS meta,
    transaction.db_user,
    transaction.application_name,
    change.partition_name,
    change.transaction_id,
    change.action_id
FROM @threadline@.audit_changes AS change
LEFT JOIN @threadline@.audit_transactions AS transaction ON transaction.id = change.transaction_id
LEFT JOIN @threadline@.audit_actions AS action ON action.id = change.action_id
WHERE change.op <> 'baseline';

-- The deployed policies: one row for each capture function. `policy` is the function's comment:
-- {"version", "hash", "table"}. `relation` is null if the table does not exist.
CREATE VIEW @threadline@.deployed_policies AS
SELECT
    policy #>> '{table,name,schema}' AS table_schema,
    policy #>> '{table,name,name}' AS table_name,
    class.oid AS relation,
    function.oid AS function,
    policy
FROM pg_catalog.pg_proc AS function
CROSS JOIN LATERAL @threadline@.policy_of(function.oid) AS policy
LEFT JOIN (pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace)
    ON namespace.nspname = policy #>> '{table,name,schema}' AND class.relname = policy #>> '{table,name,name}'
WHERE function.pronamespace = '@threadline@'::regnamespace AND function.proname LIKE 'capture\_%'
    AND policy IS NOT NULL;
