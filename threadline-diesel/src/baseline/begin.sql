-- Begins a run, or continues an unfinished one. It starts at the last key of the unfinished run if that
-- skipped no row, the key columns ($6) are the same, and capture was neither redeployed nor suspended since.
INSERT INTO threadline.audit_baseline_runs (
    transaction_id, table_schema, table_name, selection, state, continues, actor, action_id,
    first_change, last_key
)
SELECT
    threadline.current_transaction_id(), $1, $2, $3, 'running', previous.id, $4, action.id,
    coalesce(previous.first_change, action.order_id),
    CASE WHEN previous.rows_left = 0 AND NOT previous.reached_end
        AND ARRAY(SELECT pg_catalog.jsonb_object_keys(previous.last_key) ORDER BY 1)
            = ARRAY(SELECT pg_catalog.unnest($6) ORDER BY 1)
        AND NOT EXISTS (
            SELECT FROM threadline.audit_enrolments AS enrolment
            WHERE enrolment.table_schema = $1 AND enrolment.table_name = $2
                AND enrolment.recorded_at > previous.started_at
        )
        AND NOT EXISTS (
            SELECT FROM threadline.audit_suspensions AS suspension
            WHERE pg_catalog.format('%I.%I', $1, $2) = ANY (suspension.tables)
                AND suspension.suspended_at > previous.started_at
        )
    THEN previous.last_key END
FROM threadline.audit_actions AS action
LEFT JOIN LATERAL (
    SELECT former.* FROM threadline.audit_baseline_runs AS former
    WHERE former.table_name = $2 AND former.table_schema = $1 AND former.selection = $3
    ORDER BY former.id DESC LIMIT 1
) AS previous ON previous.state <> 'finished'
WHERE action.id = $5
RETURNING id, continues
