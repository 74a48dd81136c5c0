-- Prolongs a lease, if it is still this one and has not run out.
UPDATE @threadline@.audit_feed_consumers AS feed
SET leased_until = clock_timestamp() + $3
WHERE feed.name = $1 AND feed.lease_token = $2 AND feed.leased_until > clock_timestamp()
RETURNING feed.leased_until
