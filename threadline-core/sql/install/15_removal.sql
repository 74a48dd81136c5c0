-- The one way in which the trail gets smaller. Everything that is removed or erased is recorded:
-- who, when, why, what, how much.

CREATE TABLE IF NOT EXISTS @threadline@.audit_removals (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid        NOT NULL,
    removed_at     timestamptz NOT NULL,
    removed_by     text        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('retention', 'erasure')),
    reason         text        NOT NULL,
    scope          jsonb       NOT NULL,
    change_count   bigint      NOT NULL
);

COMMENT ON TABLE @threadline@.audit_removals IS
    'What retention removed from the trail, and what was erased in it.';

-- In which transaction of the session the trail was last let past its guards, as currval gives it: a
-- session can write the setting beside it, but not this.
CREATE UNLOGGED SEQUENCE IF NOT EXISTS @threadline@.removal_session AS bigint;

-- Lets the running function past the guards.
CREATE OR REPLACE FUNCTION @threadline@.sanction(allowed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $sanction$
BEGIN
    PERFORM setval('@threadline@.removal_session', CASE WHEN allowed THEN txid_current() ELSE 1 END),
            set_config('threadline.sanctioned', CASE WHEN allowed THEN txid_current()::text ELSE '' END, true);
END
$sanction$;

-- Whether the guards are to let pass. Asked of every row that a purge removes, so it costs little.
CREATE OR REPLACE FUNCTION @threadline@.is_sanctioned() RETURNS boolean
LANGUAGE plpgsql AS $sanctioned$
BEGIN
    IF (pg_catalog.current_setting('threadline.sanctioned', true)
        OPERATOR(pg_catalog.=) pg_catalog.txid_current_if_assigned()::pg_catalog.text) IS TRUE
    THEN
        RETURN pg_catalog.currval('@threadline@.removal_session'::pg_catalog.regclass)
            OPERATOR(pg_catalog.=) pg_catalog.txid_current_if_assigned();
    END IF;
    RETURN false;
EXCEPTION WHEN OTHERS THEN
    RETURN false; -- the session was never let past
END
$sanctioned$;

-- A sanctioned removal passes the guards without calling them: a purge does so with every row, and
-- the condition costs a tenth of the call.
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_transactions
    FOR EACH ROW
    WHEN ((NOT @threadline@.is_sanctioned()))
    EXECUTE FUNCTION @threadline@.guard_row('id')
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_changes
    FOR EACH ROW
    WHEN ((NOT @threadline@.is_sanctioned()))
    EXECUTE FUNCTION @threadline@.guard_row('transaction_id')
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_actions
    FOR EACH ROW
    WHEN ((NOT @threadline@.is_sanctioned()))
    EXECUTE FUNCTION @threadline@.guard_row('transaction_id')
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_renames
    FOR EACH ROW
    WHEN ((NOT @threadline@.is_sanctioned()))
    EXECUTE FUNCTION @threadline@.guard_row('transaction_id')
$guard$);

CREATE OR REPLACE FUNCTION @threadline@.record_removal(
    kind text, reason text, scope jsonb, change_count bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $record$
BEGIN
    IF COALESCE(trim(reason), '') = '' THEN
        RAISE EXCEPTION 'removing from the trail takes a reason' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO @threadline@.audit_removals (
        transaction_id, removed_at, removed_by, kind, reason, scope, change_count
    ) VALUES (
        @threadline@.current_transaction_id(), clock_timestamp(), session_user, kind, reason, scope,
        change_count
    );
END
$record$;

-- Removes changes captured before an instant, oldest first, at most `batch` of them. Returns how
-- many it removed: less than `batch` means that none are left.
CREATE OR REPLACE FUNCTION @threadline@.remove_changes(
    before timestamptz, batch integer, reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $remove$
DECLARE
    removed bigint;
BEGIN
    PERFORM @threadline@.sanction(true);
    WITH expired AS (
        SELECT change.captured_at, change.id FROM @threadline@.audit_changes AS change
        WHERE change.captured_at < before
        ORDER BY change.captured_at, change.id LIMIT batch
    ), gone AS (
        DELETE FROM @threadline@.audit_changes AS change USING expired
        WHERE change.captured_at = expired.captured_at AND change.id = expired.id
        RETURNING change.table_schema, change.table_name, change.captured_at
    ), by_table AS (
        SELECT gone.table_schema, gone.table_name, count(*) AS n, max(gone.captured_at) AS last
        FROM gone GROUP BY 1, 2
    ), advanced AS (
        -- Complete is what was captured after the last that went.
        SELECT t.n, @threadline@.advance_horizon(
            t.table_schema, t.table_name, t.last + interval '1 microsecond'
        ) FROM by_table AS t
    )
    SELECT COALESCE(sum(advanced.n), 0) INTO removed FROM advanced;
    -- A rename goes after its change, so that a row never loses its thread while it has changes.
    DELETE FROM @threadline@.audit_renames AS rename
    WHERE rename.captured_at < before
        AND rename.captured_at < (SELECT min(change.captured_at) FROM @threadline@.audit_changes AS change);
    PERFORM @threadline@.sanction(false);
    IF removed > 0 THEN
        PERFORM @threadline@.record_removal(
            'retention', reason, jsonb_build_object('before', before), removed
        );
    END IF;
    RETURN removed;
END
$remove$;

-- Erases the values of columns in every stored copy of one row, also under keys it had before.
-- That the changes happened stays known. Returns how many changes it touched.
CREATE OR REPLACE FUNCTION @threadline@.erase_values(
    of_schema text, of_table text, of_key text, columns text[], reason text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $erase$
DECLARE
    erased bigint;
BEGIN
    IF EXISTS (
        SELECT
        FROM @threadline@.row_segments(of_schema, of_table, of_key) AS segment
        JOIN @threadline@.audit_changes AS change
            ON change.table_name = of_table AND change.table_schema = of_schema
                AND change.row_key = segment.row_key
                AND change.id BETWEEN segment.first_id AND segment.last_id
        WHERE change.table_pk ?| columns
    ) THEN
        RAISE EXCEPTION 'key columns cannot be erased: without its key a change belongs to no row'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM @threadline@.sanction(true);
    UPDATE @threadline@.audit_changes AS change
    SET data_after = @threadline@.erased_image(change.data_after, columns),
        changed_from = @threadline@.erased_image(change.changed_from, columns)
    FROM @threadline@.row_segments(of_schema, of_table, of_key) AS segment
    WHERE change.table_name = of_table AND change.table_schema = of_schema
        AND change.row_key = segment.row_key
        AND change.id BETWEEN segment.first_id AND segment.last_id
        AND (change.data_after ?| columns OR change.changed_from ?| columns);
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM @threadline@.sanction(false);
    PERFORM @threadline@.record_removal(
        'erasure', reason,
        jsonb_build_object('table_schema', of_schema, 'table_name', of_table, 'row_key', of_key, 'columns', columns),
        erased
    );
    RETURN erased;
END
$erase$;

CREATE OR REPLACE FUNCTION @threadline@.erased_image(image jsonb, columns text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT CASE WHEN image IS NULL THEN NULL ELSE image || COALESCE(
        jsonb_object_agg(name, '[ERASED]') FILTER (WHERE image ? name), '{}'
    ) END
    FROM unnest(columns) AS name
);

-- What suspends, removes and erases is as append-only as the trail itself.
CREATE OR REPLACE FUNCTION @threadline@.guard_record() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$guard$;

SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_suspensions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record()
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_suspended_writes
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record()
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_removals
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record()
$guard$);
