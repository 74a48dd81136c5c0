-- Records that nothing is left in what is settled, which includes the present mark if $3, and sets a
-- mark at $4 unless that is null. $4 was read before, so the transaction id is assigned after it.
-- Does nothing if the row is not the version that was read, or if it is locked.
UPDATE @threadline@.audit_feed_consumers AS feed
SET acknowledged_to = GREATEST(feed.acknowledged_to, free.settled_to),
    seen_until = GREATEST(feed.seen_until, free.settled_at),
    settled_to = free.settled_to,
    settled_at = free.settled_at,
    mark_id = $4,
    mark_xid = CASE WHEN $4 IS NOT NULL THEN pg_current_xact_id() END,
    mark_at = CASE WHEN $4 IS NOT NULL THEN clock_timestamp() END,
    lease_token = NULL, leased_to = NULL, leased_seen_until = NULL, leased_until = NULL, leased_by = NULL,
    attempt = 0
FROM (
    SELECT
        name,
        CASE WHEN $3 THEN mark_id ELSE settled_to END AS settled_to,
        CASE WHEN $3 THEN mark_at ELSE settled_at END AS settled_at
    FROM @threadline@.audit_feed_consumers
    WHERE name = $1 AND xmin::text = $2
    FOR UPDATE SKIP LOCKED
) AS free
WHERE feed.name = free.name
