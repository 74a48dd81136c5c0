-- The trail only grows. These guards stop everyone, its owner too, from changing what is recorded;
-- only what the running transaction recorded itself may still be completed by capture, and
-- 15_removal.sql has the one way in which the trail gets smaller.

CREATE OR REPLACE FUNCTION @threadline@.guard_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
DECLARE
    recorded_in uuid;
BEGIN
    IF TG_ARGV[0] = 'id' THEN
        recorded_in := OLD.id;
    ELSE
        recorded_in := OLD.transaction_id;
    END IF;
    IF TG_OP = 'UPDATE' AND recorded_in = @threadline@.current_transaction_id() THEN
        RETURN NEW;
    END IF;
    IF @threadline@.verified(current_setting('threadline.sanctioned', true)) = 'sanctioned' THEN
        RETURN CASE TG_OP WHEN 'UPDATE' THEN NEW ELSE OLD END;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'What has to go goes by remove_changes or erase_values, which record what they remove.';
END
$guard$;

CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON @threadline@.audit_transactions
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_row('id');
CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON @threadline@.audit_changes
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_row('transaction_id');
CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON @threadline@.audit_actions
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_row('transaction_id');
CREATE OR REPLACE TRIGGER guard_row BEFORE UPDATE OR DELETE ON @threadline@.audit_renames
    FOR EACH ROW EXECUTE FUNCTION @threadline@.guard_row('transaction_id');

CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_changes
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_actions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_renames
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_truncate();
