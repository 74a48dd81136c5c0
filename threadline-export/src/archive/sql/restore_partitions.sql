-- The partitions of a span from $1 to $2 under the partition width $3: their names, columns and bounds, and whether
-- the trail has a partition or rows there.
SELECT
    part.parent,
    part.parent || to_char($1 AT TIME ZONE 'UTC',
        CASE $3 WHEN 'month' THEN '_YYYY_MM' WHEN 'week' THEN '_IYYY_"w"IW' ELSE '_YYYY_MM_DD' END) AS name,
    part.key_column, part.lower_bound, part.upper_bound,
    part.has_rows OR EXISTS (
        SELECT FROM @threadline@.trail_partitions() AS present
        WHERE present.parent = part.parent AND present.from_instant < $2 AND present.to_instant > $1
    ) AS is_present
FROM (
    SELECT 'audit_changes', 'captured_at', $1::text, $2::text, EXISTS (
        SELECT FROM @threadline@.audit_changes WHERE captured_at >= $1 AND captured_at < $2
    )
    UNION ALL
    SELECT 'audit_transactions', 'id', @threadline@.transaction_id_from($1)::text,
        @threadline@.transaction_id_from($2)::text, EXISTS (
            SELECT FROM @threadline@.audit_transactions
            WHERE id >= @threadline@.transaction_id_from($1) AND id < @threadline@.transaction_id_from($2)
        )
    UNION ALL
    SELECT 'audit_actions', 'id', @threadline@.action_id_from($1)::text, @threadline@.action_id_from($2)::text, EXISTS (
        SELECT FROM @threadline@.audit_actions
        WHERE id >= @threadline@.action_id_from($1) AND id < @threadline@.action_id_from($2)
    )
) AS part (parent, key_column, lower_bound, upper_bound, has_rows)
