CREATE OR REPLACE FUNCTION @threadline@.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 3;

-- Revokes privileges that default privileges granted on the new objects.
DO $$
BEGIN
    PERFORM @threadline@.revoke_all(oid::regclass::text, relowner, relacl) FROM pg_class
    WHERE oid IN (
        '@threadline@.audit_seal_logs'::regclass, '@threadline@.audit_seal_chunks'::regclass,
        '@threadline@.audit_seal_transactions'::regclass, '@threadline@.audit_seal_checkpoints'::regclass,
        '@threadline@.audit_seal_openings'::regclass, '@threadline@.audit_erasure_runs'::regclass
    );
    PERFORM @threadline@.revoke_all('FUNCTION ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner)))
    FROM pg_proc
    WHERE oid IN (
        '@threadline@.seal_fields(jsonb)'::regprocedure, '@threadline@.open_seal()'::regprocedure,
        '@threadline@.record_openings()'::regprocedure,
        '@threadline@.pseudonymous_actor(text, text)'::regprocedure,
        '@threadline@.erased_members(jsonb, text[])'::regprocedure,
        '@threadline@.erase_change_values(text, text, bigint[], timestamptz[], text[], text)'::regprocedure,
        '@threadline@.erase_change_actors(bigint[], timestamptz[], text, text)'::regprocedure,
        '@threadline@.erase_context(text, uuid[], text, text[], text[], text)'::regprocedure
    );
END
$$;

-- Restores the search path that the first statement changed.
SELECT set_config('search_path', current_setting('threadline.path_before'), true);
