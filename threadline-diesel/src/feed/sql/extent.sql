-- The number of changes and actions with ids after $1 up to $2, at most $3, and the last of them.
SELECT count(*) AS found, max(item.id) AS last_id, max(item.at) AS last_at
FROM (
    (
        SELECT id, captured_at FROM @threadline@.audit_changes
        WHERE id > $1 AND id <= $2
        ORDER BY id LIMIT $3
    )
    UNION ALL
    (
        SELECT order_id, recorded_at FROM @threadline@.audit_actions
        WHERE order_id > $1 AND order_id <= $2
        ORDER BY order_id LIMIT $3
    )
    ORDER BY 1 LIMIT $3
) AS item (id, at)
