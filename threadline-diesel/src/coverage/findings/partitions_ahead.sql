-- The partitions of the trail by period. Those of the three tables are created together, with equal suffixes.
partition AS (
    SELECT root.name AS parent, replace(class.relname, 'audit_changes_', '') AS period,
        bounds[1]::timestamptz AS from_instant, bounds[2]::timestamptz AS to_instant
    FROM pg_class AS changes
    JOIN pg_namespace AS trail ON trail.oid = changes.relnamespace AND trail.nspname = '@threadline@'
    JOIN pg_inherits AS inherits ON inherits.inhparent = changes.oid
    JOIN pg_class AS class ON class.oid = inherits.inhrelid
    CROSS JOIN LATERAL regexp_match(
        pg_get_expr(class.relpartbound, class.oid), 'FROM \(''([^'']*)''\) TO \(''([^'']*)''\)'
    ) AS bounds
    CROSS JOIN (VALUES ('audit_changes'), ('audit_transactions'), ('audit_actions')) AS root (name)
    WHERE changes.relname = 'audit_changes' AND EXISTS (
        SELECT FROM pg_class AS alike
        WHERE alike.relnamespace = trail.oid AND alike.relispartition
            AND alike.relname = replace(class.relname, 'audit_changes', root.name)
    )
),
-- The instant up to which partitions cover the time from now on without a gap.
ahead AS (
    SELECT root.name AS parent, min(stop.instant) AS covered_until
    FROM (VALUES ('audit_changes'), ('audit_transactions'), ('audit_actions')) AS root (name)
    CROSS JOIN LATERAL (
        SELECT now() AS instant
        UNION ALL
        SELECT partition.to_instant FROM partition
        WHERE partition.parent = root.name AND partition.to_instant > now()
    ) AS stop
    WHERE NOT EXISTS (
        SELECT FROM partition
        WHERE partition.parent = root.name
            AND partition.from_instant <= stop.instant AND partition.to_instant > stop.instant
    )
    GROUP BY root.name
)
