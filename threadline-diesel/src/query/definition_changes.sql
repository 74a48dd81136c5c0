-- The columns whose definition in the policy of a change differs from the present one, as a jsonb array.
-- @schema@, @table@ and @change@ are expressions.
(
    SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'column', stored.name, 'type', stored.type, 'present_name', present.name, 'present_type', present.type,
        'since', (
            SELECT pg_catalog.min(later.recorded_at) FROM @threadline@.audit_enrolments AS later
            WHERE later.table_name = @table@ AND later.table_schema = @schema@ AND later.event = 'enabled'
                AND later.order_id > policy.order_id
                AND NOT EXISTS (
                    SELECT FROM pg_catalog.jsonb_to_recordset(later.columns) AS same (name text, attnum int2, type text)
                    WHERE same.name = stored.name AND same.type = stored.type
                        AND (same.attnum = stored.attnum OR later.relation <> policy.relation)
                )
        )
    ) ORDER BY stored.attnum), '[]')
    FROM (
        SELECT e.order_id, e.relation, e.columns FROM @threadline@.audit_enrolments AS e
        WHERE e.table_name = @table@ AND e.table_schema = @schema@ AND e.event = 'enabled' AND e.order_id < @change@
        ORDER BY e.order_id DESC LIMIT 1
    ) AS policy
    JOIN pg_catalog.pg_class AS class ON class.relname = @table@
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace AND namespace.nspname = @schema@
    CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(policy.columns) AS stored (name text, attnum int2, type text)
    LEFT JOIN LATERAL (
        -- The type as a policy has it: qualified, whatever search_path is.
        SELECT a.attname::text AS name, CASE
                WHEN element.typnamespace <> 'pg_catalog'::regnamespace AND pg_catalog.pg_type_is_visible(element.oid)
                THEN pg_catalog.quote_ident(of_type.nspname) || '.'
                ELSE ''
            END || pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS type ON type.oid = a.atttypid
        JOIN pg_catalog.pg_type AS element
            ON element.oid = CASE WHEN type.typcategory = 'A' AND type.typelem <> 0 THEN type.typelem ELSE type.oid END
        JOIN pg_catalog.pg_namespace AS of_type ON of_type.oid = element.typnamespace
        WHERE a.attrelid = class.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND CASE WHEN policy.relation = class.oid THEN a.attnum = stored.attnum ELSE a.attname = stored.name END
        OFFSET 0 -- Otherwise the planner joins all of pg_attribute.
    ) AS present ON true
    WHERE (present.name, present.type) IS DISTINCT FROM (stored.name, stored.type)
)
