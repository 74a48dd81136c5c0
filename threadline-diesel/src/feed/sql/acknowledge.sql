-- Acknowledges the leased items, if the lease is the current one and has not expired.
UPDATE @threadline@.audit_feed_consumers AS feed
SET acknowledged_to = feed.leased_to,
    seen_until = GREATEST(feed.seen_until, feed.leased_seen_until),
    lease_token = NULL, leased_to = NULL, leased_seen_until = NULL, leased_until = NULL, leased_by = NULL,
    attempt = 0
WHERE feed.name = $1 AND feed.lease_token = $2 AND feed.leased_until > clock_timestamp()
