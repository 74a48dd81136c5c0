-- Records that all settled items (up to the mark if $3) are acknowledged, and sets a new mark at the id $4
-- unless it is null. $4 was read earlier, so the xid of the mark is assigned after it. Updates no row if the
-- consumer's row is not the version that was read, or is locked.
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
