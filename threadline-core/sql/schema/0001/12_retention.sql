-- Removal of expired records: four functions for a role that purges the trail. Each call is bounded and
-- records its removals. The caller decides which records are expired.

CREATE TABLE @threadline@.audit_retention_runs (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state             text COLLATE "C" NOT NULL
        CHECK (state IN ('running', 'completed', 'stopped', 'failed', 'abandoned')),
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz,
    started_by        text        NOT NULL DEFAULT session_user,
    lease_until       timestamptz NOT NULL,
    policy            jsonb       NOT NULL,
    cutoffs           jsonb       NOT NULL,
    step_count        bigint      NOT NULL DEFAULT 0,
    change_count      bigint      NOT NULL DEFAULT 0,
    transaction_count bigint      NOT NULL DEFAULT 0,
    action_count      bigint      NOT NULL DEFAULT 0,
    baseline_count    bigint      NOT NULL DEFAULT 0,
    partition_count   bigint      NOT NULL DEFAULT 0,
    postponed         text[]      NOT NULL DEFAULT '{}',
    failure           text
);
COMMENT ON TABLE @threadline@.audit_retention_runs IS
    'One row for each purge: policy, lease, state and numbers of removed records.';
-- One run at a time.
CREATE UNIQUE INDEX audit_retention_runs_running_idx ON @threadline@.audit_retention_runs (state) WHERE state = 'running';
CREATE TRIGGER guard_finished BEFORE UPDATE ON @threadline@.audit_retention_runs
    FOR EACH ROW WHEN (OLD.state <> 'running') EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_record BEFORE DELETE OR TRUNCATE ON @threadline@.audit_retention_runs
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();

CREATE TABLE @threadline@.audit_horizons (
    table_schema  text COLLATE "C" NOT NULL,
    table_name    text COLLATE "C" NOT NULL,
    purged_before timestamptz NOT NULL,
    PRIMARY KEY (table_name, table_schema)
);
COMMENT ON TABLE @threadline@.audit_horizons IS 'One row for each table of which retention removed changes: its last cut-off.';

CREATE TABLE @threadline@.audit_restored_spans (
    from_instant timestamptz PRIMARY KEY,
    to_instant   timestamptz NOT NULL,
    first_id     bigint      NOT NULL,
    last_id      bigint      NOT NULL,
    keep_until   timestamptz NOT NULL,
    reason       text        NOT NULL
);
COMMENT ON TABLE @threadline@.audit_restored_spans IS
    'One row for each partition of changes restored from an archive. A purge keeps all before its end until keep_until.';

-- Records a removal by retention, and raises the horizon of the tables to the cut-off. `before` is the cut-off of
-- removed transactions and actions, which belong to no table.
CREATE FUNCTION @threadline@.record_purge(
    reason text, schemas text[], tables text[], cutoff timestamptz, removed bigint, more jsonb
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO @threadline@.audit_horizons AS horizon (table_schema, table_name, purged_before)
    SELECT purged.*, cutoff FROM unnest(schemas, tables) AS purged
    ON CONFLICT (table_name, table_schema) DO UPDATE SET purged_before = EXCLUDED.purged_before
    WHERE horizon.purged_before < EXCLUDED.purged_before;
    PERFORM @threadline@.record_removal('retention', reason, more || jsonb_build_object('before', cutoff, 'cutoffs', (
        SELECT coalesce(jsonb_object_agg(format('%I.%I', purged.schema, purged.name), cutoff), '{}')
        FROM unnest(schemas, tables) AS purged (schema, name)
    )), removed);
END
$$;

-- Removes the oldest changes of one table captured before an instant: at most `batch`, from one partition.
-- 0 means that none are left. A transaction is removed with its last change if it began before
-- `transactions_before` (null: never). With `keep_last_images`, a row whose newest change is removed gets a
-- new baseline, unless the image may be outdated: the row was deleted, the change is restored, or after it the table
-- was truncated, capture was disabled, or the key was redefined.
CREATE FUNCTION @threadline@.remove_changes(
    of_schema text, of_table text, before timestamptz, batch integer, reason text,
    keep_last_images boolean DEFAULT false, transactions_before timestamptz DEFAULT 'infinity',
    OUT changes bigint, OUT transactions bigint, OUT baselines bigint
)
-- With stale statistics the planner would choose a sequential scan of the partition.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    this_transaction uuid := @threadline@.current_transaction_id();
    partition regclass;
    known_after bigint;
    last_at timestamptz;
    ids uuid[];
    -- Nothing is removed before the end of the newest restored span that is kept.
    kept timestamptz := coalesce(
        (SELECT max(to_instant) FROM @threadline@.audit_restored_spans WHERE keep_until > now()), '-infinity');
BEGIN
    changes := 0; transactions := 0; baselines := 0;
    SELECT change.tableoid INTO partition FROM @threadline@.audit_changes AS change
    WHERE change.table_name = of_table AND change.table_schema = of_schema AND change.captured_at < before
        AND change.captured_at >= kept
    ORDER BY change.captured_at, change.id LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF keep_last_images THEN
        SELECT max(order_id) INTO known_after FROM (
            SELECT greatest(CASE WHEN event = 'disabled' OR NOT was_captured THEN order_id END, key_since)
            FROM @threadline@.audit_enrolments WHERE table_name = of_table AND table_schema = of_schema
            UNION ALL
            SELECT max(id) FROM @threadline@.audit_changes
            WHERE table_name = of_table AND table_schema = of_schema AND row_key IS NULL AND op = 'truncate'
            UNION ALL SELECT max(last_id) FROM @threadline@.audit_restored_spans
        ) AS ends (order_id);
    END IF;
    PERFORM @threadline@.allow_trail_delete(true);
    EXECUTE format($sql$
        WITH gone AS (
            DELETE FROM %1$s WHERE ctid = ANY (ARRAY(
                SELECT change.ctid FROM %1$s AS change
                WHERE change.table_name = $1 AND change.table_schema = $2 AND change.captured_at < $3
                ORDER BY change.captured_at, change.id LIMIT $4
            ))
            RETURNING id, captured_at, transaction_id, row_key, table_pk, CASE WHEN $5 THEN data_after END AS image
        ), newest AS (
            SELECT DISTINCT ON (row_key) * FROM gone WHERE $5 AND row_key IS NOT NULL ORDER BY row_key, id DESC
        ), living AS (
            -- LIMIT 1 keeps the planner from turning these index look-ups into joins.
            SELECT * FROM newest WHERE image IS NOT NULL AND id > coalesce($7, 0) AND (
                SELECT later.id FROM @threadline@.audit_changes AS later WHERE later.table_name = $1
                    AND later.table_schema = $2 AND later.row_key = newest.row_key AND later.id > newest.id LIMIT 1
            ) IS NULL AND (
                SELECT later.change_id FROM @threadline@.audit_key_changes AS later WHERE later.table_name = $1
                    AND later.table_schema = $2 AND later.previous_key = newest.row_key
                    AND later.change_id > newest.id LIMIT 1
            ) IS NULL
        ), kept AS (
            INSERT INTO @threadline@.audit_changes
                (captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
            SELECT clock_timestamp(), $6, 'baseline', $2, $1, row_key, table_pk, image FROM living ORDER BY id
            RETURNING id
        )
        SELECT count(*), max(captured_at), array_agg(DISTINCT transaction_id), (SELECT count(*) FROM kept) FROM gone
        $sql$, partition)
    INTO changes, last_at, ids, baselines
    USING of_table, of_schema, before, batch, keep_last_images, this_transaction, known_after;
    PERFORM @threadline@.record_transaction(this_transaction, concat(txid_current(), '|||')) WHERE baselines > 0;
    DELETE FROM @threadline@.audit_key_changes AS moved
    WHERE moved.captured_at BETWEEN kept AND last_at AND moved.table_name = of_table AND moved.table_schema = of_schema;

    DELETE FROM @threadline@.audit_transactions AS emptied
    WHERE emptied.id BETWEEN ids[1] AND ids[cardinality(ids)] AND emptied.id = ANY (ids)
        AND emptied.id < @threadline@.transaction_id_from(transactions_before) AND (
            SELECT change.id FROM @threadline@.audit_changes AS change WHERE change.transaction_id = emptied.id LIMIT 1
        ) IS NULL;
    GET DIAGNOSTICS transactions = ROW_COUNT;
    PERFORM @threadline@.allow_trail_delete(false);
    PERFORM @threadline@.record_purge(reason, ARRAY[of_schema], ARRAY[of_table], before, changes,
        jsonb_build_object('transactions', transactions, 'baselines', baselines));
END
$$;

-- Drops a partition of the trail that ends in the past; a partition of transactions only if none of them
-- has changes. Returns the number of its rows; null if the lock was not granted within `lock_wait`, a time
-- for which writers wait, too.
CREATE FUNCTION @threadline@.drop_trail_partition(
    partition_name text, reason text, lock_wait interval DEFAULT '50 milliseconds'
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    removed bigint;
    schemas text[] := '{}';
    tables text[] := '{}';
BEGIN
    SELECT found.* INTO part FROM @threadline@.trail_partitions() AS found
    WHERE found.partition_name = drop_trail_partition.partition_name AND found.to_instant <= now();
    IF NOT FOUND THEN
        RAISE EXCEPTION '"%" is not a partition of the trail for a time that is past', partition_name
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF part.parent = 'audit_transactions' AND EXISTS (
        SELECT FROM @threadline@.audit_changes AS change
        WHERE change.transaction_id >= @threadline@.transaction_id_from(part.from_instant)
            AND change.transaction_id < @threadline@.transaction_id_from(part.to_instant)
    ) THEN
        RAISE EXCEPTION 'transactions in "%" still have changes', partition_name
            USING ERRCODE = 'object_in_use';
    ELSIF part.parent = 'audit_changes' THEN
        EXECUTE format('SELECT coalesce(sum(n), 0), array_agg(table_schema), array_agg(table_name) FROM '
            '(SELECT table_schema, table_name, count(*) AS n FROM %s GROUP BY 1, 2) AS counted', part.partition)
        INTO removed, schemas, tables;
    ELSE
        EXECUTE format('SELECT count(*) FROM %s', part.partition) INTO removed;
    END IF;
    BEGIN
        PERFORM set_config('lock_timeout', (extract(epoch FROM lock_wait) * 1000)::integer || 'ms', true);
        -- Lock the parent first, as all other statements do.
        EXECUTE format('LOCK TABLE ONLY @threadline@.%I IN ACCESS EXCLUSIVE MODE', part.parent);
        EXECUTE format('DROP TABLE %s', part.partition);
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN NULL;
    END;
    IF part.parent = 'audit_changes' THEN
        PERFORM @threadline@.allow_trail_delete(true);
        DELETE FROM @threadline@.audit_key_changes AS moved
        WHERE moved.captured_at >= part.from_instant AND moved.captured_at < part.to_instant;
        DELETE FROM @threadline@.audit_restored_spans AS span WHERE span.from_instant = part.from_instant;
        PERFORM @threadline@.allow_trail_delete(false);
    END IF;
    PERFORM @threadline@.record_purge(reason, schemas, tables, part.to_instant,
        CASE part.parent WHEN 'audit_changes' THEN removed ELSE 0 END,
        jsonb_build_object('partition', partition_name, replace(part.parent, 'audit_', ''), removed))
    WHERE removed > 0;
    RETURN removed;
END
$$;

-- Reads the next `batch` transactions after an id that began before an instant, and removes those without
-- changes. `last_id` is the last id read; null if there are no more.
CREATE FUNCTION @threadline@.remove_transactions(
    after_id uuid, before timestamptz, batch integer, reason text, OUT transactions bigint, OUT last_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    SELECT page.id INTO last_id FROM (
        SELECT recorded.id FROM @threadline@.audit_transactions AS recorded
        WHERE recorded.id > after_id AND recorded.id < @threadline@.transaction_id_from(before)
        ORDER BY recorded.id LIMIT batch
    ) AS page ORDER BY page.id DESC LIMIT 1;
    PERFORM @threadline@.allow_trail_delete(true);
    DELETE FROM @threadline@.audit_transactions AS emptied
    WHERE emptied.id > after_id AND emptied.id <= last_id AND emptied.id NOT IN (
        SELECT change.transaction_id FROM @threadline@.audit_changes AS change
        WHERE change.transaction_id > after_id AND change.transaction_id <= last_id
    );
    GET DIAGNOSTICS transactions = ROW_COUNT;
    PERFORM @threadline@.allow_trail_delete(false);
    PERFORM @threadline@.record_purge(reason, '{}', '{}', before, 0, jsonb_build_object('transactions', transactions))
    WHERE transactions > 0;
END
$$;

-- Removes the oldest actions recorded before an instant, at most `batch`. Returns their number.
CREATE FUNCTION @threadline@.remove_actions(before timestamptz, batch integer, reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    removed bigint;
BEGIN
    PERFORM @threadline@.allow_trail_delete(true);
    DELETE FROM @threadline@.audit_actions WHERE id < @threadline@.action_id_from(before) AND id = ANY (ARRAY(
        SELECT expired.id FROM @threadline@.audit_actions AS expired
        WHERE expired.id < @threadline@.action_id_from(before) AND expired.id >= @threadline@.action_id_from(coalesce(
            (SELECT max(to_instant) FROM @threadline@.audit_restored_spans WHERE keep_until > now()), '-infinity'))
        ORDER BY expired.id LIMIT batch
    ));
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM @threadline@.allow_trail_delete(false);
    PERFORM @threadline@.record_purge(reason, '{}', '{}', before, 0, jsonb_build_object('actions', removed))
    WHERE removed > 0;
    RETURN removed;
END
$$;
