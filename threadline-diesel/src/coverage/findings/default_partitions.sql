-- Rows in the default partitions: of periods for which maintain() creates partitions, and of others. $6 has
-- the first and the last ids of these periods, of transactions and of actions.
WITH defaults AS (
    SELECT root.name,
        CASE root.name
            WHEN 'audit_changes' THEN EXISTS (
                SELECT FROM @threadline@.audit_changes_default AS change
                WHERE change.captured_at >= span.from_instant AND change.captured_at < span.to_instant)
            WHEN 'audit_transactions' THEN EXISTS (
                SELECT FROM @threadline@.audit_transactions_default AS recorded
                WHERE recorded.id >= $6[1]
                    AND recorded.id < $6[2])
            ELSE EXISTS (
                SELECT FROM @threadline@.audit_actions_default AS action
                WHERE action.id >= $6[3]
                    AND action.id < $6[4])
        END AS has_movable_rows,
        CASE root.name
            WHEN 'audit_changes' THEN EXISTS (
                SELECT FROM @threadline@.audit_changes_default AS change
                WHERE change.captured_at < span.from_instant OR change.captured_at >= span.to_instant)
            WHEN 'audit_transactions' THEN EXISTS (
                SELECT FROM @threadline@.audit_transactions_default AS recorded
                WHERE recorded.id < $6[1]
                    OR recorded.id >= $6[2])
            ELSE EXISTS (
                SELECT FROM @threadline@.audit_actions_default AS action
                WHERE action.id < $6[3]
                    OR action.id >= $6[4])
        END AS has_other_rows
    FROM (VALUES ('audit_changes'), ('audit_transactions'), ('audit_actions')) AS root (name)
    CROSS JOIN (
        SELECT timestamptz '2001-01-01 00:00:00+00' AS from_instant, now() + interval '3 months' AS to_instant
    ) AS span
)
SELECT 'warning' AS severity, 'default_partition_used' AS code, '@threadline@' AS table_schema,
    defaults.name AS table_name, 'its default partition has rows that belong in the partition of their period' AS explanation,
    'SELECT * FROM @threadline@.maintain()' AS remedy
FROM defaults WHERE defaults.has_movable_rows
UNION ALL
SELECT 'info', 'implausible_instants', '@threadline@', defaults.name,
    'its default partition has rows with an implausible time, which stay there: a clock was wrong, or an id was invented',
    'find out who recorded them'
FROM defaults WHERE defaults.has_other_rows
