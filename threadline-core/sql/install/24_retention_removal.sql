-- How expired rows and partitions are removed, a bounded piece a call. 25_retention_steps.sql puts the
-- pieces into an order.
--
-- Where an index is what makes a query cheap, the function forbids sequential scans, so that no stale
-- statistics can bring one about; and just-in-time compilation with it, which the cost that stands
-- for the prohibition would set off.

DO $types$
BEGIN
    IF pg_catalog.to_regtype('@threadline@.purge_result') IS NULL THEN
        CREATE TYPE @threadline@.purge_result AS (
            step         text,    -- removed, dropped, locked, postponed, finished, failed, lost
            subject      text,    -- which partition, or what failed
            changes      bigint,
            transactions bigint,
            actions      bigint,
            baselines    bigint,
            tables       jsonb,   -- how many changes of which table
            progress     jsonb
        );
    END IF;
END
$types$;

-- What a step did that removed nothing (yet).
CREATE OR REPLACE FUNCTION @threadline@.purge_result_of(step text, subject text, progress jsonb)
RETURNS @threadline@.purge_result
LANGUAGE sql IMMUTABLE
RETURN ROW(step, subject, 0, 0, 0, 0, '{}', progress)::@threadline@.purge_result;

-- Removes transactions that have lost their last change. `partition` is where changes of theirs were
-- removed; others of theirs can be elsewhere only if the transaction went on past a month's end,
-- which one look at each partition's index of transactions tells.
CREATE OR REPLACE FUNCTION @threadline@.remove_emptied_transactions(
    candidates uuid[], before timestamptz,
    partition regclass, from_instant timestamptz, to_instant timestamptz
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $emptied$
#variable_conflict use_variable
DECLARE
    emptied uuid[];
    lowest uuid;
    highest uuid;
    is_elsewhere boolean;
    removed bigint;
BEGIN
    IF before IS NULL THEN
        RETURN 0; -- kept for ever
    END IF;
    -- The LIMITs keep these what they are meant to be: a look-up for each transaction.
    EXECUTE format(
        'SELECT array_agg(candidate.id ORDER BY candidate.id) FROM unnest($1) AS candidate (id) '
        'LEFT JOIN LATERAL ('
        '    SELECT true AS found FROM %s AS c WHERE c.transaction_id = candidate.id LIMIT 1'
        ') AS here ON true '
        'WHERE here.found IS NULL AND ($2 IS NULL OR candidate.id < $2)', partition
    ) INTO emptied USING candidates,
        CASE WHEN before < 'infinity' THEN @threadline@.transaction_id_from(before) END;
    IF emptied IS NULL THEN
        RETURN 0;
    END IF;
    lowest := emptied[1];
    highest := emptied[cardinality(emptied)];
    is_elsewhere := to_instant IS NULL
        OR EXISTS (
            SELECT FROM @threadline@.audit_changes AS c
            WHERE c.transaction_id BETWEEN lowest AND highest AND c.captured_at >= to_instant
        )
        OR EXISTS (
            SELECT FROM @threadline@.audit_changes AS c
            WHERE c.transaction_id BETWEEN lowest AND highest AND c.captured_at < from_instant
        );
    IF is_elsewhere THEN
        SELECT array_agg(candidate.id) INTO emptied
        FROM unnest(emptied) AS candidate (id)
        LEFT JOIN LATERAL (
            SELECT true AS found FROM @threadline@.audit_changes AS c
            WHERE c.transaction_id = candidate.id LIMIT 1
        ) AS anywhere ON true
        WHERE anywhere.found IS NULL;
    END IF;
    DELETE FROM @threadline@.audit_transactions AS t
    WHERE t.id BETWEEN lowest AND highest AND t.id = ANY (emptied);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$emptied$;

-- Removes expired changes of one table from one partition, those after a place, at most `page`.
-- `examined` less than `page` means that no more are expired there.
CREATE OR REPLACE FUNCTION @threadline@.remove_expired(
    partition regclass, of_schema text, of_table text, cutoff timestamptz,
    after_at timestamptz, after_id bigint, page integer,
    OUT examined bigint, OUT removed bigint, OUT baselines bigint, OUT transactions uuid[],
    OUT last_at timestamptz, OUT last_id bigint
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $expired$
BEGIN
    EXECUTE format(
        'WITH gone AS ('
        '    DELETE FROM %1$s WHERE ctid = ANY (ARRAY('
        '        SELECT c.ctid FROM %1$s AS c '
        '        WHERE c.table_name = $1 AND c.table_schema = $2 AND c.captured_at < $3 '
        '            AND (c.captured_at, c.id) > ($4, $5) '
        '        ORDER BY c.captured_at, c.id LIMIT $6'
        '    )) RETURNING captured_at, id, transaction_id'
        ') '
        'SELECT count(*), array_agg(DISTINCT transaction_id), '
        '(SELECT last.captured_at FROM gone AS last ORDER BY last.captured_at DESC, last.id DESC LIMIT 1), '
        '(SELECT last.id FROM gone AS last ORDER BY last.captured_at DESC, last.id DESC LIMIT 1) '
        'FROM gone', partition
    ) INTO examined, transactions, last_at, last_id
    USING of_table, of_schema, cutoff, after_at, after_id, page;
    removed := examined;
    baselines := 0;
END
$expired$;

-- The same, but keeps the last image of every row that still had one at the cut-off: that change
-- becomes a baseline. In delta form an image is made whole on the way: what a change that goes knows,
-- and the next one does not say, is added to the next one.
CREATE OR REPLACE FUNCTION @threadline@.reduce_expired(
    partition regclass, of_schema text, of_table text, cutoff timestamptz,
    after_at timestamptz, after_id bigint, page integer,
    OUT examined bigint, OUT removed bigint, OUT baselines bigint, OUT transactions uuid[],
    OUT last_at timestamptz, OUT last_id bigint
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $reduce$
#variable_conflict use_variable
DECLARE
    truncated_by bigint;
    change record;
    going_at timestamptz[] := '{}';
    going_id bigint[] := '{}';
    staying_at timestamptz[] := '{}';
    staying_id bigint[] := '{}';
BEGIN
    examined := 0;
    SELECT c.id INTO truncated_by FROM @threadline@.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
        AND c.op = 'truncate' AND c.partition_name IS NULL AND c.captured_at < cutoff
    ORDER BY c.id DESC LIMIT 1;
    -- What came next for the key of a change: another change of it, or the row left it.
    FOR change IN EXECUTE format(
        'SELECT c.captured_at, c.id, c.op, c.row_key, next.captured_at AS next_at, '
        'next.id AS next_id, COALESCE(next.is_delta, false) AS next_is_delta '
        'FROM %s AS c LEFT JOIN LATERAL ('
        '    SELECT n.captured_at, n.id, n.op = ''update'' '
        '        AND (n.previous_key IS NULL OR n.previous_key = c.row_key) '
        '        AND n.data_after - ARRAY(SELECT jsonb_object_keys(n.changed_from)) = ''{}'' AS is_delta '
        '    FROM ('
        '        (SELECT * FROM @threadline@.audit_changes AS same '
        '        WHERE same.table_name = $1 AND same.table_schema = $2 AND same.row_key = c.row_key '
        '            AND same.id > c.id AND same.captured_at < $3 ORDER BY same.id LIMIT 1) '
        '        UNION ALL '
        '        (SELECT * FROM @threadline@.audit_changes AS left_by '
        '        WHERE left_by.table_name = $1 AND left_by.table_schema = $2 '
        '            AND left_by.previous_key = c.row_key '
        '            AND left_by.id > c.id AND left_by.captured_at < $3 ORDER BY left_by.id LIMIT 1) '
        '    ) AS n ORDER BY n.id LIMIT 1'
        ') AS next ON true '
        'WHERE c.table_name = $1 AND c.table_schema = $2 AND c.captured_at < $3 '
        '    AND (c.captured_at, c.id) > ($4, $5) '
        'ORDER BY c.captured_at, c.id LIMIT $6', partition
    ) USING of_table, of_schema, cutoff, after_at, after_id, page LOOP
        examined := examined + 1;
        last_at := change.captured_at;
        last_id := change.id;
        IF change.op NOT IN ('insert', 'update', 'baseline') OR change.row_key IS NULL
            OR change.next_id IS NOT NULL OR change.id < truncated_by
        THEN
            going_at := going_at || change.captured_at;
            going_id := going_id || change.id;
            IF change.next_is_delta AND change.op IN ('insert', 'update', 'baseline') THEN
                UPDATE @threadline@.audit_changes AS next
                SET data_after = (
                    SELECT base.data_after || next.data_after FROM @threadline@.audit_changes AS base
                    WHERE base.captured_at = change.captured_at AND base.id = change.id
                )
                WHERE next.captured_at = change.next_at AND next.id = change.next_id;
            END IF;
        ELSIF change.op <> 'baseline' THEN
            staying_at := staying_at || change.captured_at;
            staying_id := staying_id || change.id;
        END IF;
    END LOOP;
    EXECUTE format(
        'WITH gone AS ('
        '    DELETE FROM %s AS c USING unnest($1, $2) AS going (captured_at, id) '
        '    WHERE c.captured_at = going.captured_at AND c.id = going.id RETURNING c.transaction_id'
        ') SELECT count(*), array_agg(DISTINCT transaction_id) FROM gone', partition
    ) INTO removed, transactions USING going_at, going_id;
    EXECUTE format(
        'UPDATE %s AS c SET op = ''baseline'', changed_from = NULL, previous_key = NULL '
        'FROM unnest($1, $2) AS staying (captured_at, id) '
        'WHERE c.captured_at = staying.captured_at AND c.id = staying.id', partition
    ) USING staying_at, staying_id;
    GET DIAGNOSTICS baselines = ROW_COUNT;
END
$reduce$;

-- Whether every change in a partition is expired.
CREATE OR REPLACE FUNCTION @threadline@.partition_is_expired(
    partition regclass, to_instant timestamptz, cutoffs jsonb
) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN COALESCE(to_instant <= (cutoffs ->> 'newest')::timestamptz, false) AND COALESCE((
    SELECT bool_and(COALESCE(
        to_instant <= @threadline@.cutoff_of_table(cutoffs, found.table_schema, found.table_name), false
    ))
    FROM @threadline@.tables_in(partition) AS found
), to_instant <= (cutoffs ->> 'changes')::timestamptz, false);

-- Drops one partition, if `still` (a query) says yes once nobody else uses it. Waits for the lock for
-- a moment only: whoever writes meanwhile waits as long, and no longer. False if it did not get it.
CREATE OR REPLACE FUNCTION @threadline@.drop_partition(
    parent text, partition regclass, lock_wait interval, still text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $drop$
DECLARE
    is_still_so boolean;
BEGIN
    PERFORM set_config('lock_timeout', (EXTRACT(EPOCH FROM lock_wait) * 1000)::integer || 'ms', true);
    -- First the table, then its partition, as everybody else does.
    EXECUTE format('LOCK TABLE ONLY @threadline@.%I IN ACCESS EXCLUSIVE MODE', parent);
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', partition);
    EXECUTE still INTO is_still_so;
    IF is_still_so THEN
        EXECUTE format('DROP TABLE %s', partition);
    END IF;
    RETURN is_still_so;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RETURN false;
END
$drop$;

-- The result of trying to drop a partition: dropped, locked (to be tried again), or postponed after
-- too many attempts.
CREATE OR REPLACE FUNCTION @threadline@.try_to_drop(
    parent text, partition regclass, partition_name text, from_instant timestamptz,
    lock_wait interval, attempts integer, still text, counted jsonb, progress jsonb
) RETURNS @threadline@.purge_result
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $try$
DECLARE
    result @threadline@.purge_result := @threadline@.purge_result_of('dropped', partition_name, progress);
    place CONSTANT jsonb := jsonb_build_object('phase', progress -> 'phase', 'from', from_instant);
    attempt CONSTANT integer := COALESCE((progress ->> 'attempt')::integer, 0) + 1;
BEGIN
    IF @threadline@.drop_partition(parent, partition, lock_wait, still) THEN
        result.progress := place;
    ELSIF attempt < attempts THEN
        result.step := 'locked';
        result.progress := place
            || jsonb_build_object('attempt', attempt, 'counted', counted, 'partition', partition_name);
    ELSE
        result.step := 'postponed';
        result.progress := place || jsonb_build_object('skip', partition_name);
    END IF;
    RETURN result;
END
$try$;

