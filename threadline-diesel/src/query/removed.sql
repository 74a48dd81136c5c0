-- Times of which retention removed the changes of a table: all before its last cut-off, without the spans that are
-- restored from an archive. @schema@ and @table@ are expressions. Ids as in gaps.sql.
SELECT removed.* FROM (
    SELECT edge.last_id AS first_id,
        CASE WHEN edge.from_instant IS NULL THEN 0 ELSE edge.last_id + 1 END AS last_id,
        edge.to_instant AS began_at,
        COALESCE(pg_catalog.lead(edge.from_instant) OVER by_time, horizon.purged_before) AS ended_at
    FROM @threadline@.audit_horizons AS horizon
    CROSS JOIN LATERAL (
        SELECT NULL::timestamptz AS from_instant, NULL::timestamptz AS to_instant, 0::bigint AS last_id
        UNION ALL
        SELECT span.from_instant, span.to_instant, span.last_id
        FROM @threadline@.audit_restored_spans AS span WHERE span.from_instant < horizon.purged_before
    ) AS edge
    WHERE horizon.table_name = @table@ AND horizon.table_schema = @schema@
    WINDOW by_time AS (ORDER BY edge.from_instant NULLS FIRST)
) AS removed
-- Nothing was removed before capture began, or between adjacent spans.
WHERE removed.ended_at > COALESCE(removed.began_at, (
    SELECT min(e.recorded_at) FROM @threadline@.audit_enrolments AS e
    WHERE e.table_name = @table@ AND e.table_schema = @schema@
))
