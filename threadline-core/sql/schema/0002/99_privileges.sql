CREATE OR REPLACE FUNCTION @threadline@.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 2;

-- Revokes privileges that default privileges granted on the new objects.
DO $$
BEGIN
    PERFORM @threadline@.revoke_all(oid::regclass::text, relowner, relacl) FROM pg_class
    WHERE oid IN (
        '@threadline@.audit_jobs'::regclass, '@threadline@.audit_schedules'::regclass,
        '@threadline@.audit_saved_views'::regclass, '@threadline@.audit_evidence'::regclass,
        '@threadline@.audit_delivery_failures'::regclass
    );
    PERFORM @threadline@.revoke_all('FUNCTION ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner)))
    FROM pg_proc
    WHERE oid IN (
        '@threadline@.insert_evidence(text, jsonb)'::regprocedure,
        '@threadline@.record_check(jsonb)'::regprocedure, '@threadline@.record_evidence(jsonb)'::regprocedure
    );
END
$$;

-- Restores the search path that the first statement changed.
SELECT set_config('search_path', current_setting('threadline.path_before'), true);
