-- Drops jobs, schedules, saved views, evidence and delivery failures. Raises an error if evidence is recorded,
-- unless the session has set threadline.discard_trail to 'yes'.

DO $uninstall$
BEGIN
    IF pg_catalog.current_setting('threadline.discard_trail', true) IS DISTINCT FROM 'yes'
        AND EXISTS (SELECT FROM threadline.audit_evidence)
    THEN
        RAISE EXCEPTION 'evidence is recorded'
            USING HINT = 'Export it first. To discard it: SET threadline.discard_trail = ''yes''.';
    END IF;
END
$uninstall$;

DROP TABLE threadline.audit_jobs, threadline.audit_schedules, threadline.audit_saved_views, threadline.audit_evidence,
    threadline.audit_delivery_failures;
DROP FUNCTION threadline.record_check(jsonb), threadline.record_evidence(jsonb), threadline.insert_evidence(text, jsonb);

CREATE OR REPLACE FUNCTION threadline.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 1;
