-- The triggers of captured tables, their partitions and inheritance children.
WITH RECURSIVE @captured@, @expected_triggers@,
found AS (
    SELECT expected.*, trigger.tgname IS NOT NULL AS is_there,
        CASE
            WHEN trigger.oid IS NULL AND expected.relispartition THEN 'partition_uncovered'
            WHEN trigger.oid IS NULL AND expected.relation <> expected.root THEN 'child_uncovered'
            WHEN trigger.oid IS NULL THEN 'trigger_missing'
            WHEN trigger.tgenabled = 'D' THEN 'trigger_disabled'
            WHEN trigger.tgenabled = 'R' THEN 'trigger_replica_only'
            WHEN trigger.tgtype <> expected.type OR trigger.tgfoid <> expected.function
                OR trigger.tgqual IS NOT NULL OR trigger.tgattr <> ''::int2vector
                OR trigger.tgargs <> expected.arguments THEN 'trigger_changed'
        END AS code
    FROM expected
    LEFT JOIN pg_trigger AS trigger
        ON trigger.tgrelid = expected.relation AND trigger.tgname = expected.name
),
host_trigger AS (
    SELECT trigger.* FROM pg_trigger AS trigger
    WHERE NOT trigger.tgisinternal AND trigger.tgfoid NOT IN (SELECT captured.function FROM captured)
)
SELECT 'error' AS severity, found.code, found.table_schema, found.table_name,
    format('trigger %I%s %s', found.name,
        CASE WHEN found.relation <> found.root THEN format(' on %s', found.relation::regclass) END, CASE found.code
        WHEN 'trigger_disabled' THEN 'is disabled'
        WHEN 'trigger_replica_only' THEN 'fires on replicas only'
        WHEN 'trigger_changed' THEN 'is not the generated one: another function, event, condition or argument'
        ELSE 'is missing'
    END) AS explanation,
    CASE WHEN found.code IN ('trigger_disabled', 'trigger_replica_only')
        THEN format('ALTER TABLE %s ENABLE TRIGGER %I', found.relation::regclass, found.name)
        ELSE format('SELECT @threadline@.enable_capture(%L, %L, %L)',
            found.table_schema, found.table_name, found.function_name)
    END AS remedy
FROM found WHERE found.code IS NOT NULL

UNION ALL
SELECT 'error', 'trigger_duplicated', namespace.nspname, class.relname,
    format('triggers %s record every %s more than once', string_agg(format('%I', trigger.tgname), ', '), event.name),
    COALESCE(
        string_agg(format('DROP TRIGGER %I ON %s', trigger.tgname, class.oid::regclass), '; ')
            FILTER (WHERE trigger.tgname NOT IN ('00_threadline_capture', '00_threadline_truncate')),
        format('DROP TRIGGER %I ON %s', min(trigger.tgname), class.oid::regclass)
    )
FROM pg_trigger AS trigger
JOIN pg_class AS class ON class.oid = trigger.tgrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
CROSS JOIN (VALUES ('insert', 4), ('delete', 8), ('update', 16), ('truncate', 32)) AS event (name, bit)
WHERE trigger.tgparentid = 0 AND trigger.tgtype & event.bit <> 0
    AND trigger.tgfoid IN (SELECT expected.function FROM expected)
GROUP BY namespace.nspname, class.relname, class.oid, event.name
HAVING count(*) > 1

UNION ALL
-- Triggers on tables that are not part of the captured table. A renamed table has its own finding.
SELECT CASE expected.type WHEN 32 THEN 'warning' ELSE 'error' END, 'trigger_stray',
    expected.table_schema, expected.table_name,
    CASE expected.type
        WHEN 32 THEN format('trigger %I is on %s, which is no longer part of this table',
            trigger.tgname, trigger.tgrelid::regclass)
        ELSE format('trigger %I records changes of %s as changes of this table',
            trigger.tgname, trigger.tgrelid::regclass)
    END,
    format('DROP TRIGGER %I ON %s', trigger.tgname, trigger.tgrelid::regclass)
FROM expected
JOIN pg_trigger AS trigger ON trigger.tgfoid = expected.function AND trigger.tgparentid = 0
    AND (expected.type = 29 OR trigger.tgargs = expected.arguments)
WHERE expected.relation = expected.root AND NOT EXISTS (
    SELECT FROM family WHERE family.root = expected.root AND family.relation = trigger.tgrelid
)

UNION ALL
-- Triggers of one kind fire in the order of their names.
SELECT 'warning', 'order_at_risk', captured.table_schema, captured.table_name,
    format('trigger %I fires before capture, because of its name: its writes are recorded before the change that caused them', own.tgname),
    format('ALTER TRIGGER %I ON %s RENAME TO %I', own.tgname, captured.relation::regclass, 'own_' || own.tgname)
FROM captured
JOIN host_trigger AS own ON own.tgrelid = captured.relation
WHERE NOT own.tginitdeferred AND own.tgname COLLATE "C" < '00_threadline_' COLLATE "C"
    -- AFTER, FOR EACH ROW, on an event that is captured.
    AND own.tgtype & 67 = 1 AND own.tgtype & 28 <> 0
