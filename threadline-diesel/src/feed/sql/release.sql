-- Releases a lease, if it is the current one and has not expired.
UPDATE @threadline@.audit_feed_consumers AS feed
SET lease_token = NULL, leased_to = NULL, leased_seen_until = NULL, leased_until = NULL, leased_by = NULL
WHERE feed.name = $1 AND feed.lease_token = $2 AND feed.leased_until > clock_timestamp()
