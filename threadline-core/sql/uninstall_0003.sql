-- Drops the log of seals, and the runs and functions of erasure. Records of erasures stay in audit_removals.
-- Raises an error if records are sealed, unless the session has set threadline.discard_trail to 'yes'.

DO $uninstall$
BEGIN
    IF pg_catalog.current_setting('threadline.discard_trail', true) IS DISTINCT FROM 'yes'
        AND EXISTS (SELECT FROM @threadline@.audit_seal_logs)
    THEN
        RAISE EXCEPTION 'records are sealed'
            USING HINT = 'Export them first. To discard the seals: SET threadline.discard_trail = ''yes''.';
    END IF;
END
$uninstall$;

DELETE FROM @threadline@.audit_feed_consumers WHERE name = 'threadline.seal';
DROP TRIGGER open_seal ON @threadline@.audit_transactions;
DROP TRIGGER open_seal ON @threadline@.audit_changes;
DROP TRIGGER open_seal ON @threadline@.audit_actions;
DROP TRIGGER record_openings ON @threadline@.audit_removals;
DROP TABLE @threadline@.audit_seal_logs, @threadline@.audit_seal_chunks, @threadline@.audit_seal_transactions,
    @threadline@.audit_seal_checkpoints, @threadline@.audit_seal_openings;
DROP FUNCTION @threadline@.open_seal(), @threadline@.record_openings(), @threadline@.seal_fields(jsonb);

DROP TABLE @threadline@.audit_erasure_runs;
DROP FUNCTION @threadline@.erase_change_values(text, text, bigint[], timestamptz[], text[], text),
    @threadline@.erase_change_actors(bigint[], timestamptz[], text, text),
    @threadline@.erase_context(text, uuid[], text, text[], text[], text),
    @threadline@.erased_members(jsonb, text[]), @threadline@.pseudonymous_actor(text, text);

CREATE OR REPLACE FUNCTION @threadline@.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 2;
