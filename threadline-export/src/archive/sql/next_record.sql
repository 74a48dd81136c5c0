-- When the first record at $1 or later was made; transactions and actions have ids from $2 and $3.
SELECT min(instant) AS instant FROM (
    (SELECT captured_at FROM @threadline@.audit_changes WHERE captured_at >= $1 ORDER BY captured_at LIMIT 1)
    UNION ALL
    (
        SELECT @threadline@.transaction_began_at(id) FROM @threadline@.audit_transactions
        WHERE id >= $2 ORDER BY id LIMIT 1
    )
    UNION ALL
    (
        SELECT @threadline@.action_recorded_at(id) FROM @threadline@.audit_actions
        WHERE id >= $3 ORDER BY id LIMIT 1
    )
    UNION ALL
    SELECT min(removed_at) FROM @threadline@.audit_removals WHERE removed_at >= $1
    UNION ALL
    SELECT min(suspended_at) FROM @threadline@.audit_suspensions WHERE suspended_at >= $1
    UNION ALL
    SELECT min(recorded_at) FROM @threadline@.audit_evidence WHERE recorded_at >= $1
    UNION ALL
    SELECT min(recorded_at) FROM @threadline@.audit_enrolments WHERE recorded_at >= $1
) AS first (instant)
