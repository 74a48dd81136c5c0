-- Following one row through its keys.

-- Notes that a change gave a row another key. Called by capture, rarely.
CREATE OR REPLACE FUNCTION @threadline@.record_rename(
    change_id bigint, captured_at timestamptz, transaction_id uuid, table_schema text,
    table_name text, row_key text, previous_key text
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $record$
    INSERT INTO @threadline@.audit_renames (
        change_id, captured_at, transaction_id, table_schema, table_name, row_key, previous_key
    ) VALUES (
        record_rename.change_id, record_rename.captured_at, record_rename.transaction_id,
        record_rename.table_schema, record_rename.table_name, record_rename.row_key,
        record_rename.previous_key
    )
$record$;

-- The keys under which the row that a key names was and is known, each with the changes (by id)
-- during which it was. A key names the row that has it now, or had it last.
--
-- Backwards: the row came to a key by an insert, or by an update that gave it the key. Forwards: if
-- it has left the key since, it is followed to where it went.
CREATE OR REPLACE FUNCTION @threadline@.row_segments(
    of_schema text, of_table text, of_key text
) RETURNS TABLE (row_key text, first_id bigint, last_id bigint)
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
-- To plan for every month takes longer than to look into it.
SET plan_cache_mode = force_generic_plan AS $segments$
#variable_conflict use_variable
DECLARE
    highest CONSTANT bigint := 9223372036854775807;
    here text := of_key;
    upper_id bigint := highest;
    arrived record;
    left_at bigint;
    went_to text;
    left_as jsonb;
    departed bigint;
    seen record;
BEGIN
    -- Most rows have had one key, and then no month has to be looked into.
    IF NOT EXISTS (
        SELECT FROM @threadline@.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = of_key
    ) AND NOT EXISTS (
        SELECT FROM @threadline@.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.row_key = of_key
    ) THEN
        row_key := of_key;
        first_id := 0;
        last_id := highest;
        RETURN NEXT;
        RETURN;
    END IF;

    -- Forwards: where did it go, if it left after it was last seen here? While keys are swapped,
    -- a row may come to a key before the row that had it leaves; then that one left, and not ours.
    SELECT c.id, c.previous_key, c.data_after INTO seen
    FROM @threadline@.audit_changes AS c
    WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = of_key
    ORDER BY c.id DESC LIMIT 1;
    SELECT r.change_id, r.row_key, c.data_after || c.changed_from INTO left_at, went_to, left_as
    FROM @threadline@.audit_renames AS r
    JOIN @threadline@.audit_changes AS c ON c.captured_at = r.captured_at AND c.id = r.change_id
    WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = of_key
    ORDER BY r.change_id DESC LIMIT 1;
    IF left_at < seen.id OR seen.previous_key IS NOT NULL AND seen.data_after <> left_as THEN
        left_at := NULL;
    END IF;
    WHILE left_at IS NOT NULL LOOP
        here := went_to;
        SELECT r.change_id, r.row_key INTO left_at, went_to FROM @threadline@.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = here
            AND r.change_id > left_at
        ORDER BY r.change_id LIMIT 1;
    END LOOP;

    -- Backwards.
    FOR step IN 1 .. 1000 LOOP
        SELECT c.id, c.previous_key, c.data_after AS after, c.data_after || c.changed_from AS before
        INTO arrived
        FROM @threadline@.audit_renames AS r
        JOIN @threadline@.audit_changes AS c ON c.captured_at = r.captured_at AND c.id = r.change_id
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.row_key = here
            AND r.change_id <= upper_id
        ORDER BY r.change_id DESC LIMIT 1;
        SELECT max(r.change_id) INTO departed FROM @threadline@.audit_renames AS r
        WHERE r.table_name = of_table AND r.table_schema = of_schema AND r.previous_key = here
            AND r.change_id <= upper_id;
        row_key := here;
        last_id := upper_id;
        -- A departure after the arrival ends it, unless it was the other row of a swap that left.
        IF departed > arrived.id AND (
            SELECT c.data_after || c.changed_from <> arrived.after
            FROM @threadline@.audit_renames AS r
            JOIN @threadline@.audit_changes AS c
                ON c.captured_at = r.captured_at AND c.id = r.change_id
            WHERE r.table_name = of_table AND r.table_schema = of_schema
                AND r.previous_key = here AND r.change_id = departed
        ) AND NOT EXISTS (
            SELECT FROM @threadline@.audit_changes AS c
            WHERE c.table_name = of_table AND c.table_schema = of_schema AND c.row_key = here
                AND c.id > arrived.id AND c.id < departed
        ) THEN
            departed := NULL;
        END IF;
        first_id := GREATEST(arrived.id, departed + 1, 0);
        RETURN NEXT;
        EXIT WHEN arrived.id IS NULL OR departed > arrived.id;
        -- Where it came from. While keys are swapped, another row may have come there before ours
        -- left; ours is the one whose last image is the one it left with.
        here := arrived.previous_key;
        SELECT c.id INTO upper_id FROM (
            SELECT last.id, last.data_after FROM @threadline@.audit_changes AS last
            WHERE last.table_name = of_table AND last.table_schema = of_schema
                AND last.row_key = here AND last.id < arrived.id
            ORDER BY last.id DESC LIMIT 100
        ) AS c
        WHERE c.data_after = arrived.before
        ORDER BY c.id DESC LIMIT 1;
        upper_id := COALESCE(upper_id, arrived.id - 1);
    END LOOP;
END
$segments$;
