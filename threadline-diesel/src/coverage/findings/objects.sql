-- Guards and indexes of the base schema ($5) that are missing or disabled.
WITH trail AS (
    SELECT class.oid, class.relname
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = '@threadline@'
),
guard AS (
    SELECT installed.*, trail.oid AS root
    FROM jsonb_to_recordset($5 -> 'triggers') AS installed (table_name text, name text, sql text)
    JOIN trail ON trail.relname = installed.table_name
),
-- Partitions have the guards of their root: copies of its row triggers, and a TRUNCATE trigger of their own.
guarded AS (
    SELECT guard.root, guard.root AS relation, guard.table_name, guard.name, guard.sql FROM guard
    UNION ALL
    SELECT guard.root, partition.oid, partition.relname, guard.name,
        replace(guard.sql, ' ON @threadline@.' || guard.table_name, ' ON ' || partition.oid::regclass)
    FROM guard
    JOIN pg_inherits AS inherits ON inherits.inhparent = guard.root
    JOIN trail AS partition ON partition.oid = inherits.inhrelid
),
missing AS (
    SELECT guarded.*, trigger.oid IS NULL AS is_gone
    FROM guarded
    LEFT JOIN pg_trigger AS trigger ON trigger.tgrelid = guarded.relation AND trigger.tgname = guarded.name
    WHERE trigger.oid IS NULL OR trigger.tgenabled NOT IN ('O', 'A')
)
SELECT 'error' AS severity, 'guard_missing' AS code, '@threadline@' AS table_schema, missing.table_name,
    format('trigger %I, which keeps the trail append-only, is %s', missing.name,
        CASE WHEN missing.is_gone THEN 'missing' ELSE 'disabled' END) AS explanation,
    CASE WHEN missing.is_gone THEN missing.sql
        ELSE format('ALTER TABLE %s ENABLE TRIGGER %I', missing.relation::regclass, missing.name) END AS remedy
FROM missing
-- Creating the row trigger of the root creates the copies, too.
WHERE missing.relation = missing.root OR NOT missing.is_gone OR missing.sql LIKE '%FOR EACH STATEMENT%'

UNION ALL
SELECT 'warning', 'trail_index_missing', '@threadline@', installed.table_name,
    format('index %I is missing; reading the trail is slow', installed.name), installed.sql
FROM jsonb_to_recordset($5 -> 'indexes') AS installed (table_name text, name text, sql text)
LEFT JOIN trail ON trail.relname = installed.name
WHERE trail.oid IS NULL
