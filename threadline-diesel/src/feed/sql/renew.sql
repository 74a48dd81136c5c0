-- Extends a lease, if it is the current one and has not expired.
UPDATE @threadline@.audit_feed_consumers AS feed
SET leased_until = clock_timestamp() + $3
WHERE feed.name = $1 AND feed.lease_token = $2 AND feed.leased_until > clock_timestamp()
RETURNING feed.leased_until
