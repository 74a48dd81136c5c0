-- Drops the trail with its functions, and with them the capture triggers of audited tables. Raises an
-- error if changes or actions are recorded, unless the session has set threadline.discard_trail to 'yes'.

DO $uninstall$
BEGIN
    IF pg_catalog.current_setting('threadline.discard_trail', true) IS DISTINCT FROM 'yes'
        AND (
            EXISTS (SELECT FROM threadline.audit_changes)
            OR EXISTS (SELECT FROM threadline.audit_actions)
        )
    THEN
        RAISE EXCEPTION 'the audit trail is not empty'
            USING HINT = 'Export it first. To discard it: SET threadline.discard_trail = ''yes''.';
    END IF;
    DROP SCHEMA threadline CASCADE;
END
$uninstall$;
