-- Changes without their transaction, and transactions without a change, recorded since an instant ($2;
-- $4 is its first transaction id). Reads at most the newest 100,000 records, to bound the cost.
(
    SELECT 'error' AS severity, 'orphan_changes' AS code, change.table_schema, change.table_name,
        format('%s changes belong to transactions whose row is missing', count(*)) AS explanation,
        'find out who removed it: the trail was tampered with' AS remedy
    FROM (
        SELECT recent.transaction_id, recent.table_schema, recent.table_name
        FROM @threadline@.audit_changes AS recent
        WHERE recent.captured_at >= $2
        ORDER BY recent.captured_at DESC LIMIT 100000
    ) AS change
    WHERE NOT EXISTS (
        SELECT FROM @threadline@.audit_transactions AS recorded WHERE recorded.id = change.transaction_id
    )
    GROUP BY change.table_schema, change.table_name
)
UNION ALL
(
    SELECT 'error', 'transactions_without_changes', '@threadline@', 'audit_transactions',
        format('%s transactions have no changes, the newest of %s UTC', count(*),
            to_char(max(recorded.occurred_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')),
        'find out who removed them: the trail was tampered with'
    FROM (
        SELECT recent.id, recent.occurred_at
        FROM @threadline@.audit_transactions AS recent
        WHERE recent.id >= $4
            -- Retention may remove the changes of a transaction before the transaction.
            AND recent.occurred_at >= COALESCE((
                SELECT max(cutoff.instant::timestamptz)
                FROM @threadline@.audit_removals AS removal
                CROSS JOIN LATERAL jsonb_each_text(removal.scope -> 'cutoffs') AS cutoff (table_name, instant)
                WHERE removal.kind = 'retention'
            ), '-infinity')
        ORDER BY recent.id DESC LIMIT 100000
    ) AS recorded
    WHERE NOT EXISTS (
        SELECT FROM @threadline@.audit_changes AS change
        WHERE change.transaction_id = recorded.id AND change.captured_at >= $2 - interval '1 day'
    )
    HAVING count(*) > 0
)
