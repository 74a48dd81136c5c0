-- Facts about one table from the trail and the catalogs. $1: schema, $2: name. removed.sql is inserted.
WITH relation AS (
    SELECT class.oid FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = $2 AND class.relkind IN ('r', 'p')
),
policy AS (
    SELECT pg_catalog.obj_description(trigger.tgfoid, 'pg_proc')::jsonb -> 'table' AS declared
    FROM relation JOIN pg_catalog.pg_trigger AS trigger ON trigger.tgrelid = relation.oid
    WHERE trigger.tgname = '00_threadline_capture'
)
SELECT pg_catalog.jsonb_build_object(
    'relation', (SELECT oid::bigint FROM relation),
    'horizon', @threadline@.audit_horizon($1, $2),
    'mask_with', (SELECT declared ->> 'mask_with' FROM policy),
    'columns', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'name', attribute.attname,
            'number', attribute.attnum,
            'type', pg_catalog.format_type(base.oid, -1),
            'is_text', base.typcategory = 'S',
            'form', CASE
                WHEN base.oid = 'jsonb'::regtype THEN 'json'
                WHEN 'money'::regtype IN (base.oid, base.typelem) THEN 'money'
                WHEN base.typcategory = 'A' AND base.typelem NOT IN ('json'::regtype, 'jsonb'::regtype) THEN 'array'
                ELSE 'text'
            END,
            -- Whether earlier values may not be values of the present type.
            'may_reject', base.typnamespace <> 'pg_catalog'::regnamespace OR EXISTS (
                SELECT FROM @threadline@.audit_enrolments AS e
                CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(e.columns) AS stored (name text, type text)
                WHERE e.table_name = $2 AND e.table_schema = $1 AND stored.name = attribute.attname
                    AND pg_catalog.to_regtype(stored.type) IS DISTINCT FROM attribute.atttypid::regtype
            ),
            'rule', (
                SELECT listed ->> 'rule' FROM policy, pg_catalog.jsonb_array_elements(declared -> 'columns') AS listed
                WHERE listed ->> 'name' = attribute.attname LIMIT 1
            )
        ) ORDER BY attribute.attnum), '[]')
        FROM relation
        JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = relation.oid
        JOIN LATERAL (
            -- The base type of a domain: earlier values may violate its current constraints.
            WITH RECURSIVE under (oid, base, depth) AS (
                SELECT type.oid, type.typbasetype, 0 FROM pg_catalog.pg_type AS type WHERE type.oid = attribute.atttypid
                UNION ALL
                SELECT type.oid, type.typbasetype, depth + 1
                FROM under JOIN pg_catalog.pg_type AS type ON type.oid = under.base
            )
            SELECT type.* FROM under JOIN pg_catalog.pg_type AS type ON type.oid = under.oid
            ORDER BY under.depth DESC LIMIT 1
        ) AS base ON true
        WHERE attribute.attnum > 0 AND NOT attribute.attisdropped
    ),
    -- Columns that identify rows at any time: not if the constraint is deferrable, or if child tables can
    -- have the same values.
    'unique_keys', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.to_jsonb((index.indkey::smallint[])[0:index.indnkeyatts - 1])), '[]')
        FROM relation JOIN pg_catalog.pg_index AS index ON index.indrelid = relation.oid
        WHERE index.indisunique AND index.indisvalid AND index.indimmediate
            AND index.indpred IS NULL AND index.indexprs IS NULL
            AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS attribute
                WHERE attribute.attrelid = relation.oid AND NOT attribute.attnotnull
                    AND attribute.attnum = ANY ((index.indkey::smallint[])[0:index.indnkeyatts - 1])
            )
            AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class AS child ON child.oid = inhrelid
                WHERE inhparent = relation.oid AND NOT child.relispartition
            )
    ),
    'enrolments', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'order_id', e.order_id, 'at', e.recorded_at, 'event', e.event, 'relation', e.relation::bigint,
            'key_columns', e.key_columns, 'key_numbers', e.key_attnums, 'key_since', e.key_since,
            'was_captured', e.was_captured, 'was_empty', e.table_was_empty,
            'last_change_at', CASE WHEN NOT e.was_captured THEN (
                SELECT c.captured_at FROM @threadline@.audit_changes AS c
                WHERE c.table_name = $2 AND c.table_schema = $1
                    AND c.captured_at <= e.recorded_at AND c.id < e.order_id
                ORDER BY c.captured_at DESC, c.id DESC LIMIT 1
            ) END
        ) ORDER BY e.order_id), '[]')
        FROM @threadline@.audit_enrolments AS e WHERE e.table_name = $2 AND e.table_schema = $1
    ),
    'suspensions', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'order_id', s.order_id, 'at', s.suspended_at
        ) ORDER BY s.order_id), '[]')
        FROM @threadline@.audit_suspensions AS s WHERE pg_catalog.format('%I.%I', $1, $2) = ANY (s.tables)
    ),
    'baselines', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'from', run.started_at, 'to', run.ended_at, 'of_all_rows', run.selection = 'all'
        ) ORDER BY run.id), '[]')
        FROM @threadline@.audit_baseline_runs AS run
        WHERE run.table_name = $2 AND run.table_schema = $1 AND run.state = 'finished'
    ),
    'last_purge', (
        SELECT max(removal.removed_at) FROM @threadline@.audit_removals AS removal
        WHERE removal.kind = 'retention' AND removal.scope -> 'cutoffs' ? pg_catalog.format('%I.%I', $1, $2)
    ),
    'removed', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'last_id', removed.last_id, 'from', removed.began_at, 'to', removed.ended_at
        ) ORDER BY removed.last_id), '[]')
        FROM (@removed@) AS removed
    ),
    'purge_keeps_rows', NOT EXISTS (
        SELECT FROM @threadline@.audit_retention_runs AS run
        WHERE COALESCE(run.policy ->> 'last_images', 'purged') <> 'kept'
    ),
    'truncations', (
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'id', c.id, 'at', c.captured_at, 'partition', c.partition_name
        ) ORDER BY c.id), '[]')
        FROM @threadline@.audit_changes AS c
        WHERE c.table_name = $2 AND c.table_schema = $1 AND c.row_key IS NULL AND c.op = 'truncate'
    )
) AS facts
