-- The state of the log and its newest checkpoint.
SELECT log.origin, log.size, log.sealed_to, feed_end.last_id, newest.size AS checkpoint_size, newest.signed_at,
    newest.published_at
FROM @threadline@.audit_seal_logs AS log
CROSS JOIN @threadline@.audit_feed_end AS feed_end
LEFT JOIN LATERAL (
    SELECT size, signed_at, published_at FROM @threadline@.audit_seal_checkpoints ORDER BY size DESC LIMIT 1
) AS newest ON true
