-- Records that the receiver refused the item $3, if the lease is the current one and has not expired.
INSERT INTO @threadline@.audit_delivery_failures AS failure (consumer, item_id, attempts, last_error)
SELECT feed.name, $3, $4, $5
FROM @threadline@.audit_feed_consumers AS feed
WHERE feed.name = $1 AND feed.lease_token = $2 AND feed.leased_until > clock_timestamp()
ON CONFLICT (consumer, item_id) DO UPDATE
SET attempts = failure.attempts + excluded.attempts,
    last_error = excluded.last_error,
    last_failed_at = excluded.last_failed_at
