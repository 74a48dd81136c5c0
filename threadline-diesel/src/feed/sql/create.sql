-- Adds a consumer that begins after the id $2, or after the last assigned id if $2 is null.
INSERT INTO @threadline@.audit_feed_consumers (name, acknowledged_to, seen_until)
SELECT
    $1,
    COALESCE($2, feed_end.last_id),
    CASE WHEN $2 IS NULL THEN clock_timestamp() ELSE COALESCE(
        (SELECT captured_at FROM @threadline@.audit_changes WHERE id = $2), '-infinity'
    ) END
FROM @threadline@.audit_feed_end AS feed_end
ON CONFLICT DO NOTHING
