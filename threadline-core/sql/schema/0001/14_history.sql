-- The history of one row, followed through changes of its key. All functions run with the caller's privileges.

-- All changes in which a row left a key or arrived at it: updates of the key, and moves between partitions,
-- which are stored as a delete (left_id) and the next insert (arrived_id) of the same transaction whose
-- key is equal except for the partition columns. Only changes under the current key definition.
CREATE FUNCTION @threadline@.row_key_changes(of_schema text, of_table text, of_key text)
RETURNS TABLE (
    left_id bigint, previous_key text, arrived_id bigint, row_key text, captured_at timestamptz,
    image_before jsonb, image_after jsonb, is_move boolean
)
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
-- Generic plans: planning for all partitions takes longer than the look-ups.
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    since bigint;
    partition_columns text[];
BEGIN
    SELECT COALESCE(e.key_since, 0), e.partition_columns INTO since, partition_columns
    FROM @threadline@.current_enrolment(of_schema, of_table) AS e;

    RETURN QUERY
    SELECT k.change_id, k.previous_key, k.change_id, k.row_key, k.captured_at,
        c.data_after || c.changed_from, c.data_after, false
    FROM @threadline@.audit_key_changes AS k
    JOIN @threadline@.audit_changes AS c ON c.captured_at = k.captured_at AND c.id = k.change_id
    WHERE k.table_name = of_table AND k.table_schema = of_schema
        AND (k.previous_key = of_key OR k.row_key = of_key) AND k.change_id > since;

    IF cardinality(partition_columns) > 0 THEN
        RETURN QUERY
        SELECT pair.id, pair.row_key, pair.next_id, pair.next_key, pair.next_at, pair.changed_from, pair.next_image, true
        FROM (
            SELECT c.id, c.op, c.row_key, c.changed_from, lead(c.id) OVER by_id AS next_id, lead(c.op) OVER by_id AS next_op,
                lead(c.row_key) OVER by_id AS next_key, lead(c.captured_at) OVER by_id AS next_at,
                lead(c.data_after) OVER by_id AS next_image
            FROM (
                SELECT DISTINCT own.transaction_id, own.table_pk - partition_columns AS rest_of_key
                FROM @threadline@.audit_changes AS own
                WHERE own.table_name = of_table AND own.table_schema = of_schema AND own.row_key = of_key
                    AND own.op IN ('delete', 'insert') AND own.id > since
            ) AS own
            JOIN @threadline@.audit_changes AS c ON c.transaction_id = own.transaction_id
                AND c.table_name = of_table AND c.table_schema = of_schema AND c.op IN ('delete', 'insert')
                AND c.table_pk - partition_columns = own.rest_of_key AND c.id > since
            WINDOW by_id AS (PARTITION BY c.transaction_id ORDER BY c.id)
        ) AS pair
        WHERE pair.op = 'delete' AND pair.next_op = 'insert' AND of_key IN (pair.row_key, pair.next_key)
            AND pair.row_key <> pair.next_key;
    END IF;
END
$$;

-- The current and earlier keys of a row, each with the range of change ids in which the row had the key.
-- The row is the one that has the given key now, or had it last.
--
-- If two rows swap keys under a deferrable constraint, one arrives at a key before the other has left it;
-- their images distinguish the two.
CREATE FUNCTION @threadline@.row_segments(of_schema text, of_table text, of_key text)
RETURNS TABLE (row_key text, first_id bigint, last_id bigint)
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
    highest CONSTANT bigint := 9223372036854775807;
    since bigint := COALESCE((@threadline@.current_enrolment(of_schema, of_table)).key_since, 0);
    here text := of_key;
    upper_id bigint := highest;
    seen record;
    departure record;
    arrival record;
BEGIN
    -- Forwards: follow the row to its current key, if it has left the given one.
    SELECT c.id, c.previous_key, c.data_after INTO seen
    FROM @threadline@.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = of_key AND c.id > since
    ORDER BY c.id DESC LIMIT 1;
    SELECT k.* INTO departure
    FROM @threadline@.row_key_changes(of_schema, of_table, of_key) AS k
    WHERE k.previous_key = of_key
    ORDER BY k.left_id DESC LIMIT 1;
    IF departure.left_id < seen.id
        OR seen.previous_key IS NOT NULL AND seen.data_after <> departure.image_before
    THEN
        departure.left_id := NULL;
    END IF;
    WHILE departure.left_id IS NOT NULL LOOP
        here := departure.row_key;
        upper_id := departure.arrived_id;
        SELECT k.* INTO departure
        FROM @threadline@.row_key_changes(of_schema, of_table, here) AS k
        WHERE k.previous_key = here AND k.left_id > upper_id AND NOT EXISTS (
            SELECT FROM @threadline@.audit_changes AS d
            WHERE d.table_name = of_table AND d.table_schema = of_schema AND d.row_key = here
                AND d.op = 'delete' AND d.id > upper_id AND d.id < k.left_id
        )
        ORDER BY k.left_id LIMIT 1;
    END LOOP;

    -- Backwards: return a segment for each key.
    upper_id := highest;
    LOOP
        SELECT k.* INTO arrival
        FROM @threadline@.row_key_changes(of_schema, of_table, here) AS k
        WHERE k.row_key = here AND k.arrived_id <= upper_id
        ORDER BY k.arrived_id DESC LIMIT 1;
        SELECT k.* INTO departure
        FROM @threadline@.row_key_changes(of_schema, of_table, here) AS k
        WHERE k.previous_key = here AND k.left_id < upper_id
        ORDER BY k.left_id DESC LIMIT 1;
        -- A departure after the arrival ends the segment, unless the other row of a swap left the key.
        IF departure.left_id > arrival.arrived_id AND NOT departure.is_move
            AND departure.image_before <> arrival.image_after
            AND NOT EXISTS (
                SELECT FROM @threadline@.audit_changes AS c
                WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = here
                    AND c.id > arrival.arrived_id AND c.id < departure.left_id
            )
        THEN
            departure.left_id := NULL;
        END IF;
        row_key := here;
        last_id := upper_id;
        first_id := GREATEST(arrival.arrived_id, departure.left_id + 1, since + 1);
        RETURN NEXT;
        EXIT WHEN arrival.arrived_id IS NULL OR departure.left_id > arrival.arrived_id;
        here := arrival.previous_key;
        upper_id := arrival.left_id;
        IF NOT arrival.is_move THEN
            -- Another row may have arrived at the old key before this one left it: the segment ends at the
            -- last change whose image this row left with.
            upper_id := COALESCE((
                SELECT c.id FROM (
                    SELECT last.id, last.data_after FROM @threadline@.audit_changes AS last
                    WHERE last.table_name = of_table AND last.table_schema = of_schema
                        AND last.row_key = here AND last.id < arrival.arrived_id
                    ORDER BY last.id DESC LIMIT 100
                ) AS c
                WHERE c.data_after = arrival.image_before
                ORDER BY c.id DESC LIMIT 1
            ), arrival.arrived_id - 1);
        END IF;
    END LOOP;
END
$$;

-- The history of a row for psql, newest first. A move between partitions is one row with op `moved`. If
-- the key of the table was redefined, the last row has op `key_defined`: earlier changes have other keys.
CREATE FUNCTION @threadline@.row_history(of_schema text, of_table text, of_key text)
RETURNS TABLE (
    change_id bigint, captured_at timestamptz, op text, actor text, row_key text, previous_key text,
    changed_from jsonb, data_after jsonb, transaction_id uuid, action_id uuid
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH segment AS (
        SELECT s.row_key, s.first_id, s.last_id FROM @threadline@.row_segments(of_schema, of_table, of_key) AS s
    ),
    move AS (
        SELECT DISTINCT k.left_id, k.previous_key, k.arrived_id, k.image_before
        FROM segment
        CROSS JOIN LATERAL @threadline@.row_key_changes(of_schema, of_table, segment.row_key) AS k
        WHERE k.is_move AND k.row_key = segment.row_key
            AND k.arrived_id BETWEEN segment.first_id AND segment.last_id
    )
    SELECT c.id, c.captured_at, CASE WHEN move.left_id IS NULL THEN c.op ELSE 'moved' END, c.actor, c.row_key,
        COALESCE(move.previous_key, c.previous_key),
        CASE WHEN move.left_id IS NULL THEN c.changed_from ELSE (
            SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(move.image_before) AS f
            WHERE f.value IS DISTINCT FROM c.data_after -> f.key
        ) END,
        c.data_after, c.transaction_id, c.action_id
    FROM segment
    JOIN @threadline@.audit_changes AS c
        ON c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = segment.row_key
        AND c.id BETWEEN segment.first_id AND segment.last_id
    LEFT JOIN move ON move.arrived_id = c.id
    WHERE c.id NOT IN (SELECT left_id FROM move)
    UNION ALL
    SELECT c.id, c.captured_at, c.op, c.actor, NULL, NULL, NULL, NULL, c.transaction_id, c.action_id
    FROM @threadline@.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key IS NULL
        AND c.op = 'truncate' AND c.partition_name IS NULL AND c.id > (
            SELECT min(k.id) FROM segment JOIN @threadline@.audit_changes AS k ON k.table_name = of_table AND k.table_schema = of_schema
                AND k.row_key = segment.row_key AND k.id BETWEEN segment.first_id AND segment.last_id)
    UNION ALL
    SELECT e.order_id, e.recorded_at, 'key_defined', NULL, NULL, NULL, NULL, NULL, e.transaction_id, NULL
    FROM @threadline@.audit_enrolments AS e
    WHERE e.table_name = of_table AND e.table_schema = of_schema
        AND e.order_id = (SELECT min(first_id) - 1 FROM segment)
    ORDER BY 1 DESC;
END;
