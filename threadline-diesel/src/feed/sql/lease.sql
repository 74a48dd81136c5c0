-- Leases the items after acknowledged_to up to the id $4, which is settled (up to the mark if $3). $5 is
-- when the last item was captured; null if $4 is the last settled id. Returns no row if the consumer's row
-- is not the version that was read, or is locked.
UPDATE @threadline@.audit_feed_consumers AS feed
SET settled_to = free.settled_to,
    settled_at = free.settled_at,
    mark_id = NULL, mark_xid = NULL, mark_at = NULL,
    lease_token = gen_random_uuid(),
    leased_to = $4,
    leased_seen_until = COALESCE($5, free.settled_at),
    leased_until = clock_timestamp() + $6,
    leased_by = session_user,
    attempt = feed.attempt + 1
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
RETURNING
    feed.lease_token AS token,
    feed.leased_until,
    feed.attempt,
    (
        SELECT max(cutoff.instant)
        FROM @threadline@.audit_removals AS removal
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN value ~ '^\d{4,6}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:\d\d)?)$'
                THEN value::timestamptz
            END
            FROM jsonb_path_query(removal.scope, '$.cutoffs.*') AS entry
            CROSS JOIN LATERAL (SELECT entry #>> '{}') AS entry_text (value)
        ) AS cutoff (instant)
        WHERE removal.kind = 'retention' AND removal.change_count > 0
            AND removal.removed_at > GREATEST(feed.created_at, feed.seen_until)
            AND cutoff.instant > feed.seen_until
    ) AS removed_before
