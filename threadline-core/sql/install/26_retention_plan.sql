-- What a purge under a policy would remove, and what that would leave. Reads, and changes nothing.

-- One row for each expired part: `drop` (a partition that goes as a whole) or `batch` (rows of it),
-- for each table in it; `transactions` and `actions` for each month of them. Bytes of a batch are its
-- share of the partition.
CREATE OR REPLACE FUNCTION @threadline@.retention_plan(policy jsonb)
RETURNS TABLE (
    part text, partition_name text, from_instant timestamptz, to_instant timestamptz,
    table_schema text, table_name text, before timestamptz, rows bigint, bytes bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $plan$
#variable_conflict use_column
DECLARE
    cutoffs CONSTANT jsonb := @threadline@.retention_cutoffs(policy, clock_timestamp());
    newest CONSTANT timestamptz := (cutoffs ->> 'newest')::timestamptz;
    actions_before CONSTANT timestamptz := (cutoffs ->> 'actions')::timestamptz;
    transactions_before CONSTANT timestamptz := (cutoffs ->> 'transactions')::timestamptz;
    found record;
    tab record;
    size bigint;
    every bigint;
BEGIN
    FOR found IN
        SELECT p.* FROM @threadline@.trail_partitions() AS p
        WHERE p.parent = 'audit_changes' AND newest IS NOT NULL
            AND (p.from_instant IS NULL OR p.from_instant < newest)
        ORDER BY p.from_instant
    LOOP
        partition_name := found.partition_name;
        from_instant := found.from_instant;
        to_instant := found.to_instant;
        part := CASE
            WHEN @threadline@.partition_is_expired(found.partition, found.to_instant, cutoffs)
                AND cutoffs ->> 'last_images' <> 'kept'
            THEN 'drop' ELSE 'batch'
        END;
        size := pg_total_relation_size(found.partition);
        SELECT GREATEST(class.reltuples, 1)::bigint INTO every
        FROM pg_class AS class WHERE class.oid = found.partition;
        IF part = 'drop' AND NOT EXISTS (SELECT FROM @threadline@.tables_in(found.partition)) THEN
            table_schema := NULL;
            table_name := NULL;
            before := found.to_instant;
            rows := 0;
            bytes := size;
            RETURN NEXT;
        END IF;
        FOR tab IN SELECT t.table_schema, t.table_name FROM @threadline@.tables_in(found.partition) AS t LOOP
            before := @threadline@.cutoff_of_table(cutoffs, tab.table_schema, tab.table_name);
            CONTINUE WHEN before IS NULL OR found.from_instant >= before;
            table_schema := tab.table_schema;
            table_name := tab.table_name;
            EXECUTE format(
                'SELECT count(*) FROM %s AS c WHERE c.table_name = $1 AND c.table_schema = $2 AND c.captured_at < $3',
                found.partition
            ) INTO rows USING table_name, table_schema, before;
            CONTINUE WHEN rows = 0;
            bytes := (size * LEAST(rows::numeric / GREATEST(every, rows), 1))::bigint;
            RETURN NEXT;
        END LOOP;
    END LOOP;

    table_schema := NULL;
    table_name := NULL;
    part := 'transactions';
    before := newest;
    bytes := NULL;
    FOR partition_name, from_instant, to_instant, rows IN
        SELECT p.partition_name, p.from_instant, p.to_instant, count(*)
        FROM (
            -- Those of which every change is expired, and that did not go on after the newest cut-off.
            SELECT change.transaction_id AS id
            FROM @threadline@.audit_changes AS change
            WHERE change.captured_at < newest
            GROUP BY change.transaction_id
            HAVING bool_and(COALESCE(change.captured_at < @threadline@.cutoff_of_table(
                cutoffs, change.table_schema, change.table_name), false))
        ) AS ended
        JOIN @threadline@.audit_transactions AS t ON t.id = ended.id
        LEFT JOIN @threadline@.trail_partitions() AS p
            ON p.parent = 'audit_transactions'
                AND @threadline@.transaction_began_at(ended.id) >= p.from_instant
                AND @threadline@.transaction_began_at(ended.id) < p.to_instant
        WHERE (transactions_before = 'infinity'
                OR ended.id < @threadline@.transaction_id_from(transactions_before))
            AND cutoffs ->> 'last_images' <> 'kept'
            AND ended.id NOT IN (
                SELECT later.transaction_id FROM @threadline@.audit_changes AS later
                WHERE later.captured_at >= newest
                    AND later.transaction_id < @threadline@.transaction_id_from(newest)
            )
        GROUP BY 1, 2, 3
        ORDER BY 2
    LOOP
        RETURN NEXT;
    END LOOP;

    part := 'actions';
    before := actions_before;
    FOR found IN
        SELECT p.* FROM @threadline@.trail_partitions() AS p
        WHERE p.parent = 'audit_actions' AND actions_before IS NOT NULL
            AND (p.from_instant IS NULL OR p.from_instant < actions_before)
        ORDER BY p.from_instant
    LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE id < $1', found.partition)
            INTO rows USING @threadline@.action_id_from(LEAST(actions_before, found.to_instant));
        CONTINUE WHEN rows = 0;
        partition_name := found.partition_name;
        from_instant := found.from_instant;
        to_instant := found.to_instant;
        bytes := CASE WHEN found.to_instant <= actions_before THEN pg_total_relation_size(found.partition) END;
        RETURN NEXT;
    END LOOP;
END
$plan$;
