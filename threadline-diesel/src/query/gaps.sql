-- The gaps that are recorded of a table, in the order of their ids. @schema@, @table@ and @key@
-- (of a row, for the erasures of its values, or null) are expressions. removed.sql is inserted.
--
-- Ids from first_id to last_id: a change with a smaller id is older than the gap, a change with a greater
-- id was captured after it.
WITH enrolment AS (
    SELECT e.order_id, e.recorded_at, e.recorded_by, e.event, e.relation, e.was_captured, e.table_was_empty,
        pg_catalog.lag(e.event) OVER by_order AS previous_event,
        pg_catalog.lag(e.relation) OVER by_order AS previous_relation,
        pg_catalog.lag(e.order_id) OVER by_order AS previous_id,
        pg_catalog.lag(e.recorded_at) OVER by_order AS previous_at
    FROM @threadline@.audit_enrolments AS e
    WHERE e.table_name = @table@ AND e.table_schema = @schema@
    WINDOW by_order AS (ORDER BY e.order_id)
),
gap (kind, first_id, last_id, began_at, ended_at, recorded_by, reason, columns, table_was_empty) AS (
    SELECT 'disabled', off.order_id, again.order_id, off.recorded_at, again.recorded_at, off.recorded_by,
        NULL::text, NULL::jsonb, again.table_was_empty
    FROM enrolment AS off
    LEFT JOIN LATERAL (
        SELECT e.order_id, e.recorded_at, e.table_was_empty FROM enrolment AS e
        WHERE e.event = 'enabled' AND e.order_id > off.order_id
        ORDER BY e.order_id LIMIT 1
    ) AS again ON true
    WHERE off.event = 'disabled' AND off.previous_event = 'enabled'
    UNION ALL
    -- The triggers were missing and nothing says since when: some time after the last captured change.
    SELECT CASE WHEN found.relation = found.previous_relation THEN 'triggers_missing' ELSE 'recreated' END,
        COALESCE(last.id, found.previous_id), found.order_id,
        GREATEST(last.captured_at, found.previous_at), found.recorded_at, found.recorded_by,
        NULL, NULL, found.table_was_empty
    FROM enrolment AS found
    LEFT JOIN LATERAL (
        SELECT c.id, c.captured_at FROM @threadline@.audit_changes AS c
        WHERE c.table_name = @table@ AND c.table_schema = @schema@
            AND c.captured_at <= found.recorded_at AND c.id BETWEEN found.previous_id AND found.order_id
        ORDER BY c.captured_at DESC, c.id DESC LIMIT 1
    ) AS last ON true
    WHERE found.event = 'enabled' AND found.previous_event = 'enabled' AND NOT found.was_captured
    UNION ALL
    SELECT 'suspended', s.order_id, s.order_id, s.suspended_at, NULL, s.suspended_by, s.reason, NULL, NULL
    FROM @threadline@.audit_suspensions AS s
    WHERE pg_catalog.format('%I.%I', @schema@, @table@) = ANY (s.tables)
    UNION ALL
    SELECT 'erased', removal.order_id, removal.order_id, NULL, removal.removed_at, removal.removed_by,
        removal.reason, removal.scope -> 'columns', NULL
    FROM @threadline@.audit_removals AS removal
    WHERE @key@ IS NOT NULL AND removal.kind = 'erasure'
        AND removal.scope ->> 'table_schema' = @schema@ AND removal.scope ->> 'table_name' = @table@
        AND COALESCE(removal.scope -> 'row_keys', pg_catalog.jsonb_build_array(removal.scope -> 'row_key'))
            ?| ARRAY(SELECT s.row_key FROM @threadline@.row_segments(@schema@, @table@, @key@) AS s)
    UNION ALL
    SELECT 'removed', removed.first_id, removed.last_id, removed.began_at, removed.ended_at, newest.removed_by,
        newest.reason, NULL, NULL
    FROM (@removed@) AS removed
    CROSS JOIN LATERAL (
        SELECT removal.removed_by, removal.reason FROM @threadline@.audit_removals AS removal
        WHERE removal.kind = 'retention' AND removal.scope -> 'cutoffs' ? pg_catalog.format('%I.%I', @schema@, @table@)
        ORDER BY removal.order_id DESC LIMIT 1
    ) AS newest
)
SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'kind', gap.kind, 'first_id', gap.first_id, 'last_id', gap.last_id, 'from', gap.began_at, 'to', gap.ended_at,
    'recorded_by', gap.recorded_by, 'reason', gap.reason, 'columns', COALESCE(gap.columns, '[]'),
    'table_was_empty', gap.table_was_empty,
    'baselined_at', (
        SELECT run.ended_at FROM @threadline@.audit_baseline_runs AS run
        WHERE run.table_name = @table@ AND run.table_schema = @schema@
            -- After enable_capture no earlier change counts as a record of a row, so all rows are recorded.
            AND run.state = 'finished' AND (run.selection = 'all' OR gap.kind <> 'suspended')
            AND gap.began_at IS NOT NULL AND gap.kind <> 'removed' AND run.first_change >= gap.last_id
        ORDER BY run.id LIMIT 1
    )
) ORDER BY gap.first_id, gap.last_id), '[]') AS gaps
FROM gap
