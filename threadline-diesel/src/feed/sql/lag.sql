-- The positions of the consumer $1, or of all consumers by name.
SELECT
    feed.name,
    feed.created_at,
    feed.acknowledged_to,
    feed_end.last_id,
    feed.settled_to >= feed.acknowledged_to AS settled,
    feed.leased_until,
    feed.leased_by,
    feed.attempt,
    running.xid AS waiting_for,
    running.pid AS waiting_for_pid,
    running.since AS waiting_since,
    running.prepared AS waiting_for_prepared
FROM @threadline@.audit_feed_consumers AS feed
CROSS JOIN @threadline@.audit_feed_end AS feed_end
-- The oldest transaction of this database for which newer changes may wait.
LEFT JOIN LATERAL (
    SELECT backend_xid::text::bigint, pid, xact_start, NULL::text, age(backend_xid)
    FROM pg_stat_activity
    WHERE backend_xid IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
    UNION ALL
    SELECT transaction::text::bigint, NULL, prepared, gid, age(transaction)
    FROM pg_prepared_xacts WHERE database = current_database()
    ORDER BY 5 DESC LIMIT 1
) AS running (xid, pid, since, prepared, age) ON feed.settled_to < feed_end.last_id
WHERE feed.name = $1 OR $1 IS NULL
ORDER BY feed.name
