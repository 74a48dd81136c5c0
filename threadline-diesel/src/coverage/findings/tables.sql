-- Captured tables that were dropped, renamed or attached to a partitioned table, or are captured twice.
WITH RECURSIVE @captured@,
above (child, ancestor) AS (
    SELECT captured.relation, inherits.inhparent
    FROM captured
    JOIN pg_inherits AS inherits ON inherits.inhrelid = captured.relation
    WHERE NOT captured.relispartition
    UNION
    SELECT above.child, inherits.inhparent
    FROM above JOIN pg_inherits AS inherits ON inherits.inhrelid = above.ancestor
)
SELECT 'error' AS severity, CASE WHEN moved.relation IS NULL THEN 'table_missing' ELSE 'table_renamed' END AS code,
    captured.table_schema, captured.table_name,
    CASE WHEN moved.relation IS NULL
        THEN 'the captured table was dropped'
        ELSE format('the captured table was renamed to %s; its changes are recorded under the old name', moved.relation)
    END AS explanation,
    CASE WHEN moved.relation IS NULL
        THEN format('disable-capture %I.%I', captured.table_schema, captured.table_name)
        ELSE format('correct its name in the code and run gen-triggers, or run gen-triggers --tables %s with the same rules; then disable-capture %I.%I',
            moved.relation, captured.table_schema, captured.table_name)
    END AS remedy
FROM captured
LEFT JOIN LATERAL (
    SELECT trigger.tgrelid::regclass AS relation FROM pg_trigger AS trigger
    WHERE trigger.tgfoid = captured.function AND trigger.tgparentid = 0
    ORDER BY trigger.tgrelid LIMIT 1
) AS moved ON captured.relation IS NULL
WHERE captured.relation IS NULL

UNION ALL
SELECT 'error', 'table_became_partition', captured.table_schema, captured.table_name,
    format('it is now a partition of %s: writes through that table are not all captured',
        pg_partition_root(captured.relation)),
    format('disable-capture %I.%I, then capture %s instead', captured.table_schema,
        captured.table_name, pg_partition_root(captured.relation))
FROM captured WHERE captured.relispartition

UNION ALL
SELECT 'error', 'captured_twice', child.table_schema, child.table_name,
    format('it is an inheritance child of %s, which is captured with its children: its triggers can record changes of only one of the two',
        string_agg(parent.relation::regclass::text, ', ' ORDER BY parent.relation::regclass::text)),
    format('disable-capture one of the two, then redeploy-triggers the other')
FROM above
JOIN captured AS child ON child.relation = above.child
JOIN captured AS parent ON parent.relation = above.ancestor
GROUP BY child.table_schema, child.table_name

UNION ALL
SELECT 'info', 'table_unlogged', captured.table_schema, captured.table_name,
    'it is unlogged: after a crash it is empty, but its trail is not',
    format('ALTER TABLE %s SET LOGGED', captured.relation::regclass)
FROM captured WHERE captured.relpersistence = 'u'
