-- The trail only grows. These guards stop everyone, its owner too, from changing what is recorded;
-- only what the running transaction recorded itself may still be completed by capture, and
-- 15_removal.sql has the one way in which the trail gets smaller.

CREATE OR REPLACE FUNCTION @threadline@.guard_row() RETURNS trigger
LANGUAGE plpgsql AS $guard$
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        IF TG_ARGV[0] OPERATOR(pg_catalog.=) 'id' THEN
            IF OLD.id OPERATOR(pg_catalog.=) @threadline@.current_transaction_id() THEN
                RETURN NEW;
            END IF;
        ELSIF OLD.transaction_id OPERATOR(pg_catalog.=) @threadline@.current_transaction_id() THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'What has to go goes by remove_changes or erase_values, which record what they remove.';
END
$guard$;

-- The triggers for rows are in 15_removal.sql, beside what lets a removal past them.

SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate()
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_changes
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate()
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_actions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate()
$guard$);
SELECT @threadline@.ensure_guard($guard$
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_renames
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate()
$guard$);
