-- The state of a consumer, with the facts that its next lease depends on.
SELECT
    feed.xmin::text AS version,
    feed.acknowledged_to,
    feed.settled_to,
    feed.mark_id,
    feed.leased_until,
    COALESCE(feed.leased_until > clock_timestamp(), false) AS is_leased,
    -- An xid that this cluster has not assigned yet: the trail was restored from another one.
    COALESCE(feed.mark_xid > pg_snapshot_xmax(snapshot.current), false) AS mark_is_foreign,
    -- In a snapshot, every xid from xmax on counts as running; of smaller ones it lists those that are
    -- running, except its own.
    COALESCE(feed.mark_xid <= pg_snapshot_xmax(snapshot.current), false) AND NOT EXISTS (
        SELECT FROM pg_snapshot_xip(snapshot.current) AS running (xid)
        WHERE running.xid < feed.mark_xid
            -- Transactions of other databases cannot write to this trail.
            AND NOT EXISTS (
                SELECT FROM pg_stat_get_activity(NULL) AS elsewhere
                WHERE elsewhere.backend_xid = running.xid::xid
                    AND elsewhere.datid <> (
                        SELECT oid FROM pg_database WHERE datname = current_database()
                    )
            )
            AND NOT EXISTS (
                SELECT FROM pg_prepared_xacts AS elsewhere
                WHERE elsewhere.transaction = running.xid::xid
                    AND elsewhere.database <> current_database()
            )
    ) AS mark_is_settled,
    feed_end.last_id,
    current_setting('transaction_isolation') AS isolation,
    pg_current_xact_id_if_assigned() IS NOT NULL AS has_written,
    -- With a cache, a session uses ids that it reserved earlier.
    (
        SELECT seqcache <> 1 FROM pg_sequence
        WHERE seqrelid = '@threadline@.audit_changes_id_seq'::regclass
    ) AS has_cache
FROM @threadline@.audit_feed_consumers AS feed
CROSS JOIN @threadline@.audit_feed_end AS feed_end
CROSS JOIN (SELECT pg_current_snapshot()) AS snapshot (current)
WHERE feed.name = $1
