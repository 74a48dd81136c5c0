-- Acknowledges all items up to the id $2, of a consumer that does not lease.
UPDATE @threadline@.audit_feed_consumers
SET acknowledged_to = GREATEST(acknowledged_to, $2),
    seen_until = GREATEST(seen_until, CASE WHEN $2 >= mark_id THEN mark_at END),
    settled_to = GREATEST(settled_to, CASE WHEN $2 >= mark_id THEN mark_id END),
    settled_at = GREATEST(settled_at, CASE WHEN $2 >= mark_id THEN mark_at END)
WHERE name = $1
