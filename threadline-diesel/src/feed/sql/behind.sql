-- Consumers that have not acknowledged every change and action recorded before $1.
SELECT feed.name
FROM @threadline@.audit_feed_consumers AS feed
WHERE EXISTS (
    SELECT FROM @threadline@.audit_changes AS change
    WHERE change.id > feed.acknowledged_to AND change.captured_at < $1
) OR EXISTS (
    SELECT FROM @threadline@.audit_actions AS action
    WHERE action.order_id > feed.acknowledged_to AND action.recorded_at < $1
)
ORDER BY feed.name
