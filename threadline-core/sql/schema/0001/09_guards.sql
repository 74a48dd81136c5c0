-- The trail is append-only, also for its owner. Two exceptions: functions that record their removals, and
-- capture, which updates rows that the current transaction inserted.

-- Allows (true) or forbids (false) updates and deletes of the trail in this transaction.
CREATE FUNCTION @threadline@.allow_trail_delete(allowed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM setval('@threadline@.removal_session', CASE WHEN allowed THEN txid_current() ELSE 1 END),
        set_config('threadline.trail_delete', CASE WHEN allowed THEN txid_current()::text ELSE '' END, true);
END
$$;

-- Whether they are allowed. Any role can write the setting, but not the session value of the sequence.
CREATE FUNCTION @threadline@.trail_delete_is_allowed() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (current_setting('threadline.trail_delete', true) = txid_current_if_assigned()::text) IS TRUE THEN
        RETURN currval('@threadline@.removal_session') = txid_current_if_assigned();
    END IF;
    RETURN false;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    RETURN false; -- allow_trail_delete was not called in this session
END
$$;

-- Refuses an update or delete, except an update of a row that the current transaction inserted. The
-- argument is the name of the column with the id of the inserting transaction.
CREATE FUNCTION @threadline@.guard_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_ARGV[0] = 'id' THEN
        IF OLD.id = @threadline@.current_transaction_id() THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF OLD.transaction_id = @threadline@.current_transaction_id() THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % of %.% refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Use retention or erase_values, which record their removals.';
END
$$;

CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_transactions
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_row('id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_changes
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_row('transaction_id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_actions
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_row('transaction_id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_key_changes
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_row('transaction_id');

CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_changes
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_actions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON @threadline@.audit_key_changes
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();

CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_enrolments
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_suspensions
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();
CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_removals
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();
