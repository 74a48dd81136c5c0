-- Removes the trail with its functions, and with them the capture triggers on the host's tables.
-- Refuses while anything is recorded: set threadline.discard_trail to 'yes' in the session to
-- throw the trail away.

DO $uninstall$
BEGIN
    IF pg_catalog.current_setting('threadline.discard_trail', true) IS DISTINCT FROM 'yes'
        AND (
            EXISTS (SELECT FROM threadline.audit_changes)
            OR EXISTS (SELECT FROM threadline.audit_actions)
        )
    THEN
        RAISE EXCEPTION 'the audit trail is not empty'
            USING HINT = 'Export it first. To throw it away: SET threadline.discard_trail = ''yes''.';
    END IF;
    DROP SCHEMA threadline CASCADE;
END
$uninstall$;
