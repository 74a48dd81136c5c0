-- The trail is append-only, also for its owner. Two exceptions: functions that record their removals, and
-- capture, which updates rows that the current transaction inserted.

-- Allows (true) or forbids (false) updates and deletes of the trail in this transaction.
CREATE FUNCTION @threadline@.allow_trail_delete(allowed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('threadline.trail_delete', CASE WHEN allowed THEN 'on' ELSE '' END, true);
END
$$;

-- Whether they are allowed. Any role can write the setting, but only the owner may execute this function:
-- the triggers below raise an error for other roles.
CREATE FUNCTION @threadline@.trail_delete_is_allowed() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(current_setting('threadline.trail_delete', true) = 'on', false)
$$;

CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_transactions
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_record('id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_changes
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_record('transaction_id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_actions
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_record('transaction_id');
CREATE TRIGGER guard_row BEFORE DELETE OR UPDATE ON @threadline@.audit_key_changes
    FOR EACH ROW WHEN (NOT @threadline@.trail_delete_is_allowed()) EXECUTE FUNCTION @threadline@.guard_record('transaction_id');

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
