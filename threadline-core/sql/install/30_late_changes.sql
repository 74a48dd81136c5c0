-- Changes that came late: long after their transaction began.

-- "Which change has this id?" and "Which changes came late?" Ids and instants grow with the table, so a
-- summary of its pages is enough.
SELECT @threadline@.ensure_index($index$
CREATE INDEX audit_changes_order_idx
    ON @threadline@.audit_changes USING brin (id, captured_at, transaction_id)
    WITH (autosummarize = on)
$index$);

-- The transactions that changed something between two instants, both inclusive, though they began before
-- a transaction, or, for a clock may be set back, after another.
CREATE OR REPLACE FUNCTION @threadline@.late_transactions_by_summary(
    from_instant timestamptz, to_instant timestamptz, began_before uuid, began_after uuid
) RETURNS TABLE (transaction_id uuid)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
-- The planner never expects the summary to be better than reading change by change.
SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off
SET plan_cache_mode = force_generic_plan SET jit = off AS $late$
BEGIN
    RETURN QUERY
    SELECT DISTINCT late.transaction_id
    FROM @threadline@.audit_changes AS late
    WHERE late.captured_at >= from_instant AND late.captured_at <= to_instant
        AND (late.transaction_id < began_before OR late.transaction_id >= began_after);
END
$late$;

-- The transactions that changed something between two instants, both inclusive, though they began before
-- a transaction. Who reads the newest transactions asks this before calling what they changed the newest
-- changes. Transactions that begin after the second instant are among them.
CREATE OR REPLACE FUNCTION @threadline@.late_transactions(
    from_instant timestamptz, to_instant timestamptz, began_before uuid
) RETURNS TABLE (transaction_id uuid)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET jit = off AS $late$
DECLARE
    at_a_time CONSTANT integer := 300;
    began_after uuid := @threadline@.transaction_id_from(to_instant + interval '1 microsecond');
    looked_at record;
BEGIN
    -- Often there are few changes between, and they are read faster than the summary.
    SELECT count(*) AS changes, min(c.captured_at) AS earliest,
        array_agg(DISTINCT c.transaction_id) FILTER (
            WHERE c.transaction_id < began_before OR c.transaction_id >= began_after
        ) AS late
    INTO looked_at
    FROM (
        SELECT c.captured_at, c.transaction_id
        FROM @threadline@.audit_changes AS c
        WHERE c.captured_at >= from_instant AND c.captured_at <= to_instant
        ORDER BY c.captured_at DESC, c.id DESC
        LIMIT at_a_time
    ) AS c;
    RETURN QUERY SELECT unnest(looked_at.late);
    IF looked_at.changes = at_a_time THEN
        RETURN QUERY SELECT * FROM @threadline@.late_transactions_by_summary(
            from_instant, looked_at.earliest, began_before, began_after
        );
    END IF;
END
$late$;
