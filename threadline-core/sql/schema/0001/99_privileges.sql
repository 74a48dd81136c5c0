-- The application can have changes captured and set actor and action; it can neither write nor read the
-- trail otherwise. The host grants access to readers: GRANT SELECT ON ALL TABLES IN SCHEMA ... TO ...

-- The number of the newest schema migration that is applied.
CREATE FUNCTION @threadline@.schema_version() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN 1;

-- Revokes privileges that default privileges granted on the new objects.
DO $$
BEGIN
    PERFORM @threadline@.revoke_all(object.name, object.owner, object.acl)
    FROM (
        SELECT 'SCHEMA @threadline@' AS name, nspowner AS owner, nspacl AS acl FROM pg_namespace
        WHERE nspname = '@threadline@'
        UNION ALL
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END || oid::regclass, relowner, relacl FROM pg_class
        WHERE relnamespace = '@threadline@'::regnamespace
        UNION ALL
        SELECT 'FUNCTION ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
        WHERE pronamespace = '@threadline@'::regnamespace
    ) AS object;
END
$$;

GRANT USAGE ON SCHEMA @threadline@ TO PUBLIC;
-- Writers.
GRANT EXECUTE ON FUNCTION
    @threadline@.begin_audited_work(jsonb), @threadline@.end_audited_work(jsonb),
    @threadline@.count_audited_work(uuid), @threadline@.record_action(jsonb, jsonb, jsonb),
    @threadline@.current_transaction_id()
TO PUBLIC;
-- Readers. These run with the caller's privileges, or read no table.
GRANT EXECUTE ON FUNCTION
    @threadline@.schema_version(), @threadline@.policy_of(oid), @threadline@.deployed_policy(oid),
    @threadline@.row_key(text[]), @threadline@.current_enrolment(text, text), @threadline@.trail_partitions(),
    @threadline@.transaction_id_from(timestamptz), @threadline@.action_id_from(timestamptz),
    @threadline@.transaction_began_at(uuid), @threadline@.action_recorded_at(uuid),
    @threadline@.row_key_changes(text, text, text), @threadline@.row_segments(text, text, text),
    @threadline@.row_history(text, text, text), @threadline@.row_as_of(text, text, text, timestamptz),
    @threadline@.row_from_image(anyelement, jsonb), @threadline@.incompatible_columns(regclass, jsonb),
    @threadline@.base_type(oid), @threadline@.audit_horizon(text, text)
TO PUBLIC;

-- Restores the search path that the first statement changed.
SELECT set_config('search_path', current_setting('threadline.path_before'), true);
