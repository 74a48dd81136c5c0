-- The state of the log and its newest checkpoint, and the last assigned id.
SELECT log.origin, log.sealed_to, feed_end.last_id, newest.note,
    LEAST(log.sealed_to, COALESCE(newest.settled_to, 0)) AS checkpointed_to,
    (clock_timestamp() AT TIME ZONE 'UTC')::date AS today, clock_timestamp() AS read_at
FROM @threadline@.audit_seal_logs AS log
CROSS JOIN @threadline@.audit_feed_end AS feed_end
LEFT JOIN LATERAL (
    SELECT note, (clock ->> 'settled_to')::bigint AS settled_to
    FROM @threadline@.audit_seal_checkpoints ORDER BY size DESC LIMIT 1
) AS newest ON true
