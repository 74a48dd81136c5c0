-- Captured tables that a subscription writes, and capture triggers that fire in replica sessions, too.
WITH RECURSIVE @captured@, @expected_triggers@,
holder AS (
    SELECT expected.table_schema, expected.table_name, expected.relation, expected.name, trigger.tgenabled
    FROM expected
    JOIN pg_trigger AS trigger
        ON trigger.tgrelid = expected.relation AND trigger.tgname = expected.name
    WHERE trigger.tgenabled IN ('O', 'A')
),
applied AS (
    SELECT holder.*, EXISTS (
        SELECT FROM pg_subscription_rel AS subscribed WHERE subscribed.srrelid = holder.relation
    ) AS is_subscribed
    FROM holder
)
SELECT CASE applied.tgenabled WHEN 'O' THEN 'warning' ELSE 'info' END AS severity,
    'subscription_target' AS code, applied.table_schema, applied.table_name,
    CASE applied.tgenabled
        WHEN 'O' THEN format('a subscription writes %s, and trigger %I does not fire for what it writes',
            applied.relation::regclass, applied.name)
        ELSE format('a subscription writes %s, and trigger %I records that without actor and context',
            applied.relation::regclass, applied.name)
    END AS explanation,
    CASE applied.tgenabled
        WHEN 'O' THEN format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', applied.relation::regclass, applied.name)
        ELSE format('ALTER TABLE %s ENABLE TRIGGER %I', applied.relation::regclass, applied.name)
    END AS remedy
FROM applied WHERE applied.is_subscribed

UNION ALL
SELECT 'info', 'trigger_always', applied.table_schema, applied.table_name,
    format('trigger %I on %s also fires in sessions with session_replication_role = replica', applied.name,
        applied.relation::regclass),
    format('ALTER TABLE %s ENABLE TRIGGER %I', applied.relation::regclass, applied.name)
FROM applied WHERE applied.tgenabled = 'A' AND NOT applied.is_subscribed
