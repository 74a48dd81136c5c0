-- An update that moves a row to another partition.
--
-- PostgreSQL fires a delete on the partition it leaves and, right after it, an insert on the one it
-- comes to. Recorded like that, a row's history would break at every move. So a statement trigger
-- marks that an update of the root is running; the delete notes the change it recorded, and the
-- insert completes that change to the update it is. Nothing is held back on the way: a delete that
-- no insert follows stays recorded as a delete.

-- The mark of a running update: which table, at which depth of triggers, in which transaction.
CREATE OR REPLACE FUNCTION @threadline@.movement_mark(root text) RETURNS text
LANGUAGE sql STABLE
RETURN pg_catalog.concat_ws(
    ' ', @threadline@.current_transaction_id(), pg_catalog.pg_trigger_depth(), root
);

CREATE OR REPLACE FUNCTION @threadline@.begin_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $begin$
BEGIN
    PERFORM set_config('threadline.moving', @threadline@.movement_mark(TG_ARGV[0]), true),
            set_config('threadline.moved_change', '', true);
    RETURN NULL;
END
$begin$;

CREATE OR REPLACE FUNCTION @threadline@.end_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $end$
BEGIN
    PERFORM set_config('threadline.moving', '', true);
    RETURN NULL;
END
$end$;

-- The fields of an old image whose values are not the new one's. As texts: 1.0 is not 1.00.
CREATE OR REPLACE FUNCTION @threadline@.changed_values(before jsonb, after jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT COALESCE(pg_catalog.jsonb_object_agg(field.key, field.value), '{}')
    FROM pg_catalog.jsonb_each(before) AS field
    WHERE (field.value::text OPERATOR(pg_catalog.=) (after OPERATOR(pg_catalog.->) field.key)::text)
        IS NOT TRUE
);

-- Completes the delete that was recorded just before to the update it was part of. Returns whether
-- there was one.
CREATE OR REPLACE FUNCTION @threadline@.complete_movement(
    this_transaction uuid, root text, new_pk jsonb, new_key text, image jsonb
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $complete$
#variable_conflict use_column
DECLARE
    deleted_id text := current_setting('threadline.moved_change', true);
    this_moment timestamptz := clock_timestamp();
    completed record;
BEGIN
    -- Anything but a number was not noted by capture.
    IF (deleted_id ~ '^[0-9]{1,18}$') IS NOT TRUE
        OR current_setting('threadline.moving', true) IS DISTINCT FROM @threadline@.movement_mark(root)
    THEN
        RETURN false;
    END IF;
    PERFORM set_config('threadline.moved_change', '', true);
    UPDATE @threadline@.audit_changes AS change
    SET op = 'update', table_pk = new_pk, row_key = new_key,
        previous_key = CASE WHEN change.row_key <> new_key THEN change.row_key END,
        data_after = image,
        changed_from = @threadline@.changed_values(change.changed_from, image)
    WHERE change.transaction_id = this_transaction AND change.op = 'delete'
        AND change.id = deleted_id::bigint
        AND change.captured_at > now() - interval '1 day'
        AND change.captured_at < this_moment + interval '1 day'
    RETURNING change.* INTO completed;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF completed.previous_key IS NOT NULL THEN
        PERFORM @threadline@.record_rename(
            completed.id, completed.captured_at, this_transaction, completed.table_schema,
            completed.table_name, new_key, completed.previous_key
        );
    END IF;
    RETURN true;
END
$complete$;
