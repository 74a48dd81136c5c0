-- What a purge does: one bounded step a call, each a transaction of its own, so that it can be killed
-- at any point. A step finds its place by the run's progress and by what is left; nothing is counted
-- twice, because the counts are written in the transaction that removes.
--
-- Writers do not wait for it: rows are deleted oldest first, some at a time; a partition that is
-- expired as a whole is dropped under a lock that is given up after a moment and asked for again.

-- The changes, oldest partition first.
CREATE OR REPLACE FUNCTION @threadline@.purge_changes(
    cutoffs jsonb, progress jsonb, batch integer, lock_wait interval, attempts integer
) RETURNS @threadline@.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $changes$
DECLARE
    deadline CONSTANT timestamptz := clock_timestamp() + interval '50 milliseconds';
    page CONSTANT integer := 500;
    newest CONSTANT timestamptz := (cutoffs ->> 'newest')::timestamptz;
    keeps_images CONSTANT boolean := cutoffs ->> 'last_images' = 'kept';
    place_from CONSTANT timestamptz := COALESCE((progress ->> 'from')::timestamptz, '-infinity');
    result @threadline@.purge_result := @threadline@.purge_result_of('removed', NULL, progress);
    left_in_batch integer := batch;
    part record;
    tab record;
    chunk record;
    cutoff timestamptz;
    at_here timestamptz;
    id_here bigint;
    counted jsonb;
    of_table bigint;
BEGIN
    FOR part IN
        SELECT p.partition, p.partition_name, p.from_instant, p.to_instant,
            COALESCE(p.from_instant, 'infinity') AS place
        FROM @threadline@.trail_partitions() AS p
        WHERE p.parent = 'audit_changes' AND COALESCE(p.from_instant, 'infinity') >= place_from
            AND (p.from_instant IS NULL OR p.from_instant < newest)
        ORDER BY 5
    LOOP
        CONTINUE WHEN part.partition_name = progress ->> 'skip';
        IF @threadline@.partition_is_expired(part.partition, part.to_instant, cutoffs)
            AND (NOT keeps_images OR NOT EXISTS (SELECT FROM @threadline@.tables_in(part.partition)))
        THEN
            -- What this step did so far is counted before a drop counts for itself.
            IF result.changes + result.baselines > 0 THEN
                result.progress := jsonb_build_object('phase', 'changes', 'from', part.place);
                RETURN result;
            END IF;
            IF progress ->> 'partition' = part.partition_name THEN
                counted := progress -> 'counted';
            ELSE
                EXECUTE format(
                    'SELECT COALESCE(jsonb_agg(jsonb_build_array(c.table_schema, c.table_name, c.n)), ''[]'') '
                    'FROM (SELECT table_schema, table_name, count(*) AS n FROM %s GROUP BY 1, 2) AS c',
                    part.partition
                ) INTO counted;
            END IF;
            -- Transactions may be left behind without a change; their months are searched again.
            DELETE FROM @threadline@.audit_retention_sweeps AS swept
            USING @threadline@.trail_partitions() AS month
            WHERE month.partition_name = swept.partition_name AND month.parent = 'audit_transactions'
                AND month.from_instant < part.to_instant
                AND month.to_instant > @threadline@.first_transaction_began_at(part.partition);
            result := @threadline@.try_to_drop(
                'audit_changes', part.partition, part.partition_name, part.place, lock_wait, attempts,
                format('SELECT @threadline@.partition_is_expired(%L, %L, %L)',
                    part.partition, part.to_instant, cutoffs),
                counted, progress
            );
            IF result.step = 'dropped' THEN
                SELECT COALESCE(sum((entry ->> 2)::bigint), 0), COALESCE(jsonb_object_agg(
                    format('%I.%I', entry ->> 0, entry ->> 1), entry -> 2), '{}')
                INTO result.changes, result.tables
                FROM jsonb_array_elements(counted) AS entry;
                PERFORM @threadline@.advance_horizon(entry ->> 0, entry ->> 1,
                    @threadline@.cutoff_of_table(cutoffs, entry ->> 0, entry ->> 1))
                FROM jsonb_array_elements(counted) AS entry;
            END IF;
            RETURN result;
        END IF;
        FOR tab IN SELECT t.table_schema, t.table_name FROM @threadline@.tables_in(part.partition) AS t LOOP
            at_here := '-infinity';
            id_here := -1;
            IF part.place = place_from AND progress ? 'table' THEN
                CONTINUE WHEN (tab.table_name COLLATE "C", tab.table_schema COLLATE "C")
                    < (progress ->> 'table', progress ->> 'schema');
                IF tab.table_name = progress ->> 'table' AND tab.table_schema = progress ->> 'schema' THEN
                    at_here := (progress ->> 'at')::timestamptz;
                    id_here := (progress ->> 'id')::bigint;
                END IF;
            END IF;
            cutoff := @threadline@.cutoff_of_table(cutoffs, tab.table_schema, tab.table_name);
            CONTINUE WHEN cutoff IS NULL OR part.from_instant >= cutoff;
            of_table := 0;
            LOOP
                IF keeps_images THEN
                    chunk := @threadline@.reduce_expired(part.partition, tab.table_schema,
                        tab.table_name, cutoff, at_here, id_here, LEAST(page, left_in_batch));
                ELSE
                    chunk := @threadline@.remove_expired(part.partition, tab.table_schema,
                        tab.table_name, cutoff, at_here, id_here, LEAST(page, left_in_batch));
                END IF;
                EXIT WHEN chunk.examined = 0;
                at_here := chunk.last_at;
                id_here := chunk.last_id;
                of_table := of_table + chunk.removed;
                left_in_batch := left_in_batch - chunk.examined;
                result.changes := result.changes + chunk.removed;
                result.baselines := result.baselines + chunk.baselines;
                IF chunk.removed > 0 THEN
                    result.transactions := result.transactions + @threadline@.remove_emptied_transactions(
                        chunk.transactions, (cutoffs ->> 'transactions')::timestamptz,
                        part.partition, part.from_instant, part.to_instant
                    );
                END IF;
                EXIT WHEN left_in_batch <= 0 OR clock_timestamp() > deadline
                    OR chunk.examined < LEAST(page, left_in_batch + chunk.examined);
            END LOOP;
            IF of_table > 0 THEN
                PERFORM @threadline@.advance_horizon(tab.table_schema, tab.table_name, cutoff);
                result.tables := result.tables || jsonb_build_object(
                    format('%I.%I', tab.table_schema, tab.table_name), of_table);
            END IF;
            result.subject := part.partition_name;
            IF left_in_batch <= 0 OR clock_timestamp() > deadline THEN
                result.progress := jsonb_build_object(
                    'phase', 'changes', 'from', part.place, 'schema', tab.table_schema,
                    'table', tab.table_name, 'at', at_here, 'id', id_here
                );
                RETURN result;
            END IF;
        END LOOP;
    END LOOP;
    -- Renames say keys, which are kept no longer than the changes that gave them.
    DELETE FROM @threadline@.audit_renames AS rename
    WHERE rename.captured_at < @threadline@.latest_cutoff(cutoffs)
        AND rename.captured_at < @threadline@.cutoff_of_table(
            cutoffs, rename.table_schema, rename.table_name
        );
    result.progress := '{"phase": "transactions"}';
    RETURN result;
END
$changes$;

-- When the oldest transaction began that has changes in a partition.
CREATE OR REPLACE FUNCTION @threadline@.first_transaction_began_at(partition regclass)
RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $first$
DECLARE
    first_id uuid;
BEGIN
    EXECUTE format('SELECT transaction_id FROM %s ORDER BY transaction_id LIMIT 1', partition) INTO first_id;
    RETURN @threadline@.transaction_began_at(first_id);
END
$first$;

-- The expired months of transactions: a month of which no change is left is dropped; another is
-- searched, once, for transactions without changes.
CREATE OR REPLACE FUNCTION @threadline@.purge_transactions(
    cutoffs jsonb, progress jsonb, batch integer, lock_wait interval, attempts integer
) RETURNS @threadline@.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $months$
DECLARE
    deadline CONSTANT timestamptz := clock_timestamp() + interval '50 milliseconds';
    page CONSTANT integer := 500;
    place_from CONSTANT timestamptz := COALESCE((progress ->> 'from')::timestamptz, '-infinity');
    result @threadline@.purge_result := @threadline@.purge_result_of('removed', NULL, progress);
    left_in_batch integer := batch;
    part record;
    still text;
    is_empty boolean;
    counted jsonb;
    id_here uuid;
    ids uuid[];
BEGIN
    FOR part IN
        SELECT p.partition, p.partition_name, p.from_instant, p.to_instant
        FROM @threadline@.trail_partitions() AS p
        WHERE p.parent = 'audit_transactions' AND p.from_instant >= place_from
            AND p.to_instant <= (cutoffs ->> 'empty_months')::timestamptz
        ORDER BY p.from_instant
    LOOP
        CONTINUE WHEN part.partition_name = progress ->> 'skip';
        still := format(
            'SELECT NOT EXISTS (SELECT FROM @threadline@.audit_changes WHERE transaction_id >= %L AND transaction_id < %L)',
            @threadline@.transaction_id_from(part.from_instant), @threadline@.transaction_id_from(part.to_instant)
        );
        EXECUTE still INTO is_empty;
        IF is_empty THEN
            IF result.transactions > 0 THEN
                result.progress := jsonb_build_object('phase', 'transactions', 'from', part.from_instant);
                RETURN result;
            END IF;
            IF progress ->> 'partition' = part.partition_name THEN
                counted := progress -> 'counted';
            ELSE
                counted := @threadline@.rows_in(part.partition);
            END IF;
            result := @threadline@.try_to_drop(
                'audit_transactions', part.partition, part.partition_name, part.from_instant,
                lock_wait, attempts, still, counted, progress
            );
            IF result.step = 'dropped' THEN
                result.transactions := counted::bigint;
                DELETE FROM @threadline@.audit_retention_sweeps AS swept
                WHERE swept.partition_name = part.partition_name;
            END IF;
            RETURN result;
        END IF;
        CONTINUE WHEN EXISTS (
            SELECT FROM @threadline@.audit_retention_sweeps AS swept
            WHERE swept.partition_name = part.partition_name
        );
        id_here := CASE WHEN part.from_instant = place_from AND progress ? 'id'
            THEN (progress ->> 'id')::uuid ELSE '00000000-0000-0000-0000-000000000000' END;
        LOOP
            EXECUTE format(
                'SELECT array_agg(t.id ORDER BY t.id) FROM ('
                '    SELECT id FROM %s WHERE id > $1 ORDER BY id LIMIT $2) AS t', part.partition
            ) INTO ids USING id_here, LEAST(page, left_in_batch);
            EXIT WHEN ids IS NULL;
            id_here := ids[cardinality(ids)];
            left_in_batch := left_in_batch - cardinality(ids);
            result.transactions := result.transactions + @threadline@.remove_emptied_transactions(
                ids, 'infinity', '@threadline@.audit_changes', NULL, NULL
            );
            EXIT WHEN left_in_batch <= 0 OR clock_timestamp() > deadline;
        END LOOP;
        result.subject := part.partition_name;
        IF ids IS NOT NULL THEN
            result.progress := jsonb_build_object(
                'phase', 'transactions', 'from', part.from_instant, 'id', id_here);
            RETURN result;
        END IF;
        INSERT INTO @threadline@.audit_retention_sweeps (partition_name, swept_at)
        VALUES (part.partition_name, clock_timestamp());
    END LOOP;
    result.progress := '{"phase": "actions"}';
    RETURN result;
END
$months$;

-- How many rows a partition has, as a JSON number.
CREATE OR REPLACE FUNCTION @threadline@.rows_in(partition regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $rows$
DECLARE
    counted bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', partition) INTO counted;
    RETURN to_jsonb(counted);
END
$rows$;

-- The actions: expired months are dropped, the rest goes by rows, oldest first.
CREATE OR REPLACE FUNCTION @threadline@.purge_actions(
    cutoffs jsonb, progress jsonb, batch integer, lock_wait interval, attempts integer
) RETURNS @threadline@.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off SET jit = off AS $actions$
DECLARE
    deadline CONSTANT timestamptz := clock_timestamp() + interval '50 milliseconds';
    page CONSTANT integer := 500;
    cutoff CONSTANT timestamptz := (cutoffs ->> 'actions')::timestamptz;
    place_from CONSTANT timestamptz := COALESCE((progress ->> 'from')::timestamptz, '-infinity');
    result @threadline@.purge_result := @threadline@.purge_result_of('removed', NULL, progress);
    left_in_batch integer := batch;
    part record;
    counted jsonb;
    id_here uuid;
    last_id uuid;
    removed bigint;
BEGIN
    FOR part IN
        SELECT p.partition, p.partition_name, p.from_instant, p.to_instant,
            COALESCE(p.from_instant, 'infinity') AS place
        FROM @threadline@.trail_partitions() AS p
        WHERE p.parent = 'audit_actions' AND COALESCE(p.from_instant, 'infinity') >= place_from
            AND cutoff IS NOT NULL AND (p.from_instant IS NULL OR p.from_instant < cutoff)
        ORDER BY 5
    LOOP
        CONTINUE WHEN part.partition_name = progress ->> 'skip';
        IF part.to_instant <= cutoff THEN
            IF progress ->> 'partition' = part.partition_name THEN
                counted := progress -> 'counted';
            ELSE
                counted := @threadline@.rows_in(part.partition);
            END IF;
            result := @threadline@.try_to_drop(
                'audit_actions', part.partition, part.partition_name, part.place, lock_wait, attempts,
                'SELECT true', counted, progress
            );
            IF result.step = 'dropped' THEN
                result.actions := counted::bigint;
            END IF;
            RETURN result;
        END IF;
        id_here := CASE WHEN part.place = place_from AND progress ? 'id'
            THEN (progress ->> 'id')::uuid ELSE '00000000-0000-0000-0000-000000000000' END;
        LOOP
            EXECUTE format(
                'WITH gone AS ('
                '    DELETE FROM %1$s WHERE id = ANY (ARRAY('
                '        SELECT id FROM %1$s WHERE id < $1 AND id > $2 ORDER BY id LIMIT $3'
                '    )) RETURNING id'
                ') SELECT count(*), (SELECT last.id FROM gone AS last ORDER BY last.id DESC LIMIT 1) FROM gone',
                part.partition
            ) INTO removed, last_id USING @threadline@.action_id_from(cutoff), id_here, LEAST(page, left_in_batch);
            EXIT WHEN removed = 0;
            id_here := last_id;
            left_in_batch := left_in_batch - removed;
            result.actions := result.actions + removed;
            result.subject := part.partition_name;
            IF left_in_batch <= 0 OR clock_timestamp() > deadline THEN
                result.progress := jsonb_build_object('phase', 'actions', 'from', part.place, 'id', id_here);
                RETURN result;
            END IF;
        END LOOP;
    END LOOP;
    result.progress := '{"phase": "done"}';
    RETURN result;
END
$actions$;

-- One step of a run. Call it, each time in a transaction of its own, until `step` is finished,
-- failed, or lost (the run is not running any more: it was taken for dead).
CREATE OR REPLACE FUNCTION @threadline@.purge_step(
    run bigint, batch integer, lease interval, lock_wait interval, attempts integer
) RETURNS TABLE (
    step text, subject text, changes bigint, transactions bigint, actions bigint, baselines bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $step$
#variable_conflict use_column
DECLARE
    this @threadline@.audit_retention_runs;
    result @threadline@.purge_result;
BEGIN
    SELECT * INTO this FROM @threadline@.audit_retention_runs AS mine WHERE mine.id = run FOR UPDATE;
    IF this.state IS DISTINCT FROM 'running' THEN
        step := 'lost';
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM @threadline@.sanction(true);
    BEGIN
        CASE this.progress ->> 'phase'
            WHEN 'changes' THEN
                result := @threadline@.purge_changes(this.cutoffs, this.progress, batch, lock_wait, attempts);
            WHEN 'transactions' THEN
                result := @threadline@.purge_transactions(this.cutoffs, this.progress, batch, lock_wait, attempts);
            WHEN 'actions' THEN
                result := @threadline@.purge_actions(this.cutoffs, this.progress, batch, lock_wait, attempts);
            ELSE
                result := @threadline@.purge_result_of('finished', NULL, this.progress);
        END CASE;
        IF result.changes + result.transactions + result.actions + result.baselines > 0 THEN
            PERFORM @threadline@.record_removal(
                'retention', 'retention run ' || run,
                jsonb_build_object(
                    'run', run, 'partition', result.subject, 'dropped', result.step = 'dropped',
                    'before', @threadline@.latest_cutoff(this.cutoffs),
                    'tables', result.tables, 'transactions', result.transactions,
                    'actions', result.actions, 'baselines', result.baselines
                ),
                result.changes
            );
        END IF;
    EXCEPTION WHEN OTHERS THEN
        result := @threadline@.purge_result_of(
            'failed', format('%s at %s', SQLSTATE, this.progress - 'counted'), this.progress);
    END;
    UPDATE @threadline@.audit_retention_runs AS mine
    SET state = CASE result.step WHEN 'finished' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'running' END,
        finished_at = CASE WHEN result.step IN ('finished', 'failed') THEN clock_timestamp() END,
        lease_until = clock_timestamp() + lease,
        progress = result.progress,
        step_count = mine.step_count + 1,
        change_count = mine.change_count + result.changes,
        transaction_count = mine.transaction_count + result.transactions,
        action_count = mine.action_count + result.actions,
        baseline_count = mine.baseline_count + result.baselines,
        partition_count = mine.partition_count + (result.step = 'dropped')::integer,
        postponed = CASE WHEN result.step = 'postponed'
            THEN mine.postponed || result.subject ELSE mine.postponed END,
        failure = CASE WHEN result.step = 'failed' THEN result.subject END
    WHERE mine.id = run;
    PERFORM @threadline@.sanction(false);
    step := result.step;
    subject := result.subject;
    changes := result.changes;
    transactions := result.transactions;
    actions := result.actions;
    baselines := result.baselines;
    RETURN NEXT;
END
$step$;
