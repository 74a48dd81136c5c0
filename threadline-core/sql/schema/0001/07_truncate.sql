-- Captures TRUNCATE, which fires no row trigger. The trigger is on the audited table, its partitions and
-- its inheritance children. Its arguments are schema and name of the audited table, and whether an actor
-- is required ('true' or 'false').
--
-- partition_name is null if the whole table was truncated; otherwise it is the truncated part.
CREATE FUNCTION @threadline@.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $truncate$
DECLARE
    part text;
    last record;
BEGIN
    -- The audited table itself: it has the declared name or, after a rename, the enrolled oid.
    IF (TG_TABLE_SCHEMA, TG_TABLE_NAME) = (TG_ARGV[0], TG_ARGV[1])
        OR TG_RELID = (@threadline@.current_enrolment(TG_ARGV[0], TG_ARGV[1])).relation
    THEN
        -- TRUNCATE locks inheritance children, TRUNCATE ONLY does not. (If the transaction had locked them
        -- before, ONLY cannot be detected.)
        IF EXISTS (
            SELECT FROM pg_inherits AS inherits
            JOIN pg_class AS child ON child.oid = inherits.inhrelid AND child.relpersistence <> 't'
            WHERE inherits.inhparent = TG_RELID AND NOT EXISTS (
                SELECT FROM pg_locks AS held
                WHERE held.locktype = 'relation' AND held.relation = child.oid
                    AND held.pid = pg_backend_pid() AND held.mode = 'AccessExclusiveLock'
            )
        ) THEN
            part := TG_RELID::regclass;
        END IF;
    ELSE
        -- A detached partition keeps this trigger, but loses the row trigger.
        IF NOT EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = TG_RELID AND tgname = '00_threadline_capture'
        ) THEN
            RETURN NULL;
        END IF;
        part := TG_RELID::regclass;
        -- TRUNCATE of the table fires the triggers of its parts afterwards. A part needs no record if the
        -- last change of this transaction is that truncate and capture was not suspended.
        SELECT change.op, change.partition_name INTO last FROM @threadline@.audit_changes AS change
        WHERE change.transaction_id = @threadline@.current_transaction_id()
            AND change.table_schema = TG_ARGV[0] AND change.table_name = TG_ARGV[1]
            AND change.captured_at > now() - interval '1 day'
        ORDER BY change.id DESC LIMIT 1;
        IF last.op = 'truncate'
            AND (last.partition_name IS NULL OR last.partition_name IN (
                SELECT relid::text FROM pg_partition_ancestors(TG_RELID)
            ))
            AND NOT EXISTS (
                SELECT FROM @threadline@.audit_suspensions AS suspension
                WHERE suspension.transaction_id = @threadline@.current_transaction_id()
            )
        THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM @threadline@.record_change(
        'truncate', TG_ARGV[0], TG_ARGV[1], NULL, NULL, NULL, NULL, NULL, TG_ARGV[2]::boolean, NULL, part
    );
    RETURN NULL;
END
$truncate$;
